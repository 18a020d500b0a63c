//! `GET /v1/audit`: what was changed for a tenant, for those who may do everything in it.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use fanfare_nats::audit::{Change, Kept, Place, ReadAuditError, Who};
use fanfare_nats::{Broker, Tenant};
use http::Uri;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::access::Caller;
use crate::call::{LOOKING, bounded, no_answer, unavailable};
use crate::page::{Listed, Page, Params, again};
use crate::problem::Problem;
use crate::query::Pairs;
use crate::router::{AUDIT, Api};
use crate::text::glimpse;

/// The longest name that is repeated.
const MAX_NAME: usize = 2048;
/// Messages that are read before it is looked at the time.
const STEP: usize = 32;

/// One change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditRecord)]
pub(crate) struct Shown {
    /// Its place among all, `<sequence>.<n>`.
    place: String,
    /// When the record was stored, by the broker's clock; lists go by it.
    stored_at: Timestamp,
    /// The user of the broker that wrote it: `api`; of commands `ops` or `owner`.
    user: String,
    /// The process.
    node: String,
    /// When it was changed, by the clock of the process; null, as what follows, if this version
    /// cannot read it.
    at: Option<Timestamp>,
    who: Option<Asker>,
    /// The operation's id in this contract, or a command's.
    operation: Option<String>,
    /// What was changed, by kind: `device`, `pattern`, `lane`, …
    of: BTreeMap<String, String>,
    /// The status of the answer. From 500 on it is not known whether it was changed; nor without one:
    /// nobody was there any more to be answered. A command has none.
    status: Option<u16>,
    /// The revision that it brought about.
    revision: Option<String>,
    /// The id of the request.
    request_id: Option<String>,
}

/// Who asked for it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditAsker)]
struct Asker {
    /// `key`, `device` (by its own secret), `anyone` (where no keys are asked for) or `command`.
    kind: &'static str,
    /// The key's id.
    id: Option<String>,
    /// The machine of a command.
    host: Option<String>,
}

/// What was changed, the oldest first.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "listAudit",
    description = "Of the key's tenant: through every API, and by commands. The oldest first, by the time they were stored. A page may be shorter than `limit`: as long as there is a `next_cursor`, there may be more.",
    tag = "operating",
    params(
        ("since" = Option<String>, Query, format = DateTime, description = "Only what was stored then or later (RFC 3339)"),
        ("until" = Option<String>, Query, format = DateTime, description = "Only what was stored before"),
        Params,
    ),
    responses((
        status = 200,
        description = "By their place",
        body = Listed<Shown>,
        headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page")),
    )),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    page: Page,
    uri: Uri,
) -> Result<Response, Problem> {
    let pairs = Pairs::of(&uri)?;
    let (since, until) = (pairs.time("since")?, pairs.time("until")?);
    let after = page.behind()?;
    let asked = Asked {
        tenant: caller.tenant(),
        since,
        until,
        after,
        most: page.limit(),
    };
    let broker = api.operating.broker()?;
    let reading = async {
        let read = asked.read(broker).await;
        read.map_err(|error| unavailable(&error))
    };
    let (kept, next) = bounded(broker, reading, no_answer).await?;
    let shown: Vec<Shown> = kept.into_iter().map(shown).collect();
    let address = again(AUDIT, &uri, &["since", "until"]);
    Ok(page.part(&address, shown, next.map(|it| it.to_string())))
}

struct Asked {
    tenant: Tenant,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    after: Option<Place>,
    most: usize,
}

impl Asked {
    /// A page, and behind which place the next one begins.
    async fn read(&self, broker: &Broker) -> Result<(Vec<Kept>, Option<Place>), ReadAuditError> {
        let tenant = Some(&self.tenant);
        let mut place = match (self.after, self.since) {
            (Some(after), _) => after,
            (None, Some(since)) => broker.changes_since(tenant, since).await?,
            (None, None) => Place::default(),
        };
        let mut page = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < LOOKING {
            let some = broker.changes_after(tenant, place, STEP).await?;
            if some.is_empty() {
                return Ok((page, None));
            }
            for kept in some {
                if self.until.is_some_and(|until| until <= kept.stored_at) {
                    return Ok((page, None));
                }
                if page.len() == self.most {
                    return Ok((page, Some(place)));
                }
                place = kept.place;
                page.push(kept);
            }
        }
        Ok((page, Some(place)))
    }
}

fn shown(kept: Kept) -> Shown {
    let name = |it: &str| glimpse(it, MAX_NAME);
    let bare = Shown {
        place: kept.place.to_string(),
        stored_at: kept.stored_at,
        user: name(&kept.user),
        node: name(&kept.node),
        at: None,
        who: None,
        operation: None,
        of: BTreeMap::new(),
        status: None,
        revision: None,
        request_id: None,
    };
    let Some(change) = kept.change else {
        return bare;
    };
    let Change {
        at,
        who,
        what,
        of,
        status,
        revision,
        request,
    } = change;
    let of = of.iter().map(|(kind, it)| (name(kind), name(it)));
    Shown {
        at: Some(at),
        who: Some(asker(&who)),
        operation: Some(name(&what)),
        of: of.collect(),
        status,
        revision: revision.as_deref().map(name),
        request_id: request.as_deref().map(name),
        ..bare
    }
}

fn asker(who: &Who) -> Asker {
    let bare = |kind| Asker {
        kind,
        id: None,
        host: None,
    };
    let name = |it: &str| Some(glimpse(it, MAX_NAME));
    match who {
        Who::Key { id } => Asker {
            id: name(id),
            ..bare("key")
        },
        Who::Device => bare("device"),
        Who::Anyone => bare("anyone"),
        Who::Command { host } => Asker {
            host: name(host),
            ..bare("command")
        },
    }
}
