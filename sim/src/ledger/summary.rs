//! What a ledger adds up to.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{Entry, ReadError, Request, Verdict, read};
use crate::screen::Screens;

/// Sums over a ledger, a fold of its entries.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Requests seen.
    pub requests: u64,
    /// Accepted, the ones whose answer was lost included.
    pub accepted: u64,
    /// Refused for good.
    pub refused: u64,
    /// Not served.
    pub unavailable: u64,
    /// Answers that were never sent, and requests whose end is not recorded.
    pub unanswered: u64,
    /// Accepted pushes that name no event: they cannot be reconciled.
    pub without_event: u64,
    /// How often each (token, event) was accepted.
    pub deliveries: HashMap<(String, String), u32>,
    /// Most requests in flight at once over all connections.
    pub max_in_flight: u64,
    /// Most requests in flight on any one connection.
    pub max_conn_in_flight: u64,
    /// Refusals and failures by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Requests of each connection.
    pub connections: BTreeMap<u64, u64>,
    /// Unix microseconds of the first and the last acceptance.
    pub accepted_between_us: Option<(i64, i64)>,
    /// What the devices show.
    pub screens: Screens,
}

impl Summary {
    /// Folds a whole file.
    ///
    /// # Errors
    /// The first line that cannot be read.
    pub fn of(path: &Path) -> Result<Self, ReadError> {
        let entries = read(path).map_err(|cause| ReadError::Io { line: 0, cause })?;
        let mut summary = Self::default();
        for entry in entries {
            summary.fold(entry?);
        }
        Ok(summary)
    }

    /// Takes in one entry. Order matters for the screens only.
    pub fn fold(&mut self, entry: Entry) {
        match entry {
            Entry::Request(request) => self.request(request),
            Entry::Answered { sent: true, .. } => {
                self.unanswered = self.unanswered.saturating_sub(1);
            }
            Entry::Answered { sent: false, .. } => {}
        }
    }

    /// Acceptances beyond the first of their (token, event).
    pub fn repeated(&self) -> u64 {
        self.deliveries
            .values()
            .map(|&times| u64::from(times.saturating_sub(1)))
            .sum()
    }

    /// How often `token` was accepted for `event`.
    pub fn times(&self, token: &str, event: &str) -> u32 {
        self.deliveries
            .get(&(token.to_owned(), event.to_owned()))
            .copied()
            .unwrap_or(0)
    }

    fn request(&mut self, request: Request) {
        self.requests += 1;
        self.unanswered += 1;
        self.max_in_flight = self.max_in_flight.max(request.in_flight);
        self.max_conn_in_flight = self.max_conn_in_flight.max(request.conn_in_flight);
        *self.connections.entry(request.conn).or_default() += 1;
        match request.verdict {
            Verdict::Accepted => self.accept(request),
            Verdict::Refused => self.decline(request, |it| &mut it.refused),
            Verdict::Unavailable => self.decline(request, |it| &mut it.unavailable),
        }
    }

    fn accept(&mut self, request: Request) {
        self.accepted += 1;
        let first = self
            .accepted_between_us
            .map_or(request.at_us, |(first, _)| first);
        self.accepted_between_us = Some((first, request.at_us));
        self.screens.show(&request);
        match request.event {
            Some(event) => *self.deliveries.entry((request.token, event)).or_default() += 1,
            None => self.without_event += 1,
        }
    }

    fn decline(&mut self, request: Request, count: impl FnOnce(&mut Self) -> &mut u64) {
        *count(self) += 1;
        let reason = request.reason.unwrap_or_else(|| request.status.to_string());
        *self.reasons.entry(reason).or_default() += 1;
    }
}
