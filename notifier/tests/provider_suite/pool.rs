//! The connections: limits, losses, replacements, and what each says about the push.

use std::collections::BTreeSet;
use std::time::Duration;

use fanfare_nats::testing::eventually;
use fanfare_notifier::outcome::{Outcome, Scope};
use fanfare_notifier::provider::AppConfig;
use fanfare_sim::ledger::{ProviderKind, Verdict};
use fanfare_sim::script::{Answer, Rule};
use fanfare_sim::{Disturbance, Latency};
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{Stage, assert_accepted, push, unavailable};

/// What a busy machine keeps to, its first handshake among it, and nobody waits for long.
const SOON: Duration = Duration::from_secs(2);

fn milliseconds(n: u64) -> Latency {
    Latency::fixed(Duration::from_millis(n))
}

#[tokio::test]
async fn a_limit_of_one_that_becomes_a_thousand_refuses_nobody() {
    let stage = Stage::new().await;
    stage.sim.set_latency(ProviderKind::Apns, milliseconds(20));
    let app = stage.apns();
    let outcomes = join_all((0..400).map(|_| push(&app))).await;
    outcomes.iter().for_each(assert_accepted);
    let counts = stage.sim.counts();
    assert_eq!((counts.accepted, counts.unavailable), (400, 0));
    assert!(counts.max_in_flight > 100, "{counts:?}");
    let requests = stage.requests();
    assert_eq!(requests.first().map(|it| it.conn_in_flight), Some(1));
    // A refused stream would have used up a number: 400 streams are 1, 3, … 799.
    assert_eq!(requests.iter().map(|it| it.stream).max(), Some(799));
    stage.end(app).await;
}

fn connections(stage: &Stage) -> BTreeSet<u64> {
    stage.requests().iter().map(|it| it.conn).collect()
}

#[tokio::test]
async fn several_connections_share_the_load() {
    let stage = Stage::new().await;
    stage.sim.set_latency(ProviderKind::Apns, milliseconds(5));
    let app = stage.open(&AppConfig {
        connections: Some(3),
        ..stage.apns_config()
    });
    // The second and third are opened beside the work, each with its handshakes.
    eventually(async || {
        join_all((0..60).map(|_| push(&app)))
            .await
            .iter()
            .for_each(assert_accepted);
        connections(&stage).len() == 3
    })
    .await;
    stage.end(app).await;
}

#[tokio::test]
async fn a_limit_that_falls_is_kept_and_the_rest_waits() {
    let stage = Stage::new().await;
    let app = stage.apns();
    join_all((0..10).map(|_| push(&app)))
        .await
        .iter()
        .for_each(assert_accepted);
    stage.once(Answer::MaxStreams { streams: 2 });
    assert_accepted(&push(&app).await);
    // A round trip later the new limit is known.
    assert_accepted(&push(&app).await);
    stage.sim.set_latency(ProviderKind::Apns, milliseconds(5));
    let n_before = stage.requests().len();
    join_all((0..20).map(|_| push(&app)))
        .await
        .iter()
        .for_each(assert_accepted);
    let requests = stage.requests();
    let highest = requests
        .iter()
        .skip(n_before)
        .map(|it| it.conn_in_flight)
        .max();
    assert_eq!(highest, Some(2));
    stage.end(app).await;
}

#[tokio::test]
async fn a_refused_stream_was_not_processed_and_goes_again() {
    let stage = Stage::new().await;
    let app = stage.apns();
    stage.once(Answer::RefuseStream);
    assert_accepted(&push(&app).await);
    let verdicts: Vec<Verdict> = stage.requests().iter().map(|it| it.verdict).collect();
    assert_eq!(verdicts, [Verdict::Unavailable, Verdict::Accepted]);
    stage.end(app).await;
}

#[tokio::test]
async fn a_peer_that_refuses_every_stream_is_asked_four_times() {
    let stage = Stage::new().await;
    let app = stage.apns();
    stage.sim.add_rule(Rule::new(Answer::RefuseStream));
    assert_eq!(
        unavailable(&push(&app).await),
        (Scope::Connection, false, None)
    );
    assert_eq!(stage.requests().len(), 4);
    stage.end(app).await;
}

#[tokio::test]
async fn a_goaway_lets_open_streams_finish_and_the_next_push_goes_elsewhere() {
    let stage = Stage::new().await;
    stage.sim.set_latency(ProviderKind::Apns, milliseconds(30));
    let app = stage.apns();
    assert_accepted(&push(&app).await);
    stage.once(Answer::Goaway);
    let outcomes = join_all((0..20).map(|_| push(&app))).await;
    outcomes.iter().for_each(assert_accepted);
    assert_accepted(&push(&app).await);
    let requests = stage.requests();
    assert_eq!(
        stage.sim.counts().repeated,
        21,
        "same event, same token, never twice on its own"
    );
    assert_eq!(
        requests
            .iter()
            .filter(|it| it.verdict == Verdict::Accepted)
            .count(),
        22
    );
    assert_ne!(
        requests.first().map(|it| it.conn),
        requests.last().map(|it| it.conn)
    );
    stage.end(app).await;
}

