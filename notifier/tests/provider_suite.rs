//! The provider half against the doubles: real TLS, real HTTP/2, real faults. What was sent is
//! judged by the doubles' ledger, not by us.

#[path = "provider_suite/apns.rs"]
mod apns;
#[path = "provider_suite/fcm.rs"]
mod fcm;
#[path = "provider_suite/pool.rs"]
mod pool;
#[path = "provider_suite/stage.rs"]
mod stage;
#[path = "provider_suite/storm.rs"]
mod storm;
