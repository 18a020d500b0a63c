//! What the processes count, read off their metrics pages.

use std::collections::HashMap;

/// Sums over one process, or over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Items that fetchers looked at.
    pub(super) items: u64,
    /// Of these, the ones that are events.
    pub(super) news: u64,
    /// Events stored.
    pub(super) stored: u64,
    /// Messages that came again.
    pub(super) redeliveries: u64,
    /// Claims and appends that a greater claim refused.
    pub(super) fenced: u64,
    /// Events or tasks left alone because a higher level of the item stands.
    pub(super) superseded: u64,
}

/// The last figures of every process that ever ran.
#[derive(Debug, Default)]
pub(super) struct Tally(HashMap<i32, Figures>);

impl Tally {
    /// Notes the latest figures of a process.
    pub(super) fn note(&mut self, pid: i32, page: &str) {
        self.0.insert(pid, Figures::read(page));
    }

    /// All processes together, the dead ones as they were last seen.
    pub(super) fn total(&self) -> Figures {
        let sum = |a: Figures, b: &Figures| Figures {
            items: a.items + b.items,
            news: a.news + b.news,
            stored: a.stored + b.stored,
            redeliveries: a.redeliveries + b.redeliveries,
            fenced: a.fenced + b.fenced,
            superseded: a.superseded + b.superseded,
        };
        self.0.values().fold(Figures::default(), sum)
    }
}

impl Figures {
    fn read(page: &str) -> Self {
        Self {
            items: sum(page, "fanfare_items_total", ""),
            news: sum(page, "fanfare_items_total", "result=\"event\""),
            stored: sum(page, "fanfare_events_total", "result=\"stored\""),
            redeliveries: sum(page, "fanfare_redeliveries_total", ""),
            fenced: sum(page, "fanfare_fenced_claims_total", ""),
            superseded: sum(page, "fanfare_skipped_total", "reason=\"superseded\""),
        }
    }
}

/// A metric, summed over all its series that have this label.
fn sum(page: &str, name: &str, label: &str) -> u64 {
    let is_it = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '{'])) && line.contains(label)
    };
    let values = page
        .lines()
        .filter(is_it)
        .filter_map(|it| it.rsplit(' ').next());
    values.filter_map(|it| it.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_died_still_counts() {
        let page = "# TYPE x counter\nfanfare_items_total{source=\"a\",result=\"event\"} 3\n\
            fanfare_items_total{source=\"a\",result=\"silent\"} 4\nfanfare_redeliveries_total 2\n";
        let mut tally = Tally::default();
        tally.note(1, "fanfare_items_total{result=\"event\"} 1\n");
        tally.note(1, page);
        tally.note(2, page);
        let total = tally.total();
        assert_eq!((total.items, total.news, total.redeliveries), (14, 6, 4));
    }
}