#[tokio::test]
async fn streams_above_a_goaway_were_not_processed_and_go_again() {
    let stage = Stage::new().await;
    let app = stage.apns();
    assert_accepted(&push(&app).await);
    stage.sim.add_rule(Rule {
        skip: 3,
        count: Some(1),
        ..Rule::new(Answer::GoawayBelow)
    });
    let outcomes = join_all((0..20).map(|_| push(&app))).await;
    outcomes.iter().for_each(assert_accepted);
    let counts = stage.sim.counts();
    assert_eq!(counts.accepted, 21);
    assert!(counts.unavailable >= 1, "{counts:?}");
    stage.end(app).await;
}

#[tokio::test]
async fn a_reset_after_the_write_may_have_been_delivered_and_is_not_sent_again() {
    let stage = Stage::new().await;
    let app = stage.apns();
    for answer in [Answer::ResetStream { code: 2 }, Answer::ResetConnection] {
        stage.once(answer);
        assert_eq!(
            unavailable(&push(&app).await),
            (Scope::Connection, true, None)
        );
    }
    assert_eq!(stage.sim.counts().accepted, 2);
    assert_accepted(&push(&app).await);
    assert_eq!(stage.requests().len(), 3);
    stage.end(app).await;
}

#[tokio::test]
async fn a_late_answer_may_have_been_delivered() {
    let stage = Stage::new().await;
    let app = stage.apns_within(SOON);
    assert_accepted(&push(&app).await);
    stage.once(Answer::Slow {
        head_ms: 60_000,
        body_ms: 0,
    });
    assert_eq!(
        unavailable(&push(&app).await),
        (Scope::Connection, true, None)
    );
    assert_eq!(stage.sim.counts().accepted, 2);
    stage.end(app).await;
}

#[tokio::test]
async fn an_accepted_push_is_accepted_however_slow_its_body() {
    let stage = Stage::new().await;
    let app = stage.apns_within(SOON);
    stage.once(Answer::Slow {
        head_ms: 0,
        body_ms: 60_000,
    });
    assert_accepted(&push(&app).await);
    stage.end(app).await;
}

#[tokio::test]
async fn an_error_without_end_is_cut_off_and_what_the_server_did_before_is_not_known() {
    let stage = Stage::new().await;
    let app = stage.apns_within(SOON);
    stage.once(Answer::EndlessBody);
    let (scope, maybe_delivered, _) = unavailable(&push(&app).await);
    assert_eq!((scope, maybe_delivered), (Scope::Connection, true));
    assert_accepted(&push(&app).await);
    stage.end(app).await;
}

#[tokio::test]
async fn a_connection_that_fell_silent_is_found_by_ping_and_replaced() {
    let stage = Stage::new().await.watchful();
    let app = stage.apns_within(Duration::from_secs(9));
    assert_accepted(&push(&app).await);
    assert_eq!(
        stage
            .sim
            .disturb(ProviderKind::Apns, Disturbance::SilentDrop),
        1
    );
    let began = tokio::time::Instant::now();
    assert_eq!(
        unavailable(&push(&app).await),
        (Scope::Connection, true, None)
    );
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    assert_accepted(&push(&app).await);
    stage.end(app).await;
}

#[tokio::test]
async fn a_timeout_makes_the_pool_ask_whether_the_connection_lives() {
    let mut stage = Stage::new().await.watchful();
    stage.with.keepalive.busy = Duration::from_hours(1);
    let app = stage.apns_within(SOON);
    assert_accepted(&push(&app).await);
    stage
        .sim
        .disturb(ProviderKind::Apns, Disturbance::SilentDrop);
    assert_eq!(
        unavailable(&push(&app).await),
        (Scope::Connection, true, None)
    );
    // The PING is out; the push that runs into its end is lost too, the next one is not.
    let mut n_lost = 0;
    while push(&app).await.name() != "accepted" {
        n_lost += 1;
        assert!(n_lost < 3);
    }
    stage.end(app).await;
}

