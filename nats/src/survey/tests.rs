//! One case for each thing that can be wrong, against a system in which nothing is.

use jiff::SignedDuration;

use super::*;
use crate::permissions::{Allowed, Role};
use crate::stream::{Difference, Remedy, Weight};

fn server(n: usize, version: &str) -> Server {
    Server {
        address: format!("10.0.0.{n}:4222"),
        told: Ok((format!("nats-{n}"), version.to_owned())),
    }
}

fn member(role: &str, n: usize) -> Member {
    Member {
        role: role.to_owned(),
        node: format!("n{n}"),
        host: format!("host-{n}"),
        version: "1.0.0".to_owned(),
        weight: 1,
        started: Timestamp::UNIX_EPOCH,
        waits_for: None,
    }
}

struct Seen {
    survey: Survey,
    servers: Vec<Server>,
    differences: Vec<Difference>,
    expected: Expected,
}

/// Three servers, everything copied and current, two of each role.
fn well() -> Seen {
    let peer = |n: usize| Peer {
        name: format!("nats-{n}"),
        is_current: true,
        ..Peer::default()
    };
    let stream = Stream {
        name: "FANFARE_EVENTS".to_owned(),
        bytes: 69,
        limit_bytes: Some(100),
        replicas: 3,
        leader: Some("nats-1".to_owned()),
        is_clustered: true,
        peers: vec![peer(2), peer(3)],
        ..Stream::default()
    };
    let lane = Consumer {
        stream: "FANFARE_TASKS".to_owned(),
        name: "send-ios-urgent".to_owned(),
        n_pending: 5,
        max_ack_pending: 10,
        ..Consumer::default()
    };
    let clock = Clock {
        server: "nats-1".to_owned(),
        ahead: SignedDuration::from_millis(900),
        give_or_take: Duration::from_millis(1),
    };
    let roles = ["fetcher", "notifier", "api"];
    let members = roles
        .into_iter()
        .flat_map(|it| [member(it, 1), member(it, 2)]);
    Seen {
        survey: Survey {
            account: Some(Account {
                api_level: 5,
                storage: 69,
                storage_limit: Some(100),
            }),
            streams: vec![stream],
            consumers: vec![lane],
            clocks: vec![clock],
            members: Some(members.collect()),
            ..Survey::default()
        },
        servers: (1..=3).map(|n| server(n, "2.15.1")).collect(),
        differences: Vec::new(),
        expected: Expected {
            replicas: 3,
            tasks: 4,
            planners: 4,
            n_sources: 1,
            n_exclusive: 0,
        },
    }
}

fn judged(seen: &Seen) -> Vec<Finding> {
    let found = findings(
        &seen.survey,
        &seen.servers,
        &seen.differences,
        &seen.expected,
    );
    found
        .into_iter()
        .filter(|it| it.severity > Severity::Fine)
        .collect()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(judged(&well()), []);
}

/// One thing is made wrong, and exactly that is found, with advice.
#[track_caller]
fn check(change: impl FnOnce(&mut Seen), severity: Severity, about: &str, part: &str) {
    let mut seen = well();
    change(&mut seen);
    let found = judged(&seen);
    assert_eq!(found.len(), 1, "{found:#?}");
    let finding = &found[0];
    assert_eq!(
        (finding.severity, finding.about),
        (severity, about),
        "{finding:?}"
    );
    assert!(finding.text.contains(part), "{finding:?}");
    assert!(!finding.advice.is_empty(), "{finding:?}");
}

#[test]
fn servers_that_do_not_fit_are_named() {
    let versions = |it: &mut Seen, version: &str| {
        it.servers = (1..=3).map(|n| server(n, version)).collect();
    };
    let mut seen = well();
    versions(&mut seen, "2.12.0");
    assert!(
        judged(&seen)
            .iter()
            .all(|it| it.severity == Severity::Trouble)
    );
    versions(&mut seen, "2.12.7");
    assert!(
        judged(&seen)
            .iter()
            .all(|it| it.severity == Severity::Warning)
    );
    versions(&mut seen, "2.14.6");
    assert!(judged(&seen).iter().all(|it| it.severity == Severity::Note));
    check(
        |it| it.servers[2] = server(3, "2.15.0"),
        Severity::Note,
        "servers",
        "different",
    );
    let gone = |it: &mut Seen| it.servers[1].told = Err("it does not answer".to_owned());
    check(
        gone,
        Severity::Warning,
        "servers",
        "10.0.0.2:4222 cannot be reached",
    );
    let fewer = |it: &mut Seen| {
        it.servers.truncate(1);
        it.survey.streams.clear();
    };
    check(
        fewer,
        Severity::Trouble,
        "places",
        "3 replicas are configured and 1 servers",
    );
    // A witness tells clients no address, but holds copies.
    let mut with_witness = well();
    with_witness.servers.truncate(2);
    assert_eq!(judged(&with_witness), []);
    let together = |it: &mut Seen| {
        for server in &mut it.servers {
            server.address = "10.0.0.1:4222".to_owned();
        }
    };
    check(together, Severity::Warning, "places", "one machine");
    let two = |it: &mut Seen| it.servers[1].address = "10.0.0.1:5222".to_owned();
    check(two, Severity::Warning, "places", "two machines");
}

