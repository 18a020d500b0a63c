//! Which quakes are shown when. Pure: feed time and our time are arguments.

use super::Emission;
use super::geojson::{Shown, frame};
use super::table::Quake;

/// The table on its way past the feed clock.
#[derive(Debug)]
pub(super) struct Replay {
    quakes: Vec<Quake>,
    steps: Vec<Step>,
    /// Steps taken.
    at: usize,
    /// What is shown of each quake, in the table's order.
    shown: Vec<Option<Shown>>,
    /// What was emitted after the start, with its frame.
    pub(super) emissions: Vec<(Emission, String)>,
    /// Feed seconds per second.
    pub(super) speed: f64,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    at_s: f64,
    quake: usize,
    version: usize,
}

impl Replay {
    /// Everything up to `start_s` is shown already, and is no emission.
    pub(super) fn new(quakes: Vec<Quake>, start_s: f64, speed: f64, now_ms: i64) -> Self {
        let mut steps: Vec<Step> = quakes
            .iter()
            .enumerate()
            .flat_map(|(at, quake)| {
                let versions = quake.versions.iter().enumerate();
                versions.map(move |(version, it)| Step {
                    at_s: quake.origin_s + it.after_s,
                    quake: at,
                    version,
                })
            })
            .collect();
        steps.sort_by(|left, right| left.at_s.total_cmp(&right.at_s));
        let shown = vec![None; quakes.len()];
        let mut replay = Self {
            quakes,
            steps,
            at: 0,
            shown,
            emissions: Vec::new(),
            speed,
        };
        while let Some(step) = replay.steps.get(replay.at).copied()
            && step.at_s <= start_s
        {
            replay.at += 1;
            let ago_ms = replay.ours_ms(start_s - step.at_s);
            replay.show(step, now_ms - ago_ms);
        }
        replay
    }

    /// Emits all that is due at `feed_s`.
    pub(super) fn advance_to(&mut self, feed_s: f64, now_us: i64) {
        while self.next_s().is_some_and(|next_s| next_s <= feed_s) {
            self.step(1, now_us);
        }
    }

    /// Emits the next `n_steps`. Returns the feed time reached.
    pub(super) fn step(&mut self, n_steps: usize, now_us: i64) -> f64 {
        let mut reached_s = 0.0;
        for _ in 0..n_steps {
            let Some(step) = self.steps.get(self.at).copied() else {
                break;
            };
            self.at += 1;
            reached_s = step.at_s;
            if let Some(emission) = self.show(step, now_us / 1000) {
                let emission = Emission {
                    at_us: now_us,
                    ..emission
                };
                let shown = self.shown.get(step.quake).and_then(Option::as_ref);
                let frame = shown
                    .map(|it| frame(it, step.version == 0))
                    .unwrap_or_default();
                self.emissions.push((emission, frame));
            }
        }
        reached_s
    }

    /// When the next emission is due.
    pub(super) fn next_s(&self) -> Option<f64> {
        self.steps.get(self.at).map(|it| it.at_s)
    }

    pub(super) fn is_over(&self) -> bool {
        self.steps.len() <= self.at
    }

    /// What is shown of quakes since `from_s`, newest first.
    pub(super) fn shown_since(&self, from_s: f64) -> impl Iterator<Item = &Shown> {
        let since = self.quakes.iter().zip(&self.shown).rev();
        since
            .filter(move |(quake, _)| from_s < quake.origin_s)
            .filter_map(|(_, it)| it.as_ref())
    }

    /// How many quakes are older than `from_s`.
    pub(super) fn n_before(&self, from_s: f64) -> i64 {
        let n_before = self.quakes.partition_point(|it| it.origin_s <= from_s);
        i64::try_from(n_before).unwrap_or(i64::MAX)
    }

    fn show(&mut self, step: Step, now_ms: i64) -> Option<Emission> {
        let quake = self.quakes.get(step.quake)?;
        let version = *quake.versions.get(step.version)?;
        let ago_ms = self.ours_ms(version.after_s);
        let slot = self.shown.get_mut(step.quake)?;
        // The origin stays where the first version put it.
        let origin_ms = slot.as_ref().map_or(now_ms - ago_ms, |it| it.origin_ms);
        *slot = Some(Shown::new(quake, version, origin_ms, now_ms));
        Some(Emission {
            id: quake.id.clone(),
            kind: quake.kind.clone(),
            revision: step.version,
            mag: version.mag,
            is_scripted: version.is_scripted,
            at_us: now_ms * 1000,
        })
    }

    /// Feed seconds in our milliseconds: nothing shown lies in the future or is older than the
    /// replay makes it. A clock that stands still counts as one at normal speed.
    fn ours_ms(&self, feed_s: f64) -> i64 {
        let speed = if self.speed > 0.0 { self.speed } else { 1.0 };
        #[expect(clippy::cast_possible_truncation, reason = "days in milliseconds")]
        let ours_ms = (feed_s * 1000.0 / speed) as i64;
        ours_ms
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::shipped;
    use super::*;

    fn replay(start_s: f64, speed: f64) -> Replay {
        Replay::new(shipped().unwrap(), start_s, speed, 1_000_000_000)
    }

    #[test]
    fn the_past_is_shown_and_not_emitted() {
        let mut replay = replay(6.0 * 3600.0, 60.0);
        let n_shown = replay.shown_since(0.0).count();
        assert!(n_shown > 20, "{n_shown}");
        assert_eq!(replay.emissions.len(), 0);
        replay.advance_to(7.0 * 3600.0, 2_000_000_000_000);
        assert!(!replay.emissions.is_empty());
        let fresh = replay
            .shown_since(0.0)
            .filter(|it| it.updated_ms == 2_000_000_000);
        assert!(fresh.count() > 0);
    }

    #[test]
    fn origins_lie_before_their_first_showing_and_stay() {
        let mut replay = replay(0.0, 1000.0);
        replay.step(10_000, 5_000_000_000_000);
        assert!(replay.is_over());
        for shown in replay.shown_since(-1.0) {
            let ago_ms = 5_000_000_000 - shown.origin_ms;
            assert!((0..=10_000).contains(&ago_ms), "{ago_ms}");
        }
    }

    #[test]
    fn each_version_of_each_quake_is_emitted_once_in_order() {
        let mut replay = replay(-1.0, 1.0);
        for at in 0..200 {
            replay.advance_to(f64::from(at) * 1800.0, 5_000_000_000_000);
        }
        assert!(replay.is_over());
        let n_versions: usize = shipped().unwrap().iter().map(|it| it.versions.len()).sum();
        assert_eq!(replay.emissions.len(), n_versions);
        let mut next = std::collections::HashMap::new();
        for (emission, _) in &replay.emissions {
            let revision: &mut usize = next.entry(emission.id.clone()).or_default();
            assert_eq!(emission.revision, *revision);
            *revision += 1;
        }
    }
}
