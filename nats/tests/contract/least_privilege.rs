//! One user for each role, on a real broker: everything that a role does works under its user, and
//! what it must not do is refused.
//!
//! That a request is refused is told by the server's own words, never by a silence; and every
//! request of the table is answered to those who may ask it, so that none is refused because it is
//! wrong.

mod isolated;
mod line;
mod overheard;
mod recorded;
mod table;
mod work;

use fanfare_nats::permissions::{Permissions, Role, Scope, covers, users};
use fanfare_nats::stream::Topology;
use fanfare_nats::subject::Names;
use fanfare_nats::testing::binary;
use fanfare_nats::{Broker, ConnectOptions, Metrics, Readiness};
use fanfare_nats_server::{Cluster, Options, Server};

use self::line::{Heard, Line};
use self::table::{Kind, table};
use super::support::{lane, usgs};

fn scope() -> Scope {
    Scope {
        lanes: vec![lane("ios")],
        sources: vec![usgs()],
        ..Scope::any(Names::default())
    }
}

fn password(role: Role) -> String {
    format!("secret-of-{}", role.name())
}

/// A server that knows the six users and nobody else.
async fn server() -> Server {
    let users = users(&scope(), quoted);
    // Everything that a client says stands in the server's log.
    start(format!("trace: true\nauthorization {{ users: {users} }}\n")).await
}

fn quoted(role: Role) -> String {
    format!("\"{}\"", password(role))
}

async fn start(extra: String) -> Server {
    let options = Options {
        extra,
        ..Options::ephemeral()
    };
    Server::start(&binary().await, options).await.unwrap()
}

/// Three servers that know the six users. Everybody sits on the first, whose log has what they say.
async fn three() -> Cluster {
    let users = users(&scope(), quoted);
    let options = Options {
        extra: format!("trace: true\nauthorization {{ users: {users} }}\n"),
        ..Options::ephemeral()
    };
    Cluster::start(&binary().await, 3, &options).await.unwrap()
}

/// A connection as the user of a role, and the counter of what it was denied.
async fn connect(server: &Server, role: Role) -> (Broker, Metrics) {
    connect_with(options(server, role)).await
}

fn options(server: &Server, role: Role) -> ConnectOptions {
    ConnectOptions {
        servers: vec![server.url()],
        name: role.name().to_owned(),
        node: "n1".to_owned(),
        user: Some((role.name().to_owned(), password(role))),
        inbox_prefix: role.inbox_prefix(),
        replicas: 1,
        pinned: true,
        ..ConnectOptions::default()
    }
}

async fn connect_with(options: ConnectOptions) -> (Broker, Metrics) {
    let metrics = Metrics::default();
    let connected = Broker::connect(options, metrics.clone(), Readiness::new());
    (connected.await.unwrap(), metrics)
}

fn topology() -> Topology {
    topology_on(1)
}

fn topology_on(replicas: usize) -> Topology {
    Topology::new(replicas, vec![lane("ios")])
}

async fn furnish(server: &Server, replicas: usize) {
    let (owner, _) = connect(server, Role::Owner).await;
    owner.ensure(&topology_on(replicas)).await.unwrap();
}

async fn furnished() -> Server {
    let server = server().await;
    furnish(&server, 1).await;
    server
}

#[tokio::test]
async fn everything_that_a_role_does_works_under_its_user() {
    Box::pin(everything_works(&server().await, 1)).await;
}

#[tokio::test]
async fn everything_that_a_role_does_works_under_its_user_on_three_servers() {
    let cluster = three().await;
    Box::pin(everything_works(&cluster.servers()[0], 3)).await;
}

async fn everything_works(server: &Server, replicas: usize) {
    let mut connected = Vec::new();
    for role in Role::ALL {
        connected.push((role, connect(server, role).await));
    }
    let of = |role: Role| {
        let found = connected.iter().find(|(it, _)| *it == role);
        found.map(|(_, (broker, _))| broker).unwrap()
    };
    work::all(&of, &topology_on(replicas)).await;
    let running = [Role::Fetcher, Role::Notifier, Role::Api];
    let seen = running.map(|role| work::seen(of(role), role));
    let mut operator = Line::connect(&server.url(), Role::Ops, &password(Role::Ops)).await;
    for role in running {
        let subject = format!("fanfare.ctl.{}.n1.status", role.name());
        operator.ask_until_answered(&subject).await;
    }
    drop(seen);
    for (role, (broker, metrics)) in &connected {
        let seen = broker.verify(&topology_on(replicas).seen_by(*role)).await;
        assert!(seen.is_empty(), "{role:?}: {seen:?}");
        // Answers come in order: what was denied before this was heard before it.
        assert_eq!(metrics.violations.get(), 0, "{role:?}");
    }
    let said = overheard::said(server);
    for role in Role::ALL {
        let idle = overheard::idle(role, &Permissions::of(role, &scope()), &said);
        assert!(
            idle.is_empty(),
            "{role:?} is allowed, and never used: {idle:#?}"
        );
    }
}

#[tokio::test]
async fn what_a_role_must_not_do_is_refused_and_is_answered_to_those_who_may() {
    let server = furnished().await;
    every_row_holds(&server).await;
}

#[tokio::test]
async fn what_a_role_must_not_do_is_refused_on_three_servers_too() {
    let cluster = three().await;
    let server = &cluster.servers()[0];
    furnish(server, 3).await;
    every_row_holds(server).await;
}

async fn every_row_holds(server: &Server) {
    let mut lines = Vec::new();
    for role in Role::ALL {
        lines.push((
            role,
            Line::connect(&server.url(), role, &password(role)).await,
        ));
    }
    let mut n_denied = 0;
    for row in table() {
        // Those who may not come first: some rows remove what they are about.
        lines.sort_by_key(|(role, _)| row.who.contains(role));
        for (role, line) in &mut lines {
            let heard = match row.kind {
                Kind::Asked => line.ask(row.subject, row.payload).await,
                Kind::Told => line.tell(row.subject).await,
                Kind::Heard => line.subscribe(row.subject).await,
            };
            let may = row.who.contains(role);
            n_denied += usize::from(!may);
            let expected = match (may, row.kind) {
                (false, _) => Heard::Denied,
                (true, Kind::Asked) => Heard::Answer,
                (true, Kind::Told | Kind::Heard) => Heard::Nothing,
            };
            assert_eq!(heard, expected, "{role:?}: {} ({})", row.what, row.subject);
            if matches!(row.kind, Kind::Asked | Kind::Told) {
                let listed = Permissions::of(*role, &scope()).may_publish(row.subject);
                assert_eq!(listed, may, "{role:?}: {}", row.what);
            }
        }
    }
    assert!(n_denied > 200, "{n_denied}");
}

/// Who adds a subject to a list adds a row to the table.
#[test]
fn every_subject_of_every_list_is_tried() {
    let table = table();
    for role in Role::ALL {
        let lists = Permissions::of(role, &scope());
        let is_tried = |subject: &str, is_heard: bool| {
            table.iter().any(|row| {
                (row.kind == Kind::Heard) == is_heard
                    && row.who.contains(&role)
                    && covers(subject, row.subject)
            })
        };
        for allowed in &lists.publish {
            let subject = &allowed.subject;
            assert!(is_tried(subject, false), "{role:?} may publish {subject}");
        }
        for allowed in &lists.subscribe {
            let subject = &allowed.subject;
            assert!(is_tried(subject, true), "{role:?} may hear {subject}");
        }
    }
}
