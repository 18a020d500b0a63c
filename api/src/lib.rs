//! The HTTP API: where apps register devices and post events of their own.
//!
//! A request is read as plain JSON, judged field by field by pure functions (`device/document.rs`,
//! `event/document.rs`), and becomes one guarded write to the broker. Every answer that is not a
//! success is an RFC 9457 problem document, the framework's own included (`problem.rs`,
//! `layer.rs`).
//!
//! What became of an event is read from the streams by the code of `fanfare why`, message by message
//! (`event/shown.rs`, `delivery.rs`). The contract is one `OpenAPI` document, made from the handlers
//! and their types (`openapi.rs`). What operators do goes through a second connection, which only some
//! processes have (`operate.rs`).
//!
//! Architecture invariant: this crate keeps nothing. What it acknowledged is in the broker; while
//! the broker is away it answers 503 and remembers no request. What it knows of all devices together
//! (`known.rs`) is a copy, and asked only when it contains everything that was acknowledged.
//!
//! Architecture invariant: it knows no source, no provider protocol and no type of the broker's
//! client library.
//!
//! Architecture invariant: tokens are write-only. No answer, log line or metric carries one, and no
//! error quotes what a client sent.
//!
//! Architecture invariant: secrets too. One is in the answer that hands it out and nowhere else;
//! who asks is judged in `access.rs`, before a body is read.
//!
//! # Places of what comes with its own issue
//!
//! * Tokens that belong to another user: `device.rs`, before the write.

mod access;
mod app;
mod audience;
mod audit;
mod body;
mod bulk;
mod call;
mod clock;
mod config;
mod dead_letter;
mod delivery;
mod device;
mod docs;
mod event;
mod fields;
mod known;
mod lane;
mod layer;
mod live;
mod member;
mod metric;
mod openapi;
mod operate;
#[doc(hidden)]
pub mod outside;
mod page;
mod precondition;
mod probe;
mod problem;
mod query;
mod quota;
mod router;
mod server;
mod source;
mod sweep;
mod test_send;
mod text;
mod topics;
mod user;
mod web;

pub use config::{App, Config, Keys, Limits, Preconditions};
pub use metric::Metrics;
pub use openapi::openapi;
pub use operate::Operator;
pub use server::{RunError, Server, run};
