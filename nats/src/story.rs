//! What the streams say of one event and one device, and whether it adds up: for `fanfare verify`,
//! `fanfare why` and the API.
//!
//! The promise is checked here by code that is not the sender's. Whom an event concerns is read from
//! the device documents by a matcher of its own ([`matching`]), never from the index that the
//! notifiers send by; what became of it is read from all receipts of its tasks. So a mistake on one
//! side shows as a difference.
//!
//! A document is judged only if its revision is at most the plan's: the bucket keeps no history, so
//! of a document that changed since, nobody can say what it was when the event was planned.
//!
//! Everything is pure but [`read`], which fetches what is judged.

pub mod audit;
pub mod census;
pub mod matching;
pub mod read;
pub mod sums;
pub mod tally;
pub mod task;
pub mod unplanned;
pub mod why;

#[cfg(test)]
mod tests;
