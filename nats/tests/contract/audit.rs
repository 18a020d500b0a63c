//! Records of changes: many in a message, read from any place, by time and by tenant.

use std::collections::BTreeMap;

use fanfare_nats::Broker;
use fanfare_nats::audit::{Change, Kept, Place, Who};
use fanfare_nats::key::Tenant;
use fanfare_nats::permissions::Role;
use fanfare_nats::testing::TestServer;
use jiff::ToSpan;

use super::support::{eventually, now, raw};

on_one_and_three!(
    records_are_read_from_any_place_on_and_none_twice,
    records_are_found_by_the_time_at_which_they_were_stored,
    a_message_is_kept_once_however_often_it_is_stored,
);

fn change(name: &str) -> Change {
    Change {
        at: now(),
        who: Who::Anyone,
        what: name.to_owned(),
        of: BTreeMap::new(),
        status: Some(200),
        revision: None,
        request: None,
    }
}

async fn keep(broker: &Broker, tenant: &Tenant, id: &str, n_records: usize) {
    let records: Vec<_> = (0..n_records)
        .map(|n| change(&format!("{id}.{n}")))
        .collect();
    let kept = broker.keep_changes(Role::Api, tenant, &records, id);
    kept.await.unwrap();
}

fn names(kept: &[Kept]) -> Vec<&str> {
    let changes = kept.iter().map(|it| it.change.as_ref().unwrap());
    changes.map(|it| it.what.as_str()).collect()
}

/// Messages of three, two and one record, each with one of another tenant behind it.
async fn filled(server: &TestServer) -> (Broker, Tenant) {
    let broker = server.broker("n1").await;
    let (main, acme) = (Tenant::main(), Tenant::parse("acme").unwrap());
    for (id, n_records) in [("a", 3), ("b", 2), ("c", 1)] {
        keep(&broker, &main, id, n_records).await;
        keep(&broker, &acme, &format!("acme-{id}"), 1).await;
    }
    (broker, main)
}

const MINE: [&str; 6] = ["a.0", "a.1", "a.2", "b.0", "b.1", "c.0"];

async fn records_are_read_from_any_place_on_and_none_twice(server: TestServer) {
    let (broker, main) = filled(&server).await;
    let all = broker.changes_after(Some(&main), Place::default(), 100);
    let all = all.await.unwrap();
    assert_eq!(names(&all), MINE);
    let places: Vec<_> = all.iter().map(|it| it.place.to_string()).collect();
    assert_eq!(places, ["1.0", "1.1", "1.2", "3.0", "3.1", "5.0"]);
    assert!(all.iter().all(|it| it.tenant == "main" && it.user == "api"));
    let both = broker.changes_after(None, Place::default(), 100).await;
    assert_eq!(both.unwrap().len(), MINE.len() + 3);
    // Behind any of them: the others. One message is what is left of it, and one more.
    for (n, kept) in all.iter().enumerate() {
        let rest = broker.changes_after(Some(&main), kept.place, 100).await;
        assert_eq!(names(&rest.unwrap()), MINE[n + 1..], "{n}");
        let some = broker.changes_after(Some(&main), kept.place, 1).await;
        let end = [5, 5, 5, 6, 6, 6][n];
        assert_eq!(names(&some.unwrap()), MINE[n + 1..end], "{n}");
    }
    let first = broker.changes_after(Some(&main), Place::default(), 1).await;
    assert_eq!(names(&first.unwrap()), MINE[..3]);
    let none = broker.changes_after(Some(&main), Place::default(), 0).await;
    assert!(none.unwrap().is_empty());
    // A page may end at a place that is gone, or was another tenant's.
    let between = Place { seq: 2, n: 0 };
    let behind = broker.changes_after(Some(&main), between, 1).await;
    assert_eq!(names(&behind.unwrap()), MINE[3..5]);
}

async fn records_are_found_by_the_time_at_which_they_were_stored(server: TestServer) {
    let empty = server.broker("n0").await;
    let main = Tenant::main();
    let none = empty.changes_since(Some(&main), now()).await.unwrap();
    let behind = empty.changes_after(Some(&main), none, 100).await.unwrap();
    assert_eq!(behind, []);

    let (broker, main) = filled(&server).await;
    let all = broker.changes_after(Some(&main), Place::default(), 100);
    let all = all.await.unwrap();
    let since = async |at| {
        let place = broker.changes_since(Some(&main), at).await.unwrap();
        let kept = broker.changes_after(Some(&main), place, 100).await;
        kept.unwrap()
    };
    for kept in &all {
        let at = kept.stored_at;
        let wanted: Vec<_> = all
            .iter()
            .filter(|it| it.stored_at >= at)
            .cloned()
            .collect();
        assert_eq!(since(at).await, wanted, "its own time is in it");
        let wanted: Vec<_> = all.iter().filter(|it| it.stored_at > at).cloned().collect();
        assert_eq!(since(at + 1.nanosecond()).await, wanted);
    }
    assert_eq!(names(&since(all[0].stored_at - 1.hour()).await), MINE);
    assert_eq!(since(now() + 1.hour()).await, []);
    let end = broker.changes_since(None, now() + 1.hour()).await.unwrap();
    let behind = broker.changes_after(None, end, 100).await.unwrap();
    assert_eq!(behind, [], "nor of any tenant");
    // The oldest are forgotten, and what is left is found.
    let raw = raw(&server).await;
    let stream = raw.get_stream("FANFARE_AUDIT").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.max_messages = 4;
    raw.update_stream(config).await.unwrap();
    let left = eventually(async || {
        let left = since(all[0].stored_at).await;
        if left.len() < MINE.len() {
            Ok(left)
        } else {
            Err(left)
        }
    });
    assert_eq!(names(&left.await), MINE[3..]);
    let rest = broker.changes_after(Some(&main), Place::default(), 1).await;
    assert_eq!(names(&rest.unwrap()), MINE[3..5]);
}

async fn a_message_is_kept_once_however_often_it_is_stored(server: TestServer) {
    let broker = server.broker("n1").await;
    let main = Tenant::main();
    for _ in 0..3 {
        keep(&broker, &main, "same", 2).await;
    }
    keep(&broker, &main, "other", 1).await;
    let all = broker.changes_after(None, Place::default(), 100).await;
    assert_eq!(names(&all.unwrap()), ["same.0", "same.1", "other.0"]);
}
