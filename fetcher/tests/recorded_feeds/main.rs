//! Real feeds as their publishers had them, with the oddities they have, and each case once more
//! on small data of our own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support code of tests"
)]

mod advisories;
mod alerts;
mod frames;
mod nasty;
mod quakes;
#[path = "../support/mod.rs"]
mod support;

use jiff::Timestamp;
use support::recorded;

fn read(path: &str) -> Option<Vec<u8>> {
    recorded(path).map(|it| std::fs::read(it).unwrap())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
