//! The ledger: what arrived and what was decided, written before the answer.
//!
//! It is the only witness of *lost* and *repeated* pushes. An entry is in the kernel's hands
//! before the provider answers, so it survives the death of any process, this one included.
//! Entries are written by the connection that decided, under one short lock: a `write(2)` of half
//! a kilobyte to the page cache costs less than waking a writer thread. The later `answered`
//! lines ride along with the next request or with [`Ledger::flush`].

mod entry;
mod read;
mod summary;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::BuildHasher;
use std::io::{self, BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use entry::{Entry, ProviderKind, Request, Verdict};
pub use read::{ReadError, read};
use serde::{Deserialize, Serialize};
pub use summary::Summary;

use crate::clock;

/// How much the ledger keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerMode {
    /// Every entry as a line of a file: tests, demo, fault runs.
    #[default]
    File,
    /// Numbers only, in memory: benches.
    Counts,
    /// Numbers, and how often each (token, event) was accepted, in memory.
    CountsPerDelivery,
}

/// Numbers of a running ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests decided.
    pub requests: u64,
    /// Requests accepted.
    pub accepted: u64,
    /// Requests refused for good.
    pub refused: u64,
    /// Requests not served now.
    pub unavailable: u64,
    /// Requests received and not yet answered.
    pub in_flight: u64,
    /// The highest `in_flight` so far.
    pub max_in_flight: u64,
    /// Answers that could not be sent.
    pub answers_lost: u64,
    /// Different (token, event) accepted; 0 unless the mode counts deliveries or writes a file.
    pub deliveries: u64,
    /// Acceptances beyond the first of their (token, event); as above.
    pub repeated: u64,
}

/// The ledger of one sim; clones share it.
#[derive(Debug, Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    file: Option<Mutex<Sink>>,
    deliveries: Option<Mutex<Deliveries>>,
    seq: AtomicU64,
    /// Where an earlier run in the same file ended.
    first_seq: u64,
    accepted: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
    in_flight: AtomicU64,
    max_in_flight: AtomicU64,
    answers_lost: AtomicU64,
}

#[derive(Debug)]
struct Sink {
    file: File,
    line: Vec<u8>,
}

#[derive(Debug, Default)]
struct Deliveries {
    hasher: std::hash::RandomState,
    // 64-bit hashes instead of strings: a million deliveries cost megabytes, not hundreds.
    times: HashMap<u64, u32>,
    repeated: u64,
}

