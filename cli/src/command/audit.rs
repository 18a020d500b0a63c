//! `fanfare audit`: who changed what; and the records of commands that change something.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use fanfare_nats::Broker;
use fanfare_nats::audit::{AuditError, Change, Kept, Who};
use fanfare_nats::key::Tenant;
use fanfare_nats::permissions::Role;
use fanfare_nats_server::Environment;
use jiff::{Timestamp, Unit};
use rand::Rng;
use tokio::time::{Instant, sleep};

use super::Common;
use super::dead_letters::table;
use super::keys::tenant;
use super::reach::Reach;
use super::since::since;
use crate::exit::Failure;

/// How long a command tries to have its record stored: an election takes up to 11 s.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Messages of one reading.
const STEP: usize = 256;

#[derive(Args)]
pub(crate) struct Audit {
    /// Only what was stored then or later: a time, or how long ago, for example 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1d")]
    since: String,
    /// Only of this tenant [default: of all]
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    tenant: Option<Tenant>,
    /// One object of JSON a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Audit {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let since = since(&self.since, crate::clock::now())?;
        let config = common.load(environment)?;
        let broker = self.reach.broker(&config, environment, "audit").await?;
        let tenant = self.tenant.as_ref();
        let place = broker.changes_since(tenant, since).await;
        let mut place = place.context(WHY_NOT)?;
        let mut rows = Vec::new();
        loop {
            let some = broker.changes_after(tenant, place, STEP).await;
            let some = some.context(WHY_NOT)?;
            let Some(last) = some.last() else { break };
            place = last.place;
            if self.json {
                if is_closed(&some.iter().map(as_json).collect::<String>())? {
                    return Ok(());
                }
            } else {
                rows.extend(some.iter().map(row));
            }
        }
        if !self.json {
            let head = [
                "at",
                "tenant",
                "who",
                "operation",
                "of",
                "status",
                "request",
            ];
            is_closed(&table::of(head, &rows))?;
        }
        Ok(())
    }
}

/// What an operator should look at.
const WHY_NOT: &str = "the server does not answer, its user may not read the audit (the list is that of \
                       `fanfare admin permissions --role auditor`), or there is none: `fanfare admin apply`";

/// Prints; answers whether whoever reads has seen enough.
fn is_closed(text: &str) -> anyhow::Result<bool> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(false),
    }
}

/// Keeps the record of a command that was carried out.
///
/// # Errors
/// It is carried out all the same; only the record is missing, and the exit code says so.
pub(super) async fn note<const N: usize>(
    broker: &Broker,
    user: Role,
    tenant: &Tenant,
    what: &str,
    of: [(&str, String); N],
) -> Result<(), Failure> {
    let of: BTreeMap<_, _> = of.map(|(kind, name)| (kind.to_owned(), name)).into();
    let records = [Change {
        at: crate::clock::now(),
        who: Who::Command {
            host: broker.host().to_owned(),
        },
        what: what.to_owned(),
        of,
        status: None,
        revision: None,
        request: None,
    }];
    let id = format!("audit.{:032x}", rand::rng().random::<u128>());
    let until = Instant::now() + PATIENCE;
    loop {
        let kept = broker.keep_changes(user, tenant, &records, &id).await;
        let Err(error) = kept else { return Ok(()) };
        if matches!(error, AuditError::Refused(_)) || Instant::now() >= until {
            let told = anyhow::Error::from(error).context("it is done, but not recorded");
            return Err(told.into());
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn row(kept: &Kept) -> [String; 7] {
    let none = String::new;
    let Some(change) = &kept.change else {
        let text = "written by a later version".to_owned();
        let (at, tenant) = (seconds(kept.stored_at), line(&kept.tenant));
        return [at, tenant, none(), text, none(), none(), none()];
    };
    let who = match &change.who {
        Who::Key { id } => format!("key {id}"),
        Who::Device => "the device".to_owned(),
        Who::Anyone => "anyone".to_owned(),
        Who::Command { host } => format!("{} on {host}", kept.user),
    };
    let of = change.of.iter();
    let of: Vec<String> = of.map(|(kind, name)| format!("{kind} {name}")).collect();
    let status = match (change.status, &change.who) {
        (Some(status), _) => status.to_string(),
        (None, Who::Command { .. }) => none(),
        (None, Who::Key { .. } | Who::Device | Who::Anyone) => "hung up".to_owned(),
    };
    [
        seconds(change.at),
        line(&kept.tenant),
        line(&who),
        line(&change.what),
        line(&of.join(", ")),
        status,
        line(change.request.as_deref().unwrap_or_default()),
    ]
}

fn as_json(kept: &Kept) -> String {
    let Kept {
        place,
        stored_at,
        user,
        tenant,
        node,
        change,
    } = kept;
    let mut text = String::new();
    let object = serde_json::json!({
        "place": place.to_string(),
        "stored_at": stored_at,
        "tenant": tenant,
        "user": user,
        "node": node,
        "change": change,
    });
    // Writing to a String cannot fail.
    let _ok = writeln!(text, "{object}");
    text
}

fn seconds(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

/// Text of others in one line, as it can be shown on a terminal.
fn line(text: &str) -> String {
    fanfare_nats::harmless::line(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(change: Option<Change>) -> Kept {
        Kept {
            place: "7.1".parse().unwrap(),
            stored_at: Timestamp::UNIX_EPOCH,
            user: "owner".to_owned(),
            tenant: "main".to_owned(),
            node: "n1".to_owned(),
            change,
        }
    }

    fn change(who: Who, status: Option<u16>) -> Change {
        Change {
            at: Timestamp::UNIX_EPOCH,
            who,
            what: "putDevice".to_owned(),
            of: [("device".to_owned(), "phone\n1".to_owned())].into(),
            status,
            revision: None,
            request: Some("r-1".to_owned()),
        }
    }

    #[test]
    fn a_row_says_who_did_what_to_what_on_one_line() {
        let id = "sv0s8wj70b".to_owned();
        let put = row(&kept(Some(change(Who::Key { id }, Some(201)))));
        let expected = [
            "1970-01-01T00:00:00Z",
            "main",
            "key sv0s8wj70b",
            "putDevice",
            "device phone 1",
            "201",
            "r-1",
        ];
        assert_eq!(put, expected);
        let host = "h".to_owned();
        let command = row(&kept(Some(change(Who::Command { host }, None))));
        assert_eq!(
            (command[2].as_str(), command[5].as_str()),
            ("owner on h", "")
        );
        assert_eq!(row(&kept(Some(change(Who::Device, None))))[5], "hung up");
        assert_eq!(row(&kept(None))[3], "written by a later version");
    }

    #[test]
    fn json_has_an_object_a_line() {
        let text = as_json(&kept(Some(change(Who::Device, Some(200)))));
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&object["place"], &object["change"]["status"]),
            (&"7.1".into(), &200.into())
        );
        assert!(text.ends_with("}\n") && text.lines().count() == 1);
    }
}
