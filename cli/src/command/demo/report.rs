//! The reconciliation, for people and for programs, and the verdict on it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::broker::Held;
use super::configuration::{ACK_WAIT, WINDOW};
use super::figures::Figures;
use super::reconcile::Balance;
use super::story::{BrokerKill, Kill, LEAST_IN_FLIGHT};
use super::{DID_NOT_BITE, Demo};
use crate::exit::Failure;

/// Notifiers on the stage.
const N_NOTIFIERS: u64 = 2;

/// What stands at the end.
pub(super) struct Report {
    pub(super) is_sabotaged: bool,
    pub(super) n_devices: u64,
    pub(super) balance: Balance,
    pub(super) figures: Figures,
    pub(super) held: Held,
    pub(super) kill: Option<Kill>,
    pub(super) broker_kill: Option<BrokerKill>,
    pub(super) is_settled: bool,
    pub(super) first_push: Duration,
    pub(super) took: Duration,
    /// What the processes warned of, and how they ended badly.
    pub(super) warnings: Vec<String>,
}

/// What the run shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Kept,
    Broken,
    DidNotBite,
}

impl Report {
    /// The most repetitions that the promise allows.
    fn bound(&self) -> u64 {
        let killed = if self.kill.is_some() { WINDOW } else { 0 };
        killed + self.n_contests() * N_NOTIFIERS * WINDOW
    }

    /// How often a fail-over of the broker may take the tasks in hand from every notifier: once, and
    /// once more for each `ack_wait` that passes without a leader. The shipped `ack_wait` is longer
    /// than an election; the demo's is shorter.
    fn n_contests(&self) -> u64 {
        if self.broker_kill.is_none() {
            return 0;
        }
        let pause = Duration::from_secs_f64(self.broker_pause().unwrap_or_default().max(0.0));
        1 + pause.as_secs() / ACK_WAIT.as_secs()
    }

    fn did_bite(&self) -> bool {
        // Some are answered between the look and the kill, on a busy machine most of them; what was
        // sent again shows the kill as well.
        let n_hit = self.balance.cut.max(self.balance.repeated);
        let is_hit = self.held.redelivered > 0 && n_hit >= LEAST_IN_FLIGHT;
        (self.kill.is_none() || is_hit) && (self.broker_kill.is_none() || self.n_after_broker() > 0)
    }

    /// Pushes after the kill of a nats-server.
    fn n_after_broker(&self) -> u64 {
        self.balance.after_broker.map_or(0, |it| it.0)
    }

    /// The longest time without one from then on, in seconds.
    fn broker_pause(&self) -> Option<f64> {
        self.balance.after_broker.map(|it| seconds(it.1))
    }

    fn judge(&self) -> Verdict {
        let balance = &self.balance;
        let is_kept = self.is_settled
            && balance.owed > 0
            && balance.lost == 0
            && balance.repeated <= self.bound()
            && balance.surplus == 0
            && balance.lowered == 0
            && balance.events_missing == 0
            && balance.events_surplus == 0;
        match (is_kept, self.did_bite()) {
            (false, _) => Verdict::Broken,
            (true, false) => Verdict::DidNotBite,
            (true, true) => Verdict::Kept,
        }
    }

    /// Whether nobody needs the logs.
    pub(super) fn is_good(&self) -> bool {
        self.judge() == Verdict::Kept && self.warnings.is_empty()
    }

