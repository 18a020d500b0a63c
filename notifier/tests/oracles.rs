//! Our forms beside those of two public clients, `a2` and `fcm_v1`: what all three can say must be
//! said alike. They are oracles, not transports; `docs/decisions.md` says why.
#![cfg(feature = "oracles")]

#[path = "oracles/a2.rs"]
mod a2_oracle;
#[path = "oracles/fcm_v1.rs"]
mod fcm_v1_oracle;
#[path = "oracles/generate.rs"]
mod generate;