impl Ledger {
    /// Opens the ledger; the file at `path` is appended to, and its sequence goes on.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn open(mode: LedgerMode, path: &Path) -> io::Result<Self> {
        let (file, last_seq) = match mode {
            LedgerMode::File => {
                let (file, last_seq) = reopen(path)?;
                (Some(file), last_seq)
            }
            LedgerMode::Counts | LedgerMode::CountsPerDelivery => (None, 0),
        };
        let counts_deliveries = mode != LedgerMode::Counts;
        Ok(Self {
            inner: Arc::new(Inner {
                path: file.as_ref().map(|_| path.to_owned()),
                file: file.map(|file| {
                    Mutex::new(Sink {
                        file,
                        line: Vec::with_capacity(4096),
                    })
                }),
                deliveries: counts_deliveries.then(Mutex::default),
                seq: AtomicU64::new(last_seq),
                first_seq: last_seq,
                accepted: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                unavailable: AtomicU64::new(0),
                in_flight: AtomicU64::new(0),
                max_in_flight: AtomicU64::new(0),
                answers_lost: AtomicU64::new(0),
            }),
        })
    }

    /// Where the entries go; `None` if they are only counted.
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn enter(&self) -> InFlight {
        let n_now = self.inner.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.inner.max_in_flight.fetch_max(n_now, Ordering::Relaxed);
        InFlight {
            ledger: self.clone(),
            seq: None,
            sent: false,
        }
    }

    /// Counts a decision and, where entries are kept, writes the one that `entry` makes.
    /// Returns the request's sequence. When this returns, the line is in the kernel.
    ///
    /// # Errors
    /// The line could not be written: the caller must not accept the push.
    pub(crate) fn record(
        &self,
        verdict: Verdict,
        delivery: (&str, Option<&str>),
        entry: impl FnOnce() -> Request,
    ) -> io::Result<u64> {
        let inner = &*self.inner;
        let seq = if let Some(sink) = &inner.file {
            let mut entry = entry();
            let mut sink = lock(sink);
            // Taken inside the lock: the file's order is the sequence's order.
            entry.seq = inner.seq.fetch_add(1, Ordering::Relaxed) + 1;
            entry.at_us = clock::now().as_microsecond();
            entry.in_flight = inner.in_flight.load(Ordering::Relaxed);
            let seq = entry.seq;
            sink.push(&Entry::Request(entry))?;
            sink.write_out()?;
            seq
        } else {
            inner.seq.fetch_add(1, Ordering::Relaxed) + 1
        };
        match verdict {
            Verdict::Accepted => &inner.accepted,
            Verdict::Refused => &inner.refused,
            Verdict::Unavailable => &inner.unavailable,
        }
        .fetch_add(1, Ordering::Relaxed);
        if verdict == Verdict::Accepted
            && let (token, Some(event)) = delivery
            && let Some(deliveries) = &inner.deliveries
        {
            lock(deliveries).count(token, event);
        }
        Ok(seq)
    }

    /// Writes the `answered` lines that wait for company.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&self) -> io::Result<()> {
        match &self.inner.file {
            Some(sink) => lock(sink).write_out(),
            None => Ok(()),
        }
    }

    /// The numbers so far.
    pub fn counts(&self) -> Counts {
        let inner = &*self.inner;
        let (deliveries, repeated) = inner.deliveries.as_ref().map_or((0, 0), |deliveries| {
            let deliveries = lock(deliveries);
            (deliveries.times.len() as u64, deliveries.repeated)
        });
        Counts {
            requests: inner.seq.load(Ordering::Relaxed) - inner.first_seq,
            accepted: inner.accepted.load(Ordering::Relaxed),
            refused: inner.refused.load(Ordering::Relaxed),
            unavailable: inner.unavailable.load(Ordering::Relaxed),
            in_flight: inner.in_flight.load(Ordering::Relaxed),
            max_in_flight: inner.max_in_flight.load(Ordering::Relaxed),
            answers_lost: inner.answers_lost.load(Ordering::Relaxed),
            deliveries,
            repeated,
        }
    }

    fn answered(&self, of: u64, sent: bool) {
        if !sent {
            self.inner.answers_lost.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(sink) = &self.inner.file {
            let at_us = clock::now().as_microsecond();
            if let Err(error) = lock(sink).push(&Entry::Answered { of, at_us, sent }) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "ledger line not made"
                );
            }
        }
    }
}

impl Sink {
    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        serde_json::to_writer(&mut self.line, entry)?;
        self.line.push(b'\n');
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.line);
        self.line.clear();
        written
    }
}

impl Deliveries {
    fn count(&mut self, token: &str, event: &str) {
        let times = self
            .times
            .entry(self.hasher.hash_one((token, event)))
            .or_default();
        *times = times.saturating_add(1);
        self.repeated += u64::from(*times > 1);
    }
}

/// A request between its arrival and its answer. Dropping it unanswered, as a cut connection
/// does, records that the answer was lost.
#[derive(Debug)]
pub(crate) struct InFlight {
    ledger: Ledger,
    seq: Option<u64>,
    sent: bool,
}

impl InFlight {
    /// From now on an `answered` entry is owed.
    pub(crate) fn recorded(&mut self, seq: u64) {
        self.seq = Some(seq);
    }

    /// The answer was handed to a living connection.
    pub(crate) fn answered(mut self) {
        self.sent = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.ledger.inner.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(seq) = self.seq {
            self.ledger.answered(seq, self.sent);
        }
    }
}

/// Opens the file for appending, behind its last whole line, and finds the last sequence in it.
///
/// A line without its end was cut by a kill in the middle of a write, hence before the answer.
fn reopen(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(path)?;
    let mut last_seq = 0;
    let mut n_whole = 0;
    let mut line = Vec::new();
    let mut lines = BufReader::new(&mut file);
    while lines.read_until(b'\n', &mut line)? > 0 && line.last() == Some(&b'\n') {
        n_whole += line.len() as u64;
        if let Ok(Entry::Request(request)) = serde_json::from_slice(&line) {
            last_seq = request.seq;
        }
        line.clear();
    }
    file.set_len(n_whole)?;
    Ok((file, last_seq))
}

/// No invariant spans a panic here, so a poisoned lock is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
