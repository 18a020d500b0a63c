//! When a token may be removed: pure, by app, with a brake.
//!
//! A provider that calls most of our tokens dead is far more often a mistake of ours (a wrong
//! environment, bundle or project) than a mass uninstall, and a removed token does not come back
//! until the application is opened again. So removal stops before it has done harm.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

/// How far back the brake looks.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// So many different devices must have come back before the brake can hold.
pub const MIN_DEVICES: usize = 50;

/// And at least this share of the app's attempts, in percent.
pub const MIN_PERCENT: u64 = 20;

/// Attempts are counted in steps of this many seconds.
const STEP: i64 = 10;

/// More devices than this are not remembered one by one: the brake holds by then unless the app
/// makes more than five times as many attempts in one window.
const MAX_REMEMBERED: usize = 100_000;

/// What the brake says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Tokens may be removed, one by one, as [`may_remove`] says.
    Free,
    /// No token of this app may be removed, and its breaker should open.
    Held {
        /// Different devices that came back unregistered within the window.
        n_devices: usize,
        /// The app's attempts within the window.
        n_attempts: u64,
    },
}

/// The hygiene brake of one app.
#[derive(Clone, Debug, Default)]
pub struct Brake {
    /// Attempts per step of time, oldest first.
    attempts: VecDeque<(i64, u64)>,
    /// Device hash → second in which it last came back unregistered.
    suspects: HashMap<u64, i64>,
}

impl Brake {
    /// Counts `n` attempts of the app that ended at `now`, whatever their outcome.
    pub fn record_attempts(&mut self, n: u64, now: Timestamp) {
        let step = now.as_second().div_euclid(STEP);
        match self.attempts.back_mut() {
            Some((last, count)) if *last >= step => *count += n,
            _ => self.attempts.push_back((step, n)),
        }
        let oldest = (now.as_second() - WINDOW.as_secs()).div_euclid(STEP);
        while self.attempts.front().is_some_and(|(it, _)| *it < oldest) {
            self.attempts.pop_front();
        }
    }

    /// Notes that a device's token came back unregistered (its attempt is counted separately).
    pub fn record_unregistered(&mut self, device: u64, now: Timestamp) {
        if self.suspects.len() >= MAX_REMEMBERED {
            let oldest = now.as_second() - WINDOW.as_secs();
            self.suspects.retain(|_, seen| *seen >= oldest);
        }
        if self.suspects.len() < MAX_REMEMBERED {
            self.suspects.insert(device, now.as_second());
        }
    }

    /// Judges the window that ends at `now`.
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        if self.suspects.len() < MIN_DEVICES {
            return Verdict::Free;
        }
        let oldest = now.as_second() - WINDOW.as_secs();
        let n_devices = self.suspects.values().filter(|it| **it >= oldest).count();
        let n_attempts = self
            .attempts
            .iter()
            .filter(|(step, _)| *step >= oldest.div_euclid(STEP))
            .map(|(_, n)| n)
            .sum();
        let is_share_reached =
            (n_devices as u64).saturating_mul(100) >= MIN_PERCENT.saturating_mul(n_attempts);
        if n_devices >= MIN_DEVICES && is_share_reached {
            return Verdict::Held {
                n_devices,
                n_attempts,
            };
        }
        Verdict::Free
    }
}

/// Whether one token may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Remove it, guarded by the revision that was read.
    Remove,
    /// The device registered again after the provider's verdict: that token is alive.
    RegisteredSince,
    /// The document changed since it was read: the verdict is about an older token.
    Changed,
    /// The brake holds.
    Held,
}

/// What is known of the device document at the moment of the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// When the token was registered.
    pub registered_at: Timestamp,
    /// The document's revision when the token was read for sending.
    pub read_revision: u64,
    /// The document's revision at the time of the decision.
    pub current_revision: u64,
}

/// Decides about one token that came back unregistered.
///
/// `since` is the provider's timestamp (APNs: the last time it was sure); without one, the moment
/// of sending, `sent_at`, counts.
pub fn may_remove(
    since: Option<Timestamp>,
    sent_at: Timestamp,
    device: Registration,
    brake: Verdict,
) -> Removal {
    if brake != Verdict::Free {
        return Removal::Held;
    }
    if device.read_revision != device.current_revision {
        return Removal::Changed;
    }
    if since.unwrap_or(sent_at) < device.registered_at {
        return Removal::RegisteredSince;
    }
    Removal::Remove
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn brake(n_unregistered: u64, n_attempts: u64) -> Brake {
        let mut brake = Brake::default();
        brake.record_attempts(n_attempts, at(0));
        for device in 0..n_unregistered {
            brake.record_unregistered(device, at(0));
        }
        brake
    }

    #[track_caller]
    fn check(n_unregistered: u64, n_attempts: u64, is_held: bool) {
        let verdict = brake(n_unregistered, n_attempts).verdict(at(1));
        assert_eq!(verdict != Verdict::Free, is_held, "{verdict:?}");
    }

    #[test]
    fn the_brake_needs_both_fifty_devices_and_a_fifth_of_the_attempts() {
        check(49, 49, false);
        check(50, 250, true);
        check(50, 251, false);
        check(5_000, 100_000, false);
        check(20_000, 100_000, true);
    }

    #[test]
    fn one_device_that_comes_back_often_is_one_device() {
        let mut brake = Brake::default();
        for second in 0..100 {
            brake.record_attempts(1, at(second));
            brake.record_unregistered(7, at(second));
        }
        assert_eq!(brake.verdict(at(100)), Verdict::Free);
    }

    #[test]
    fn what_is_older_than_five_minutes_is_forgotten() {
        let brake = brake(60, 60);
        assert_ne!(brake.verdict(at(300)), Verdict::Free);
        assert_eq!(brake.verdict(at(301)), Verdict::Free);
    }

    #[test]
    fn attempts_spread_over_time_keep_the_share_honest() {
        let mut brake = Brake::default();
        for second in 0..290 {
            brake.record_attempts(10, at(second));
        }
        for device in 0..100 {
            brake.record_unregistered(device, at(289));
        }
        assert_eq!(brake.verdict(at(290)), Verdict::Free);
    }

    #[track_caller]
    fn check_removal(since: Option<i64>, revisions: (u64, u64), brake: Verdict, expected: Removal) {
        let device = Registration {
            registered_at: at(100),
            read_revision: revisions.0,
            current_revision: revisions.1,
        };
        assert_eq!(may_remove(since.map(at), at(200), device, brake), expected);
    }

    #[test]
    fn a_token_goes_only_if_nothing_newer_speaks_for_it() {
        check_removal(Some(150), (3, 3), Verdict::Free, Removal::Remove);
        check_removal(Some(100), (3, 3), Verdict::Free, Removal::Remove);
        check_removal(Some(99), (3, 3), Verdict::Free, Removal::RegisteredSince);
        check_removal(None, (3, 3), Verdict::Free, Removal::Remove);
        check_removal(None, (3, 4), Verdict::Free, Removal::Changed);
        let held = Verdict::Held {
            n_devices: 50,
            n_attempts: 60,
        };
        check_removal(None, (3, 3), held, Removal::Held);
    }
}
