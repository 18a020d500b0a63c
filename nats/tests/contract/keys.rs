//! Keys in their bucket: created once, changed by one of two, read from where one stopped.

use fanfare_nats::key::{Key, NewSecret, Scope, Tenant};
use fanfare_nats::keys::{KeyChange, KeysError};
use fanfare_nats::testing::TestServer;

use super::support::{now, raw};

on_one_and_three!(
    a_key_is_stored_once_and_changed_by_one_of_two,
    changes_are_read_from_where_one_stopped_and_removals_are_among_them,
);

fn key() -> (Key, NewSecret) {
    Key::create(Tenant::main(), "backend", vec![Scope::Read], None, now()).unwrap()
}

async fn a_key_is_stored_once_and_changed_by_one_of_two(server: TestServer) {
    let broker = server.broker("n1").await;
    assert_eq!(broker.keys().await.unwrap(), []);
    let (mut one, secret) = key();
    let revision = broker.create_key(&one).await.unwrap();
    // The same bytes again are the same key; other bytes under its id are another.
    assert_eq!(broker.create_key(&one).await.unwrap(), revision);
    let mut other = one.clone();
    "another".clone_into(&mut other.name);
    let refused = broker.create_key(&other).await.unwrap_err();
    assert!(matches!(refused, KeysError::Conflict), "{refused:?}");

    one.revoked_at = Some(now());
    let changed = broker.replace_key(&one, revision).await.unwrap();
    let late = broker.replace_key(&other, revision).await.unwrap_err();
    assert!(matches!(late, KeysError::Conflict), "{late:?}");
    let stored = broker.keys().await.unwrap();
    assert_eq!((stored.len(), stored[0].revision), (1, changed));
    assert_eq!(stored[0].key, one);

    // What lies in the bucket proves nothing.
    let raw = raw(&server).await;
    let stream = raw.get_stream("KV_fanfare_keys").await.unwrap();
    let message = stream.get_raw_message(changed).await.unwrap();
    let text = String::from_utf8(message.payload.to_vec()).unwrap();
    let (_, letters) = secret.reveal().rsplit_once('_').unwrap();
    assert!(!text.contains(letters), "{text}");
    assert!(!message.subject.contains(letters));
}

async fn changes_are_read_from_where_one_stopped_and_removals_are_among_them(server: TestServer) {
    let broker = server.broker("n1").await;
    let ((one, _), (two, _)) = (key(), key());
    broker.create_key(&one).await.unwrap();
    let seen = broker.key_changes(1).await.unwrap();
    assert_eq!(seen.len(), 1);
    let from = seen[0].0 + 1;
    assert!(broker.key_changes(from).await.unwrap().is_empty());

    let name = (one.tenant.clone(), one.id.clone());
    broker.note_key_use(&name, now()).await.unwrap();
    broker.create_key(&two).await.unwrap();
    let raw = raw(&server).await;
    let bucket = raw.get_key_value("fanfare_keys").await.unwrap();
    bucket.put("k.main.!", "{}".into()).await.unwrap_err();
    bucket.put("k.main.x", "{}".into()).await.unwrap();
    let unreadable = format!("k.main.{}", fanfare_nats::key::KeyId::random());
    bucket.put(&unreadable, "{}".into()).await.unwrap();
    bucket.delete(format!("k.main.{}", one.id)).await.unwrap();

    let seen = broker.key_changes(from).await.unwrap();
    let [put, foreign, unreadable, removed] = seen.as_slice() else {
        panic!("a use is no change of a key: {seen:?}");
    };
    assert!(
        matches!(&put.1, KeyChange::Put(_, Ok(it)) if **it == two),
        "{put:?}"
    );
    assert!(matches!(foreign.1, KeyChange::Foreign), "{foreign:?}");
    assert!(
        matches!(unreadable.1, KeyChange::Put(_, Err(_))),
        "{unreadable:?}"
    );
    assert!(
        matches!(&removed.1, KeyChange::Removed(it) if *it == name),
        "{removed:?}"
    );
    let keys = broker.keys().await.unwrap();
    assert_eq!(keys.iter().map(|it| &it.key).collect::<Vec<_>>(), [&two]);
    assert_eq!(
        broker
            .key_uses()
            .await
            .unwrap()
            .into_keys()
            .collect::<Vec<_>>(),
        [name]
    );
}
