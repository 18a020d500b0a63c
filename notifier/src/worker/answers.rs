//! What the answers of providers mean for a task, and for the health of its lane.

use std::time::Duration;

use fanfare_nats::fail;
use fanfare_nats::receipt::Mark;
use jiff::SignedDuration;

use super::driver::Driver;
use crate::attempt::{self, Turn};
use crate::lane::AfterFailure;
use crate::machine::{At, Came, Ended, Input};
use crate::outcome::Reason;

impl Driver {
    /// Tells the machine what came of an attempt.
    pub(super) fn ended(&mut self, ended: attempt::Ended, now: &At) {
        fail::point("task.answered");
        let attempt::Ended {
            device,
            attempts,
            turn,
            begun,
            at,
        } = ended;
        let came = match turn {
            Turn::Marked(mark, reason) => {
                if mark == Mark::Accepted {
                    self.observe_age(at);
                }
                self.admissions.answered(begun);
                Came::Marked(mark, reason)
            }
            Turn::Later(wait, reason) => {
                self.admissions.answered(begun);
                let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
                let due = at.checked_add(wait).unwrap_or(self.task.expires_at);
                Came::Later { due, reason }
            }
            Turn::Failed(scope, wish, reason) => {
                let after = self.admissions.failed(scope, wish, begun);
                self.failed(after, &reason)
            }
            Turn::Unclear(scope, wish, reason) => {
                if let AfterFailure::Paused(pause) = self.admissions.failed(scope, wish, begun) {
                    self.tell_at(Input::HandBack(Some(pause)), now);
                }
                Came::Marked(Mark::Unclear, Some(reason))
            }
            Turn::Credentials(reason) => {
                self.note(&reason);
                tracing::error!(
                    app = %self.task.lane.app,
                    reason = &*reason,
                    "the provider refuses our credentials: the lane is paused, the work is kept"
                );
                let after = self.admissions.refused(begun);
                self.failed(after, &reason)
            }
        };
        let input = Input::Ended(Ended {
            device,
            attempts,
            at,
            came,
        });
        self.tell_at(input, now);
    }

    fn failed(&self, after: AfterFailure, reason: &Reason) -> Came {
        tracing::debug!(lane = %self.task.lane, reason = &**reason, "attempt that marks nobody");
        match after {
            AfterFailure::Again => Came::NoTurn,
            AfterFailure::Paused(pause) => {
                self.note(reason);
                if !self.machine.is_ending() {
                    tracing::warn!(
                        lane = %self.task.lane,
                        reason = &**reason,
                        seconds = pause.as_secs(),
                        "provider is not available: the lane is paused, its task handed back"
                    );
                }
                // At once: another notifier's way to the provider may be better.
                Came::HandBack(Duration::ZERO)
            }
        }
    }

    fn note(&self, reason: &Reason) {
        let text = format!("{}: {}", self.task.lane, &**reason);
        self.shared.metrics.last_error.say(&text);
    }

    fn observe_age(&self, at: jiff::Timestamp) {
        let occurred = self.loaded.as_ref().and_then(|it| it.event.occurred_at);
        if let Some(occurred) = occurred {
            let age = at.duration_since(occurred).as_secs_f64();
            self.shared.metrics.event_age.observe(age);
        }
    }
}
