//! Whether what is stored is what the ledger allows. Pure.
//!
//! A device's states are what was acknowledged, what anybody read, and what is there at the end; in
//! the order of their revisions each must follow from the one before by the one write that says so.

use std::collections::{BTreeMap, HashMap};

use super::ledger::{Guard, Ledger, Mark, State, Told, Wish, Write};

/// Looks for what must never be in a device's history; `last` is what all nodes show at the end.
pub fn judge(ledger: &Ledger, last: Option<State>) -> Vec<String> {
    let mut judge = Judge::default();
    judge.collect(ledger, last);
    judge.origins();
    judge.successions(ledger);
    judge.end(ledger, last);
    judge.wrong
}

#[derive(Default)]
struct Judge {
    states: BTreeMap<u64, Mark>,
    by_mark: HashMap<Mark, Write>,
    wrong: Vec<String>,
}

impl Judge {
    /// Every state that is known to have been, and which write made it.
    fn collect(&mut self, ledger: &Ledger, last: Option<State>) {
        let mut states: Vec<State> = ledger.seen.clone();
        states.extend(last);
        for write in &ledger.writes {
            if let Wish::Put(mark) = write.wish {
                self.by_mark.insert(mark, *write);
                if let Told::Done(Some(revision)) = write.told {
                    states.push((revision, mark));
                }
            }
        }
        for (revision, mark) in states {
            let before = self.states.insert(revision, mark);
            if before.is_some_and(|it| it != mark) {
                self.wrong.push(format!("{revision} holds two contents"));
            }
        }
    }

    /// Each state was asked for, once, and not refused.
    fn origins(&mut self) {
        let mut places: HashMap<Mark, u64> = HashMap::new();
        for (revision, mark) in &self.states {
            let wrong = match self.by_mark.get(mark) {
                None => Some("was asked for by nobody".to_owned()),
                Some(write) if write.told == Told::Refused => {
                    Some("was refused, and is stored".to_owned())
                }
                Some(_) => places
                    .insert(*mark, *revision)
                    .map(|before| format!("is stored a second time, after {before}")),
            };
            self.wrong
                .extend(wrong.map(|it| format!("{revision}: {mark:?} {it}")));
        }
    }

    /// Each state follows from the one before.
    fn successions(&mut self, ledger: &Ledger) {
        let mut before: Option<State> = None;
        let mut wrong = Vec::new();
        for (revision, mark) in &self.states {
            let guard = self.by_mark.get(mark).map(|it| it.guard);
            let is_removed = |state| removals(ledger, state).next().is_some();
            let is_next = match (guard, before) {
                // Said already.
                (None | Some(Guard::None), _) | (Some(Guard::Absent), None) => true,
                (Some(Guard::Absent), Some(before)) => is_removed(before),
                (Some(Guard::At(base)), before) => {
                    Some(base) == before && base.1.changes + 1 == mark.changes
                }
            };
            if !is_next {
                wrong.push(format!(
                    "{revision}: {mark:?}, asked for with {guard:?}, follows {before:?}: a write \
                     was lost"
                ));
            }
            let is_start = !matches!(guard, Some(Guard::At(_)));
            if is_start && mark.changes != 0 {
                wrong.push(format!("{revision}: {mark:?} begins in the middle"));
            }
            before = Some((*revision, *mark));
        }
        // A revision is replaced or removed by one guarded write that was acknowledged.
        let mut replaced: BTreeMap<u64, u64> = BTreeMap::new();
        for write in &ledger.writes {
            if let (Guard::At((revision, _)), Told::Done(_)) = (write.guard, write.told) {
                *replaced.entry(revision).or_default() += 1;
            }
        }
        let twice = replaced.into_iter().filter(|(_, n)| *n > 1);
        wrong.extend(twice.map(|(it, n)| format!("{it} was acknowledged to {n} writers")));
        self.wrong.append(&mut wrong);
    }

    /// The last state is what is there, or somebody removed it.
    fn end(&mut self, ledger: &Ledger, last: Option<State>) {
        let latest = self.states.last_key_value().map(|(it, mark)| (*it, *mark));
        let wrong = match (latest, last) {
            (None, _) => None,
            (Some(latest), None) => removals(ledger, latest)
                .next()
                .is_none()
                .then(|| format!("{latest:?} is gone, and nobody removed it")),
            (Some(latest), Some(last)) if latest != last => {
                Some(format!("{latest:?} is gone, there is {last:?}"))
            }
            (Some(latest), Some(_)) => removals(ledger, latest)
                .any(|it| it.told == Told::Done(None))
                .then(|| format!("{latest:?} was removed, and is there")),
        };
        self.wrong.extend(wrong);
    }
}

