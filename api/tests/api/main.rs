//! The API over real HTTP and a real nats-server.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "support code of tests, where a panic is the verdict"
)]

mod app;
mod audit;
mod bulk;
mod challenge;
mod contract;
mod device;
mod event;
mod event_list;
mod harness;
mod keys;
mod known;
mod live;
mod matrix;
mod missed;
mod operate;
mod outage;
mod places;
mod quota;
mod refusal;
mod story;
mod sweep;
mod system;
mod tenant;
mod test_send;
mod topic;
mod user;
mod web;
