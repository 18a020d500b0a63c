//! Who changed what, under the user that did.

use std::collections::BTreeMap;

use fanfare_nats::Broker;
use fanfare_nats::audit::{Change, Kept, Place, Who};
use fanfare_nats::key::Tenant;
use fanfare_nats::permissions::Role;
use jiff::ToSpan;

use super::super::support::now;

pub(super) async fn keep(broker: &Broker, role: Role) {
    let change = Change {
        at: now(),
        who: Who::Anyone,
        what: "x".to_owned(),
        of: BTreeMap::new(),
        status: Some(200),
        revision: None,
        request: None,
    };
    let (tenant, records) = (Tenant::main(), [change]);
    let kept = broker.keep_changes(role, &tenant, &records, role.name());
    kept.await.unwrap();
}

/// Reads them back: all begin with those of these users.
pub(super) async fn read(broker: &Broker, users: &[&str]) {
    let main = Tenant::main();
    let since = broker.changes_since(None, now() - 1.hours()).await.unwrap();
    let kept = broker.changes_after(Some(&main), since, users.len()).await;
    let kept: Vec<Kept> = kept.unwrap();
    let found: Vec<&str> = kept.iter().map(|it| it.user.as_str()).collect();
    assert_eq!(found, users);
    let behind = kept[0].place;
    let rest = broker.changes_after(None, behind, 9).await.unwrap();
    assert!(rest.iter().all(|it| it.place > behind));
    let other = Tenant::parse("other").unwrap();
    let none = broker
        .changes_after(Some(&other), Place::default(), 9)
        .await;
    assert_eq!(none.unwrap(), []);
}