#[test]
fn clocks_that_are_off_are_named() {
    let set =
        |ms: i64| move |it: &mut Seen| it.survey.clocks[0].ahead = SignedDuration::from_millis(ms);
    check(set(-1_500), Severity::Warning, "clocks", "-1500 ms");
    check(set(11_000), Severity::Trouble, "clocks", "11000 ms");
    let apart = |it: &mut Seen| {
        let other = Clock {
            server: "nats-2".to_owned(),
            ahead: SignedDuration::from_millis(-900),
            give_or_take: Duration::ZERO,
        };
        it.survey.clocks.push(other);
    };
    check(apart, Severity::Warning, "clocks", "1800 ms apart");
    // What the answer took is not held against the clock.
    let mut seen = well();
    set(2_000)(&mut seen);
    seen.survey.clocks[0].give_or_take = Duration::from_millis(1_100);
    assert_eq!(judged(&seen), []);
}

#[test]
fn what_fills_up_and_what_is_not_copied_is_named() {
    let events = |it: &mut Seen, bytes| it.survey.streams[0].bytes = bytes;
    check(|it| events(it, 70), Severity::Warning, "sizes", "70 %");
    check(|it| events(it, 95), Severity::Trouble, "sizes", "95 %");
    let account = |it: &mut Seen| it.survey.account.as_mut().unwrap().storage = 80;
    check(account, Severity::Warning, "sizes", "the account");
    let old = |it: &mut Seen| it.survey.account.as_mut().unwrap().api_level = 1;
    check(old, Severity::Trouble, "jetstream", "level 1");
    let leaderless = |it: &mut Seen| it.survey.streams[0].leader = None;
    check(leaderless, Severity::Trouble, "copies", "no leader");
    let offline = |it: &mut Seen| it.survey.streams[0].peers[0].is_offline = true;
    check(offline, Severity::Warning, "copies", "nats-2 is not there");
    let behind = |it: &mut Seen| {
        it.survey.streams[0].peers[1].is_current = false;
        it.survey.streams[0].peers[1].lag = 7;
    };
    check(behind, Severity::Warning, "copies", "lacks 7");
    let single = |it: &mut Seen| it.survey.streams[0].replicas = 1;
    check(single, Severity::Note, "copies", "one server only");
}

#[test]
fn a_difference_of_the_topology_is_as_bad_as_it_is() {
    let difference = |weight| Difference {
        name: "A".to_owned(),
        property: "max_age",
        found: "1h".to_owned(),
        needed: "72h".to_owned(),
        why: "it would forget",
        weight,
        remedy: Remedy::Create,
    };
    let breaks = |it: &mut Seen| it.differences.push(difference(Weight::Breaks));
    check(breaks, Severity::Trouble, "topology", "A: max_age is 1h");
    let doubtful = |it: &mut Seen| it.differences.push(difference(Weight::Doubtful));
    check(doubtful, Severity::Warning, "topology", "it would forget");
}

#[test]
fn processes_that_cannot_get_at_the_work_are_named() {
    let more = |it: &mut Seen| {
        it.survey
            .members
            .as_mut()
            .unwrap()
            .push(member("notifier", 3));
    };
    check(
        more,
        Severity::Warning,
        "lanes",
        "hands out 10 at once; 3 notifiers can work on 15",
    );
    let exhausted = |it: &mut Seen| it.survey.consumers[0].n_in_hand = 10;
    check(exhausted, Severity::Warning, "lanes", "all that it may");
    let paused = |it: &mut Seen| it.survey.consumers[0].is_paused = true;
    check(paused, Severity::Note, "lanes", "paused");
    let without = |role: &'static str| {
        move |it: &mut Seen| {
            let members = it.survey.members.as_mut().unwrap();
            members.retain(|it| it.role != role);
        }
    };
    check(without("api"), Severity::Note, "members", "no api");
    check(
        without("fetcher"),
        Severity::Trouble,
        "members",
        "no source is read",
    );
    let mut seen = well();
    without("notifier")(&mut seen);
    let found = judged(&seen);
    assert_eq!(
        found.iter().map(|it| it.about).collect::<Vec<_>>(),
        ["lanes", "members"]
    );
    let other = |it: &mut Seen| it.survey.members.as_mut().unwrap()[0].version = "1.1.0".to_owned();
    check(other, Severity::Note, "members", "1.0.0, 1.1.0");
    let waits = |it: &mut Seen| {
        it.survey.members.as_mut().unwrap()[0].waits_for = Some("nats: lost".to_owned());
    };
    check(
        waits,
        Severity::Warning,
        "members",
        "n1 on host-1 is not ready: nats: lost",
    );
    let gone = |it: &mut Seen| {
        let members = it.survey.members.as_mut().unwrap();
        members.retain(|it| it.role != "notifier" || it.node == "n1");
    };
    check(gone, Severity::Note, "members", "one notifier");
    let unseen = |it: &mut Seen| it.survey.unseen.push("INFO: not this user's".to_owned());
    check(unseen, Severity::Note, "not seen", "INFO");
}

#[test]
fn a_denied_subject_is_told_as_the_line_to_add() {
    let allowed = |subject: &str| Allowed {
        subject: subject.to_owned(),
        why: "for this",
    };
    let exercise = Exercise {
        n_tried: 9,
        denied_publish: vec![allowed("$JS.ACK.A.>")],
        denied_subscribe: vec![allowed("_INBOX_api.>")],
        beyond: vec!["fanfare.plan.>".to_owned()],
    };
    let found = of_exercise(Role::Api, &exercise);
    let severities: Vec<_> = found.iter().map(|it| it.severity).collect();
    assert_eq!(
        severities,
        [Severity::Trouble, Severity::Trouble, Severity::Warning]
    );
    assert!(
        found[0]
            .advice
            .ends_with("publish.allow of this user: \"$JS.ACK.A.>\"")
    );
    assert!(found[1].advice.contains("subscribe.allow"));
    assert!(found[2].text.contains("fanfare.plan.>"));
    let fine = of_exercise(Role::Api, &Exercise::default());
    assert_eq!(fine[0].severity, Severity::Fine);
}
