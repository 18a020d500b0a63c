//! What the roles really said, from the server's own log: the lists allow that and no more.

use fanfare_nats::permissions::{Permissions, Role, covers};
use fanfare_nats_server::Server;

/// What is allowed although no call of ours uses it, and why.
const SELDOM: &[(&[Role], &str, &str)] = &[
    (
        &[Role::Notifier],
        "$JS.ACK.*.*.",
        "the second form of acknowledgements is behind a flag of the server",
    ),
    (
        &[Role::Notifier, Role::Api],
        "$JS.FC.",
        "flow control answers only a watch that is behind",
    ),
    (
        &[Role::Notifier, Role::Api],
        "$JS.API.CONSUMER.CREATE.KV_fanfare_devices.*.",
        "the watch makes a consumer anew only where it missed something",
    ),
    (
        &[Role::Notifier, Role::Api],
        "$JS.API.CONSUMER.DELETE.KV_",
        "the watch removes a consumer only where it missed something",
    ),
    (
        &[Role::Ops, Role::Auditor],
        "$JS.API.INFO",
        "the nats command asks first",
    ),
    (
        &[Role::Ops, Role::Auditor],
        "$JS.API.STREAM.NAMES",
        "the nats command",
    ),
    (
        &[Role::Ops, Role::Auditor],
        "$JS.API.STREAM.LIST",
        "the nats command",
    ),
    (
        &[Role::Ops, Role::Auditor],
        "$JS.API.CONSUMER.NAMES",
        "the nats command",
    ),
    (
        &[Role::Ops],
        "$JS.API.CONSUMER.PAUSE.FANFARE_EVENTS",
        "the nats command pauses planning",
    ),
    (
        &[Role::Owner],
        "$JS.SNAPSHOT.",
        "a copy of one part needs no word, and a restore no streams",
    ),
    (
        &[Role::Ops],
        "$SRV.",
        "the nats command asks micro services",
    ),
    (
        &[Role::Ops],
        "$JS.API.CONSUMER.CREATE.FANFARE_RECEIPTS.",
        "the nats command views receipts",
    ),
    (
        &[Role::Ops],
        "$JS.API.CONSUMER.CREATE.FANFARE_DEAD.",
        "the nats command views dead letters",
    ),
    (
        &[Role::Ops],
        "fanfare.ctl.",
        "the nats command asks a process",
    ),
];

/// A subject that a role published to, or subscribed to.
pub(super) struct Said {
    role: String,
    is_heard: bool,
    subject: String,
}

pub(super) fn said(server: &Server) -> Vec<Said> {
    let log = std::fs::read_to_string(server.store_dir().join("nats-server.log")).unwrap();
    let mut names = std::collections::BTreeMap::new();
    let mut said = Vec::new();
    for line in log.lines() {
        let Some((head, tail)) = line.split_once(" <<- [") else {
            continue;
        };
        // Lines without one are of the server's own clients.
        let client = head.split("cid:").nth(1);
        let Some(client) = client.and_then(|it| it.split(' ').next()) else {
            continue;
        };
        let mut words = tail.trim_end_matches(']').split(' ');
        let verb = words.next().unwrap();
        if verb == "CONNECT" {
            // A line that speaks by hand has no name, and is none of ours.
            let name = tail.split("\"name\":\"").nth(1).unwrap_or_default();
            names.insert(client, name.split('"').next().unwrap().to_owned());
        }
        if let ("PUB" | "HPUB" | "SUB", Some(subject)) = (verb, words.next()) {
            said.push(Said {
                role: names[client].clone(),
                is_heard: verb == "SUB",
                subject: subject.to_owned(),
            });
        }
    }
    assert!(said.len() > 100, "the server traces what it hears");
    said
}

/// The subjects of a role's lists that nothing it said is covered by.
pub(super) fn idle(role: Role, lists: &Permissions, said: &[Said]) -> Vec<String> {
    let is_used = |subject: &str, is_heard: bool| {
        said.iter().any(|it| {
            it.role == role.name() && it.is_heard == is_heard && covers(subject, &it.subject)
        })
    };
    let is_seldom = |subject: &str| {
        let named = |(roles, start, _): &(&[Role], &str, &str)| {
            roles.contains(&role) && subject.starts_with(start)
        };
        SELDOM.iter().any(named)
    };
    let published = lists.publish.iter().map(|it| (&it.subject, false));
    // What ops may listen to is for the live view of people, not for a call of ours.
    let heard = lists.subscribe.iter().map(|it| (&it.subject, true));
    let heard = heard.filter(|_| role != Role::Ops);
    published
        .chain(heard)
        .filter(|(subject, is_heard)| !is_used(subject, *is_heard) && !is_seldom(subject))
        .map(|(subject, _)| subject.clone())
        .collect()
}
