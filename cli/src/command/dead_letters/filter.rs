//! Which letters are meant.

use clap::Args;
use fanfare_nats::dead::{Kind, Wanted};
use fanfare_nats::{AppName, EventId};
use jiff::Timestamp;

use crate::command::since::since;
use crate::exit::Failure;

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Filter {
    /// Only these: refused, invalid, poison or advisory
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only of this app
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Only of this event
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Only those stored since: a length of time such as 1h or 7d, or a time such as
    /// 2026-11-20T06:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

impl Filter {
    /// Whether it narrows nothing down.
    pub(super) fn is_everything(&self) -> bool {
        self.reason.is_none() && self.app.is_none() && self.event.is_none() && self.since.is_none()
    }

    /// What it says, or what is wrong with it.
    pub(super) fn wanted(&self, now: Timestamp) -> Result<Wanted, Failure> {
        Ok(Wanted {
            kind: self.reason.as_deref().map(reason).transpose()?,
            app: self.app.as_deref().map(app).transpose()?,
            event: self.event.as_deref().map(event).transpose()?,
            since: self.since.as_deref().map(|it| since(it, now)).transpose()?,
        })
    }
}

fn reason(word: &str) -> Result<Kind, Failure> {
    Kind::parse(word).ok_or_else(|| {
        Failure::Usage(format!(
            "`{word}` is no reason: refused, invalid, poison or advisory"
        ))
    })
}

fn app(name: &str) -> Result<AppName, Failure> {
    AppName::parse(name).map_err(|error| Failure::Usage(error.to_string()))
}

fn event(id: &str) -> Result<EventId, Failure> {
    EventId::parse(id)
        .ok_or_else(|| Failure::Usage(format!("`{id}` is no event: 32 hexadecimal digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_what_is_wrong_with_it() {
        let filter = |reason: &str, event: &str, since: &str| Filter {
            reason: Some(reason.to_owned()),
            event: Some(event.to_owned()),
            since: Some(since.to_owned()),
            app: None,
        };
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let (id, hour) = ("a".repeat(32), "2026-03-01T11:00:00Z");
        for since in ["1h", hour] {
            let wanted = filter("poison", &id, since).wanted(now).unwrap();
            assert_eq!(wanted.since, Some(hour.parse().unwrap()));
        }
        for wrong in [
            filter("poisn", &id, "1h"),
            filter("poison", "us7000", "1h"),
            filter("poison", &id, "yesterday"),
        ] {
            let refused = wrong.wanted(now);
            assert!(matches!(refused, Err(Failure::Usage(_))), "{refused:?}");
        }
    }
}
