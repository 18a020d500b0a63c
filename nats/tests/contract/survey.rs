//! What `doctor` looks at, on a real broker: it sees what is there, and changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_nats::bucket::Expect;
use fanfare_nats::members::Member;
use fanfare_nats::permissions::{Permissions, Role, Scope};
use fanfare_nats::stream::Topology;
use fanfare_nats::subject::Names;
use fanfare_nats::survey::{self, Expected, Finding, Load, Severity, exercise, forecast};
use fanfare_nats::testing::{TestServer, binary};
use fanfare_nats::{Broker, ConnectOptions, Metrics, Readiness};
use fanfare_nats_server::{Options, Server};

use super::support::{device, event, eventually, id, lane, now, plan, raw, state};

on_one_and_three!(a_system_in_which_nothing_is_wrong_is_seen_and_found_well);

fn expected(replicas: usize) -> Expected {
    Expected {
        replicas,
        tasks: 4,
        planners: 4,
        n_sources: 0,
        n_exclusive: 0,
    }
}

async fn live(broker: &Broker, role: &str) {
    let member = Member {
        host: format!("host-of-{role}"),
        ..broker.member(role)
    };
    broker.put_member(&member).await.unwrap();
}

async fn a_system_in_which_nothing_is_wrong_is_seen_and_found_well(server: TestServer) {
    let topology = Topology::new(server.replicas(), vec![lane("ios")]);
    let broker = server.broker_with("n1", &topology).await;
    live(&broker, "notifier").await;
    live(&broker, "api").await;
    let options = server.options("n1");
    let servers = survey::servers(&broker, &options).await;
    assert_eq!(servers.len(), server.replicas(), "{servers:?}");
    let mut seen = broker.survey(&topology, None, now).await;
    assert_eq!((seen.streams.len(), seen.consumers.len()), (8, 3));
    assert_eq!(seen.unseen, Vec::<String>::new());
    assert_eq!(seen.members.as_ref().map(Vec::len), Some(2));
    for clock in &seen.clocks {
        let off = clock.ahead.abs();
        assert!(off.as_millis() < 1000, "the same machine: {clock:?}");
    }
    if server.replicas() == 3 {
        eventually(async || {
            seen = broker.survey(&topology, None, now).await;
            let mut peers = seen.streams.iter().flat_map(|it| &it.peers);
            peers.all(|it| it.is_current).then_some(()).ok_or("lagging")
        })
        .await;
        assert!(seen.streams.iter().all(|it| it.peers.len() == 2));
        assert!(
            seen.clocks
                .iter()
                .all(|it| it.server.starts_with("fanfare-"))
        );
    }
    let differences = broker.verify(&topology).await;
    let found = survey::findings(&seen, &servers, &differences, &expected(server.replicas()));
    let bad: Vec<&Finding> = found
        .iter()
        // Which server this runs on is not what is tried here.
        .filter(|it| it.severity > Severity::Note && it.about != "servers")
        .collect();
    let texts: Vec<_> = bad.iter().map(|it| it.text.as_str()).collect();
    let all_on_one: &[&str] = &["all servers are on one machine"];
    let nothing: &[&str] = &[];
    assert_eq!(
        texts,
        if server.replicas() == 3 {
            all_on_one
        } else {
            nothing
        }
    );
}

fn scope() -> Scope {
    Scope {
        lanes: vec![lane("ios")],
        ..Scope::any(Names::default())
    }
}

/// A server on which each role has its lists, but for what `without` says.
async fn server(without: &[(Role, &str)]) -> Server {
    let mut users = String::new();
    for role in Role::ALL {
        let mut lists = Permissions::of(role, &scope());
        let is_left_out = |subject: &str| without.contains(&(role, subject));
        lists.publish.retain(|it| !is_left_out(&it.subject));
        lists.subscribe.retain(|it| !is_left_out(&it.subject));
        users.push_str(&lists.conf("secret"));
    }
    let extra = format!("authorization {{ users: [ {users} ] }}\n");
    let options = Options {
        extra,
        ..Options::ephemeral()
    };
    Server::start(&binary().await, options).await.unwrap()
}

fn options(server: &Server, role: Role) -> ConnectOptions {
    ConnectOptions {
        servers: vec![server.url()],
        node: "n1".to_owned(),
        user: Some((role.name().to_owned(), "secret".to_owned())),
        inbox_prefix: role.inbox_prefix(),
        replicas: 1,
        ..ConnectOptions::default()
    }
}

