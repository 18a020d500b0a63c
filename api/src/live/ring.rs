//! What is new, for all readers together: bounded in number and bytes. Pure.

use std::collections::VecDeque;

use super::position::Position;
use super::told::Told;

/// The most bytes that a ring holds, whatever its places.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The newest of both streams, in the order in which they were read.
#[derive(Debug)]
pub(super) struct Ring {
    /// Everything behind this is here.
    start: Position,
    end: Position,
    told: VecDeque<Told>,
    n_bytes: usize,
    most: usize,
}

impl Ring {
    /// An empty one behind a position, with so many places.
    pub(super) fn at(start: Position, most: usize) -> Self {
        Self {
            start,
            end: start,
            told: VecDeque::new(),
            n_bytes: 0,
            most,
        }
    }

    /// Adds what came next; what has no place any more goes.
    pub(super) fn push(&mut self, told: Told) {
        self.end = told.at;
        self.n_bytes += told.frame.len();
        self.told.push_back(told);
        while self.told.len() > self.most || self.n_bytes > MAX_BYTES {
            let Some(gone) = self.told.pop_front() else {
                break;
            };
            self.n_bytes -= gone.frame.len();
            self.start = gone.at;
        }
    }

    /// What the next one to come is behind of.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Up to `most` that a reader at this position has not seen; `None` if some of that is gone.
    pub(super) fn behind(&self, at: Position, most: usize) -> Option<Vec<Told>> {
        if !at.is_behind(self.start) {
            return None;
        }
        // Both sequences only grow along the ring.
        let first = self.told.partition_point(|it| at.is_behind(it.at));
        let news = self.told.iter().skip(first);
        Some(
            news.filter(|it| it.is_new_at(at))
                .take(most)
                .cloned()
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(events: u64, receipts: u64) -> Position {
        Position { events, receipts }
    }

    fn ring() -> Ring {
        let mut ring = Ring::at(at(10, 20), 4);
        for (events, receipts) in [(11, 20), (11, 21), (11, 24), (13, 24)] {
            ring.push(Told::made_up(at(events, receipts)));
        }
        ring
    }

    #[track_caller]
    fn check(ring: &Ring, from: Position, expected: Option<&[(u64, u64)]>) {
        let found = ring.behind(from, 10);
        let found = found.map(|it| it.into_iter().map(|it| it.at).collect::<Vec<_>>());
        let expected = expected.map(|it| it.iter().map(|it| at(it.0, it.1)).collect());
        assert_eq!(found, expected, "{from}");
    }

    #[test]
    fn a_reader_gets_exactly_what_it_has_not_seen() {
        let ring = ring();
        let all: &[_] = &[(11, 20), (11, 21), (11, 24), (13, 24)];
        check(&ring, at(10, 20), Some(all));
        check(&ring, at(11, 21), all.get(2..));
        check(&ring, at(13, 24), Some(&[]));
        check(&ring, at(9, 24), None);
        check(&ring, at(13, 19), None);
    }

    #[test]
    fn a_reader_of_another_process_that_took_the_streams_in_another_order_gets_its_rest() {
        // It has seen event 13 and no receipt, then all receipts and no event.
        check(&ring(), at(13, 20), Some(&[(11, 21), (11, 24)]));
        check(&ring(), at(10, 30), Some(&[(11, 20), (13, 24)]));
    }

    #[test]
    fn who_is_overtaken_is_known() {
        let mut ring = ring();
        ring.push(Told::made_up(at(14, 24)));
        check(&ring, at(10, 20), None);
        check(
            &ring,
            at(11, 20),
            Some(&[(11, 21), (11, 24), (13, 24), (14, 24)]),
        );
        assert_eq!(ring.end(), at(14, 24));
    }
}