    /// The exit code, as what ends the command.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        match self.judge() {
            Verdict::Kept => Ok(()),
            Verdict::Broken => Err(Failure::Failed(anyhow::anyhow!("the promise was broken"))),
            Verdict::DidNotBite => Err(Failure::Code {
                code: DID_NOT_BITE,
                error: anyhow::anyhow!(
                    "the fault did not bite: {} sends were cut off, {} repeated (at least \
                     {LEAST_IN_FLIGHT} must be one or the other) and {} tasks redelivered{}; nothing is \
                     shown about faults",
                    self.balance.cut,
                    self.balance.repeated,
                    self.held.redelivered,
                    self.broker_kill
                        .as_ref()
                        .map_or_else(String::new, |it| format!(
                            ", {} pushes were made after the kill of {}",
                            self.n_after_broker(),
                            it.name
                        ))
                ),
            }),
        }
    }

    fn rows(&self) -> Vec<(&'static str, u64, String)> {
        let (balance, held) = (&self.balance, &self.held);
        let duplicates = self.figures.news.saturating_sub(held.events.len() as u64);
        let bound = match (self.kill, &self.broker_kill) {
            (Some(_), Some(_)) => format!(
                "at most {}: W ({WINDOW}) of the notifier that was killed, and of both for the broker, \
                 once and once more for each ack_wait of the election",
                self.bound()
            ),
            (Some(_), None) => format!("at most {WINDOW}: the W of the notifier that was killed"),
            (None, _) => "none is allowed without a kill".to_owned(),
        };
        let planned = format!("of {} tasks", grouped(held.tasks));
        let due = format!(
            "of {} that the feed called for",
            grouped(balance.events_due)
        );
        let escalated = format!(
            "{} times a higher level replaced a lower one on a screen",
            grouped(balance.escalated)
        );
        let row = |name, n, note: &str| (name, n, note.to_owned());
        vec![
            row(
                "items seen",
                self.figures.items,
                "by 2 fetchers, over REST and WebSocket",
            ),
            row("events stored", held.events.len() as u64, &due),
            row(
                "duplicates dropped",
                duplicates,
                "the same event, seen again",
            ),
            row(
                "deliveries owed",
                balance.owed,
                "event x device, by the demo's own matching",
            ),
            row(
                "superseded",
                balance.superseded,
                "the device got a higher level of the quake instead",
            ),
            row("delivered", balance.delivered, &escalated),
            row("accepted", balance.accepted, "by the doubles"),
            row("lost", balance.lost, ""),
            row("repeated", balance.repeated, &bound),
            row(
                "unasked for",
                balance.surplus,
                "pushes that nobody was owed",
            ),
            row(
                "lower after higher",
                balance.lowered,
                "pushes that came after a higher level of their quake",
            ),
            row("redeliveries", held.redelivered, &planned),
            row("fenced claims", self.figures.fenced, ""),
        ]
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ok = writeln!(
            text,
            "\nreconciliation, from the ledger of the provider doubles"
        );
        for (name, n, note) in self.rows() {
            let line = format!("  {name:<20}{:>9}   {note}", grouped(n));
            let _ok = writeln!(text, "{}", line.trim_end());
        }
        if let Some(kill) = self.kill {
            let _ok = writeln!(
                text,
                "  {:<20}{:>9}   sends that the killed notifier had in flight (seen before: {})",
                "cut off", self.balance.cut, kill.in_flight
            );
        }
        if let Some((first, last)) = self.taken_over() {
            let _ok = writeln!(
                text,
                "  {:<20}{first:>7.1} s   from the kill to the first of these sends again; the last \
                 after {last:.1} s (ack_wait {} s)",
                "take-over",
                ACK_WAIT.as_secs()
            );
        }
        if let (Some(kill), Some(pause)) = (&self.broker_kill, self.broker_pause()) {
            let _ok = writeln!(
                text,
                "  {:<20}{pause:>7.1} s   longest without a push after {} was killed; {} pushes came \
                 after it, {} warnings of the roles meanwhile",
                "broker",
                kill.name,
                grouped(self.n_after_broker()),
                kill.n_warnings
            );
        }
        let _ok = writeln!(
            text,
            "  first push after {:.1} s, all in {:.1} s",
            self.first_push.as_secs_f64(),
            self.took.as_secs_f64()
        );
        text.push_str(match self.judge() {
            Verdict::Kept => "\nnothing was lost, and nothing was repeated beyond the bound\n",
            Verdict::Broken => "\nTHE PROMISE WAS BROKEN\n",
            Verdict::DidNotBite => "",
        });
        text
    }

    /// In seconds.
    fn taken_over(&self) -> Option<(f64, f64)> {
        self.balance
            .taken_over_us
            .map(|(first, last)| (seconds(first), seconds(last)))
    }

    fn value(&self) -> Value {
        let (balance, held) = (&self.balance, &self.held);
        let taken_over = self.taken_over();
        json!({
            "verdict": match self.judge() {
                Verdict::Kept => "kept",
                Verdict::Broken => "broken",
                Verdict::DidNotBite => "the fault did not bite",
            },
            "is_sabotaged": self.is_sabotaged,
            "is_settled": self.is_settled,
            "devices": self.n_devices,
            "items_seen": self.figures.items,
            "events_stored": held.events.len(),
            "events_due": balance.events_due,
            "events_missing": balance.events_missing,
            "events_surplus": balance.events_surplus,
            "duplicates_dropped": self.figures.news.saturating_sub(held.events.len() as u64),
            "owed": balance.owed,
            "superseded": balance.superseded,
            "delivered": balance.delivered,
            "escalated": balance.escalated,
            "accepted": balance.accepted,
            "not_accepted": balance.not_accepted,
            "lost": balance.lost,
            "repeated": balance.repeated,
            "repeated_at_most": self.bound(),
            "surplus": balance.surplus,
            "lower_after_higher": balance.lowered,
            "tasks": held.tasks,
            "tasks_redelivered": held.redelivered,
            "redeliveries": self.figures.redeliveries,
            "fenced_claims": self.figures.fenced,
            "killed_in_flight": self.kill.map(|it| it.in_flight),
            "cut_off": balance.cut,
            "take_over_first_s": taken_over.map(|it| it.0),
            "take_over_last_s": taken_over.map(|it| it.1),
            "broker_killed": self.broker_kill.as_ref().map(|it| it.name.as_str()),
            "broker_pause_s": self.broker_pause(),
            "pushes_after_broker_kill": self.balance.after_broker.map(|it| it.0),
            "first_push_s": self.first_push.as_secs_f64(),
            "took_s": self.took.as_secs_f64(),
            "warnings": self.warnings,
        })
    }

    /// Prints it: JSON on standard output, or text.
    pub(super) fn print(&self, demo: &Demo, folder: &std::path::Path) {
        let mut notes = String::new();
        let _ok = self.notes(&mut notes, folder);
        let text = self.text() + &notes;
        let (out, err) = if demo.json {
            (format!("{:#}\n", self.value()), text)
        } else {
            (text, String::new())
        };
        // A reader that went away is nobody to tell.
        let _gone = std::io::stdout().write_all(out.as_bytes());
        let _gone = std::io::stderr().write_all(err.as_bytes());
    }

    fn notes(&self, notes: &mut String, folder: &std::path::Path) -> std::fmt::Result {
        let balance = &self.balance;
        if self.is_sabotaged {
            writeln!(
                notes,
                "the notifiers were sabotaged on purpose: something must be lost"
            )?;
        }
        if !self.is_settled {
            writeln!(notes, "not everything was settled in time")?;
        }
        if balance.events_missing > 0 || balance.events_surplus > 0 {
            writeln!(
                notes,
                "{} events are missing in the stream, {} are there without reason",
                balance.events_missing, balance.events_surplus
            )?;
        }
        if balance.not_accepted > 0 {
            writeln!(notes, "{} requests were not accepted", balance.not_accepted)?;
        }
        if !self.warnings.is_empty() {
            writeln!(notes, "{} unexpected warnings:", self.warnings.len())?;
            for warning in self.warnings.iter().take(10) {
                writeln!(notes, "  {}", warning.chars().take(300).collect::<String>())?;
            }
        }
        if !self.is_good() {
            writeln!(
                notes,
                "logs, configuration and ledger: {}",
                folder.display()
            )?;
        }
        Ok(())
    }
}

fn seconds(us: i64) -> f64 {
    let us = u64::try_from(us).unwrap_or_default();
    Duration::from_micros(us).as_secs_f64()
}

/// A number with separators: `12,345`.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (n, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(n), expected);
        }
    }
}
