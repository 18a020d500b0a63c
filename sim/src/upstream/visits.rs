//! Who was connected to the sockets of feeds, and when, as the publisher sees it.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock;

/// One connection to a feed's socket. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Where.
    pub path: String,
    /// What the client calls itself.
    pub agent: String,
    /// When the socket was open.
    pub opened_us: i64,
    /// When the client was last heard: a frame, an answer to a ping. A client that is frozen is
    /// connected, and not heard.
    pub heard_us: i64,
    /// When the connection ended; `None` while it is open.
    pub closed_us: Option<i64>,
}

/// All connections so far, in the order in which they were opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visits(Arc<Mutex<Vec<Visit>>>);

/// One that is open; dropping it notes its end.
#[derive(Debug)]
pub(crate) struct OpenVisit {
    visits: Visits,
    n: usize,
}

impl Visits {
    pub(crate) fn open(&self, path: &str, agent: &str) -> OpenVisit {
        let now = clock::now().as_microsecond();
        let mut visits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n = visits.len();
        visits.push(Visit {
            path: path.to_owned(),
            agent: agent.to_owned(),
            opened_us: now,
            heard_us: now,
            closed_us: None,
        });
        OpenVisit {
            visits: self.clone(),
            n,
        }
    }

    pub(crate) fn all(&self) -> Vec<Visit> {
        let visits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        visits.clone()
    }
}

impl OpenVisit {
    fn note(&self, note: impl FnOnce(&mut Visit, i64)) {
        let now = clock::now().as_microsecond();
        let mut visits = (self.visits.0.lock()).unwrap_or_else(PoisonError::into_inner);
        if let Some(visit) = visits.get_mut(self.n) {
            note(visit, now);
        }
    }

    /// The client was heard.
    pub(crate) fn heard(&self) {
        self.note(|it, now| it.heard_us = now);
    }
}

impl Drop for OpenVisit {
    fn drop(&mut self) {
        self.note(|it, now| it.closed_us = Some(now));
    }
}