async fn connect(server: &Server, role: Role) -> (Broker, Metrics) {
    let metrics = Metrics::default();
    let connected = Broker::connect(options(server, role), metrics.clone(), Readiness::new());
    (connected.await.unwrap(), metrics)
}

/// Everything that is stored, as numbers that any write moves.
async fn stored(owner: &Broker) -> BTreeMap<String, (u64, u64)> {
    let topology = Topology::new(1, vec![lane("ios")]);
    let seen = owner.survey(&topology, None, now).await;
    let streams = seen.streams.into_iter();
    let mut stored: BTreeMap<_, _> = streams
        .map(|it| (it.name, (it.n_messages, it.bytes)))
        .collect();
    for it in seen.consumers {
        stored.insert(it.name, (it.n_pending, it.n_in_hand));
    }
    stored
}

#[tokio::test]
async fn exercised_lists_are_complete_and_nothing_is_done_by_it() {
    let server = server(&[]).await;
    let topology = Topology::new(1, vec![lane("ios")]);
    let (owner, _) = connect(&server, Role::Owner).await;
    owner.ensure(&topology).await.unwrap();
    let (api, _) = connect(&server, Role::Api).await;
    let document = device("token");
    api.put_device(&id("d"), &document, Expect::Any)
        .await
        .unwrap();
    let (fetcher, _) = connect(&server, Role::Fetcher).await;
    fetcher.publish(&event("us1"), false).await.unwrap();
    let (notifier, _) = connect(&server, Role::Notifier).await;
    notifier.commit(&plan("us1", &[("ios", 1)])).await.unwrap();
    let before = stored(&owner).await;
    assert_eq!(before["send-ios-urgent"], (1, 0));
    let mut n_tried = 0;
    for role in Role::ALL {
        let found = exercise(&options(&server, role), role, &scope())
            .await
            .unwrap();
        assert!(found.denied_publish.is_empty(), "{role:?}: {found:#?}");
        assert!(found.denied_subscribe.is_empty(), "{role:?}: {found:#?}");
        assert!(found.beyond.is_empty(), "{role:?}: {:?}", found.beyond);
        n_tried += found.n_tried;
    }
    println!("{n_tried} subjects tried, in six roles");
    assert!(n_tried > 246, "{n_tried}");
    assert_eq!(stored(&owner).await, before);
}

#[tokio::test]
async fn what_a_list_lacks_is_named_and_what_a_user_may_beyond_it() {
    let lacks = [
        (Role::Notifier, "fanfare.receipt.>"),
        (
            Role::Notifier,
            "$JS.API.CONSUMER.MSG.NEXT.FANFARE_EVENTS.notifier",
        ),
        (Role::Ops, "fanfare.dead.>"),
    ];
    let server = server(&lacks).await;
    let of = async |user: Role, role: Role| {
        exercise(&options(&server, user), role, &scope())
            .await
            .unwrap()
    };
    let found = of(Role::Notifier, Role::Notifier).await;
    let denied: Vec<_> = found
        .denied_publish
        .iter()
        .map(|it| it.subject.as_str())
        .collect();
    assert_eq!(denied, [lacks[1].1, lacks[0].1]);
    let found = of(Role::Ops, Role::Ops).await;
    let denied: Vec<_> = found
        .denied_subscribe
        .iter()
        .map(|it| it.subject.as_str())
        .collect();
    assert_eq!(denied, ["fanfare.dead.>"]);
    // An owner that is used as a fetcher: too much, and too little.
    let found = of(Role::Owner, Role::Fetcher).await;
    assert!(
        found.beyond.iter().any(|it| it == "$JS.API.>"),
        "{:?}",
        found.beyond
    );
    assert!(
        found
            .denied_publish
            .iter()
            .any(|it| it.subject == "fanfare.event.>")
    );
}

#[tokio::test]
async fn a_role_that_may_see_little_asks_for_nothing_else() {
    let server = server(&[]).await;
    let topology = Topology::new(1, vec![lane("ios")]);
    let (owner, _) = connect(&server, Role::Owner).await;
    owner.ensure(&topology).await.unwrap();
    for role in Role::ALL {
        let (broker, metrics) = connect(&server, role).await;
        let seen = broker.survey(&topology, Some(role), now).await;
        assert_eq!(metrics.violations.get(), 0, "{role:?}");
        let n_streams = match role {
            Role::Fetcher => 2,
            Role::Api | Role::Notifier => 6,
            Role::Ops | Role::Auditor | Role::Owner => 8,
        };
        assert_eq!(seen.streams.len(), n_streams, "{role:?}: {seen:?}");
        assert_eq!(seen.unseen.is_empty(), n_streams == 8, "{role:?}: {seen:?}");
    }
}

