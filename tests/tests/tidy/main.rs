//! What the sources have to look like, read from the sources and from `cargo metadata`.
//!
//! Each check is a function from text to problems, so that it is tried here on text that breaks the
//! rule as well as on the project. A reasoned commit may change a check.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support functions of tests"
)]

mod dependencies;
mod manifests;
mod names;
mod secrets;
mod sources;
mod text;
mod words;