#[tokio::test]
async fn a_reset_connection_is_replaced_and_takes_its_pushes_with_it() {
    let stage = Stage::new().await;
    stage.sim.set_latency(ProviderKind::Apns, milliseconds(200));
    let app = stage.apns();
    assert_accepted(&push(&app).await);
    let cut = async {
        while stage.sim.counts().in_flight < 10 {
            tokio::task::yield_now().await;
        }
        stage.sim.disturb(ProviderKind::Apns, Disturbance::Reset)
    };
    let (outcomes, n_cut) = tokio::join!(join_all((0..10).map(|_| push(&app))), cut);
    assert_eq!(n_cut, 1);
    for outcome in outcomes {
        assert_eq!(unavailable(&outcome), (Scope::Connection, true, None));
    }
    assert_accepted(&push(&app).await);
    stage.end(app).await;
}

#[tokio::test]
async fn a_provider_that_is_away_is_known_before_the_timeout() {
    let stage = Stage::new().await;
    stage.sim.set_refuses(ProviderKind::Apns, true);
    let app = stage.apns();
    let began = tokio::time::Instant::now();
    let outcome = push(&app).await;
    assert_eq!(unavailable(&outcome), (Scope::Connection, false, None));
    assert_eq!(outcome.reason(), Some("connection refused or unreachable"));
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    stage.sim.set_refuses(ProviderKind::Apns, false);
    assert_accepted(&push(&app).await);
    stage.end(app).await;
}

#[tokio::test]
async fn an_unknown_authority_is_not_spoken_to() {
    let stage = Stage::new().await;
    let app = stage.open(&AppConfig {
        ca_file: None,
        ..stage.apns_config()
    });
    let outcome = push(&app).await;
    assert_eq!(outcome.reason(), Some("TLS failed"));
    assert!(stage.requests().is_empty());
    stage.end(app).await;
}

#[tokio::test]
async fn clear_text_to_loopback_works_for_tests() {
    let stage = Stage::new().await;
    let clear = stage.sim.whereabouts().apns_cleartext.unwrap();
    let app = stage.open(&AppConfig {
        endpoint: Some(format!("http://{clear}").into()),
        ca_file: None,
        ..stage.apns_config()
    });
    assert_accepted(&push(&app).await);
    stage.end(app).await;
}

#[tokio::test]
async fn a_proxy_is_asked_to_connect() {
    let stage = Stage::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let target = stage.sim.whereabouts().apns.unwrap();
    let tunnel = async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        socket
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await
            .unwrap();
        let mut onward = TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut socket, &mut onward).await;
        String::from_utf8(head).unwrap()
    };
    let app = stage.open(&AppConfig {
        proxy: Some(fanfare_notifier::Secret::new(format!(
            "http://me:pw@{proxy}"
        ))),
        ..stage.apns_config()
    });
    let pushed = async {
        assert_accepted(&push(&app).await);
        stage.with.stop.cancel();
    };
    let (head, ()) = tokio::join!(tunnel, pushed);
    assert!(
        head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", target.port())),
        "{head}"
    );
    assert!(
        head.contains("\r\nProxy-Authorization: Basic bWU6cHc=\r\n"),
        "{head}"
    );
    stage.end(app).await;
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named() {
    let stage = Stage::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let refusing = async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket
            .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            .await
            .unwrap();
        let _ = socket.read_u8().await;
    };
    let app = stage.open(&AppConfig {
        proxy: Some(fanfare_notifier::Secret::new(format!("http://{proxy}"))),
        ..stage.apns_config()
    });
    let (outcome, ()) = tokio::join!(push(&app), refusing);
    assert_eq!(outcome.reason(), Some("proxy failed"));
    stage.end(app).await;
}

#[tokio::test]
async fn a_push_that_is_given_up_gives_its_place_back() {
    let stage = Stage::with(|it| it.apns.as_mut().unwrap().max_streams = 1).await;
    let app = stage.apns();
    assert_accepted(&push(&app).await);
    stage.once(Answer::Slow {
        head_ms: 60_000,
        body_ms: 0,
    });
    tokio::select! {
        outcome = push(&app) => panic!("{outcome:?}"),
        () = async {
            while stage.sim.counts().requests < 2 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    assert_accepted(&push(&app).await);
    stage.end(app).await;
}

#[tokio::test]
async fn a_stop_lets_what_is_in_flight_finish_and_takes_nothing_more() {
    let stage = Stage::new().await;
    stage.sim.set_latency(ProviderKind::Apns, milliseconds(100));
    let app = stage.apns();
    assert_accepted(&push(&app).await);
    let stop = async {
        while stage.sim.counts().in_flight < 5 {
            tokio::task::yield_now().await;
        }
        stage.with.stop.cancel();
    };
    let (outcomes, ()) = tokio::join!(join_all((0..5).map(|_| push(&app))), stop);
    outcomes.iter().for_each(assert_accepted);
    let outcome = push(&app).await;
    assert!(
        matches!(&outcome, Outcome::Unavailable { maybe_delivered: false, reason, .. }
            if reason == "shutting down"),
        "{outcome:?}"
    );
    stage.end(app).await;
}