/// The removals of a state that may have come about.
fn removals(ledger: &Ledger, state: State) -> impl Iterator<Item = &Write> {
    let is_its = move |it: &&Write| {
        it.wish == Wish::Remove && it.guard == Guard::At(state) && it.told != Told::Refused
    };
    ledger.writes.iter().filter(is_its)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, among what was done and seen, with what at the end.
    type Case = (&'static str, Vec<Write>, Vec<State>, Option<State>);

    fn mark(write: u32, changes: u32) -> Mark {
        Mark {
            client: 1,
            write,
            changes,
        }
    }

    fn put(guard: Guard, mark: Mark, told: Told) -> Write {
        let wish = Wish::Put(mark);
        Write { guard, wish, told }
    }

    fn remove(state: State, told: Told) -> Write {
        Write {
            guard: Guard::At(state),
            wish: Wish::Remove,
            told,
        }
    }

    fn found(writes: &[Write], seen: &[State], last: Option<State>) -> Vec<String> {
        let (writes, seen) = (writes.to_vec(), seen.to_vec());
        judge(&Ledger { writes, seen }, last)
    }

    const A: Mark = Mark {
        client: 0,
        write: 0,
        changes: 0,
    };

    fn registered() -> Write {
        put(Guard::Absent, A, Told::Done(Some(3)))
    }

    #[test]
    fn a_history_without_gaps_is_good() {
        let (b, c, d) = (mark(1, 1), mark(2, 2), mark(3, 0));
        let writes = [
            registered(),
            put(Guard::At((3, A)), b, Told::Nothing),
            put(Guard::At((3, A)), mark(9, 1), Told::Refused),
            put(Guard::At((5, b)), c, Told::Done(Some(7))),
            remove((7, c), Told::Nothing),
            put(Guard::Absent, d, Told::Done(Some(11))),
        ];
        assert_eq!(found(&writes, &[(5, b)], Some((11, d))), [""; 0]);
        let mut removed = writes.to_vec();
        removed.push(remove((11, d), Told::Done(None)));
        assert_eq!(found(&removed, &[(5, b)], None), [""; 0]);
        let over = put(Guard::None, mark(5, 0), Told::Done(Some(12)));
        let writes = [registered(), over];
        assert_eq!(found(&writes, &[], Some((12, mark(5, 0)))), [""; 0]);
    }

    #[test]
    fn what_must_never_be_is_found() {
        let (b, c) = (mark(1, 1), mark(2, 1));
        let change = |mark, told| put(Guard::At((3, A)), mark, told);
        let done = |revision| Told::Done(Some(revision));
        let second = change(b, done(5));
        let cases: [Case; 9] = [
            (
                "gone, there",
                vec![registered(), second],
                vec![],
                Some((3, A)),
            ),
            ("nobody removed", vec![registered(), second], vec![], None),
            (
                "2 writers",
                vec![registered(), second, change(c, done(6))],
                vec![],
                Some((6, c)),
            ),
            (
                "was lost",
                vec![registered(), second, change(c, done(6))],
                vec![],
                Some((6, c)),
            ),
            (
                "and is stored",
                vec![registered(), change(b, Told::Refused)],
                vec![],
                Some((5, b)),
            ),
            ("by nobody", vec![registered()], vec![], Some((5, b))),
            (
                "two contents",
                vec![registered(), second],
                vec![(5, c)],
                Some((5, b)),
            ),
            (
                "second time",
                vec![registered(), second],
                vec![],
                Some((6, b)),
            ),
            (
                "and is there",
                vec![registered(), remove((3, A), Told::Done(None))],
                vec![],
                Some((3, A)),
            ),
        ];
        for (what, writes, seen, last) in cases {
            let found = found(&writes, &seen, last);
            assert!(
                found.iter().any(|it| it.contains(what)),
                "{what}: {found:?}"
            );
        }
        let again = put(Guard::Absent, mark(7, 0), done(9));
        let found = found(&[registered(), again], &[], Some((9, mark(7, 0))));
        assert!(found[0].contains("was lost"), "{found:?}");
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        assert_eq!(Mark::parse(&mark(12, 3).to_locale()), Some(mark(12, 3)));
        assert_eq!(Mark::parse("de_DE"), None);
    }
}