const DEVICES: u32 = 20_000;
const EVENTS: u32 = 1_000;

async fn store(broker: &Broker) {
    futures::future::join_all((0..64).map(async |part| {
        for n in (part..DEVICES).step_by(64) {
            let mut document = device(&format!("{n:064x}"));
            let one = document.subscriptions[0].clone();
            document.subscriptions = vec![one.clone(), one.clone(), one];
            let device = id(&format!("device-{n}"));
            let put = broker.put_device(&device, &document, Expect::Any);
            put.await.unwrap();
        }
    }))
    .await;
    futures::future::join_all((0..16).map(async |part| {
        for n in (part..EVENTS).step_by(16) {
            let item = format!("item-{n}");
            let mut event = event(&item);
            event.content.body = Some("b".repeat(120));
            event.content.url = Some(format!("https://example.org/{item}"));
            broker.publish(&event, false).await.unwrap();
            broker.commit(&plan(&item, &[("ios", 400)])).await.unwrap();
        }
    }))
    .await;
}

/// A small load, stored for real: the estimate is of the same size.
#[tokio::test]
async fn an_estimate_is_near_what_a_small_load_takes() {
    let mut server = TestServer::start().await;
    let topology = Topology::new(1, vec![lane("ios")]);
    let broker = server.broker_with("n1", &topology).await;
    let raw = raw(&server).await;
    let memory = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|it| it.starts_with("VmRSS"))?;
        line.split_whitespace()
            .nth(1)?
            .parse::<f64>()
            .ok()
            .map(|it| it * 1024.0)
    };
    let pid = server.server().pid();
    let before = memory(pid);
    store(&broker).await;
    let text = format!(
        "devices={DEVICES},events/day={},audience=400",
        f64::from(EVENTS) / 7.0
    );
    let load = Load::parse(&text, 1).unwrap();
    let forecast = forecast(&load, &topology, broker.names());
    for (name, kept) in [
        ("FANFARE_EVENTS", 1.0),
        ("FANFARE_TASKS", 7.0 / 2.0), // Two of the seven days that were stored here.
        ("KV_fanfare_devices", 1.0),
    ] {
        let part = forecast.parts.iter().find(|it| it.name == name).unwrap();
        let told = state(&raw, name).await;
        let real = u32::try_from(told.bytes).unwrap();
        let ratio = part.bytes * kept / f64::from(real);
        println!(
            "{name}: {} messages, {real} bytes, estimated {ratio:.2} times",
            told.messages
        );
        assert!((0.7..1.6).contains(&ratio), "{name}: {ratio}");
    }
    let folder = server.server().store_dir().to_owned();
    let disk = used(&folder);
    // No receipts were written, and seven days of plans and tasks instead of two.
    let stored = |it: &survey::Part| match it.name.as_str() {
        "FANFARE_RECEIPTS" => 0.0,
        "FANFARE_TASKS" => it.bytes * 7.0 / 2.0,
        _ => it.bytes,
    };
    let estimated: f64 = forecast.parts.iter().map(stored).sum();
    println!("disk {disk:.0}, estimated stored {estimated:.0}");
    if let (Some(before), Some(after)) = (before, memory(pid)) {
        let each = (after - before) / f64::from(DEVICES + 3 * EVENTS);
        println!("memory {before:.0} to {after:.0}: {each:.0} bytes a subject");
        assert!(after < forecast.memory, "{after} {}", forecast.memory);
    }
    assert!(
        (0.7..1.4).contains(&(estimated / disk)),
        "{disk} {forecast:?}"
    );
    tokio::time::timeout(Duration::from_secs(5), broker.flush())
        .await
        .unwrap();
}

fn used(folder: &std::path::Path) -> f64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let sizes = entries.map(|it| match it.metadata() {
        Ok(found) if found.is_dir() => used(&it.path()),
        Ok(found) => f64::from(u32::try_from(found.len()).unwrap()),
        Err(_) => 0.0,
    });
    sizes.sum()
}
