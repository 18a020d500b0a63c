//! Faults on the wire, and what the ledger says of them.

use std::time::Duration;

use bytes::Bytes;
use fanfare_sim::ledger::{ProviderKind, Summary};
use fanfare_sim::script::{Answer as Fault, RetryAfter, Rule};
use fanfare_sim::{Disturbance, Latency, Sim};
use http::Request;

use crate::client::*;
use crate::started;

struct Bench {
    sim: Sim,
    client: Client,
    bearer: String,
    _folder: tempfile::TempDir,
}

/// A connection that has all its streams.
async fn ready() -> Bench {
    let (sim, folder) = started(|_| {}).await;
    let bearer = provider_token(sim.whereabouts(), now_s());
    let mut client = Client::cleartext(sim.whereabouts().apns_cleartext.unwrap()).await;
    let warm = client.ask(push(&bearer, TOKEN, "warm")).await.unwrap();
    assert_eq!(warm.status(), 200);
    client.sees_limit(1000).await;
    Bench {
        sim,
        client,
        bearer,
        _folder: folder,
    }
}

impl Bench {
    async fn ask(&self, event: &str) -> Result<Answer, h2::Error> {
        self.client.ask(push(&self.bearer, TOKEN, event)).await
    }

    fn once(&self, fault: Fault) {
        self.sim.add_rule(Rule {
            count: Some(1),
            ..Rule::new(fault)
        });
    }

    async fn end(self) -> Summary {
        let path = self.sim.whereabouts().ledger.clone().unwrap();
        self.sim.stop().await;
        Summary::of(&path).unwrap()
    }
}

#[tokio::test]
async fn scripted_reasons_come_with_their_status_and_time() {
    let bench = ready().await;
    let before_ms = now_s() * 1000;
    bench.once(Fault::Unregistered {
        ago_ms: 60_000,
        no_timestamp: false,
    });
    let answer = bench.ask("e").await.unwrap();
    assert_eq!(
        (answer.status(), answer.reason().as_str()),
        (410, "Unregistered")
    );
    let since = answer.json()["timestamp"].as_i64().unwrap();
    assert!(
        (before_ms - 61_000..before_ms - 50_000).contains(&since),
        "milliseconds: {since}"
    );

    bench.once(Fault::TooMany {
        scope: fanfare_sim::script::Scope::Device,
        retry_after: Some(RetryAfter::Date(30)),
    });
    let answer = bench.ask("e").await.unwrap();
    assert_eq!(answer.status(), 429);
    assert!(
        answer.header("retry-after").ends_with(" GMT"),
        "{}",
        answer.header("retry-after")
    );

    bench.once(Fault::Html { status: 502 });
    let answer = bench.ask("e").await.unwrap();
    assert_eq!(
        (answer.status(), answer.body.starts_with(b"<!DOCTYPE html>")),
        (502, true)
    );
    assert_eq!(
        bench.ask("e").await.unwrap().status(),
        200,
        "rules are spent"
    );
    let summary = bench.end().await;
    assert_eq!(
        (summary.accepted, summary.refused, summary.unavailable),
        (2, 1, 2)
    );
}

#[tokio::test]
async fn an_answer_lost_after_acceptance_still_counts() {
    let bench = ready().await;
    bench.once(Fault::ResetStream { code: 2 });
    let error = bench.ask("lost").await.unwrap_err();
    assert!(error.is_reset() && error.is_remote());
    assert_eq!(bench.ask("lost").await.unwrap().status(), 200);
    let summary = bench.end().await;
    assert_eq!(summary.times(TOKEN, "lost"), 2);
    assert_eq!((summary.repeated(), summary.unanswered), (1, 1));
}

#[tokio::test]
async fn a_reset_connection_is_seen_as_one_and_counts() {
    let mut bench = ready().await;
    bench.once(Fault::ResetConnection);
    assert!(bench.ask("lost").await.is_err());
    let error = bench
        .client
        .driver
        .join_next()
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    let kind = error.get_io().map(std::io::Error::kind);
    assert_eq!(kind, Some(std::io::ErrorKind::ConnectionReset));
    assert_eq!(bench.end().await.times(TOKEN, "lost"), 1);
}

#[tokio::test]
async fn a_refused_stream_was_not_processed() {
    let bench = ready().await;
    bench.once(Fault::RefuseStream);
    let error = bench.ask("e").await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    assert_eq!(bench.end().await.times(TOKEN, "e"), 0);
}

#[tokio::test]
async fn a_goaway_below_tells_what_was_not_processed() {
    let bench = ready().await;
    bench.once(Fault::GoawayBelow);
    let error = bench.ask("e").await.unwrap_err();
    assert!(error.is_go_away() && error.is_remote(), "{error:?}");
    assert!(bench.ask("later").await.is_err());
    let summary = bench.end().await;
    assert_eq!(
        (summary.times(TOKEN, "e"), summary.times(TOKEN, "later")),
        (0, 0)
    );
    assert_eq!(summary.times(TOKEN, "warm"), 1);
}

#[tokio::test]
async fn a_goaway_never_disowns_what_was_accepted() {
    let bench = ready().await;
    bench.sim.set_latency(
        ProviderKind::Apns,
        Latency::fixed(Duration::from_millis(100)),
    );
    bench.sim.add_rule(Rule {
        event: Some("e5".to_owned()),
        ..Rule::new(Fault::GoawayBelow)
    });
    let mut send = bench.client.send.clone();
    let mut answers = Vec::new();
    for n in 0..10 {
        let (head, body) = push(&bench.bearer, TOKEN, &format!("e{n}")).into_parts();
        send = send.ready().await.unwrap();
        let (answer, mut stream) = send
            .send_request(Request::from_parts(head, ()), false)
            .unwrap();
        stream.send_data(body, true).unwrap();
        answers.push(answer);
    }
    let mut accepted = Vec::new();
    for (n, answer) in answers.into_iter().enumerate() {
        match read(answer).await {
            Ok(answer) => accepted.push((n, answer.status())),
            Err(error) => assert!(error.is_go_away() && error.is_remote(), "{n}: {error:?}"),
        }
    }
    assert_eq!(accepted, (0..5).map(|n| (n, 200)).collect::<Vec<_>>());
    let summary = bench.end().await;
    for n in 0..10 {
        assert_eq!(
            summary.times(TOKEN, &format!("e{n}")),
            u32::from(n < 5),
            "e{n}"
        );
    }
}

#[tokio::test]
async fn a_graceful_goaway_lets_open_streams_finish() {
    let mut bench = ready().await;
    bench.once(Fault::Goaway);
    assert_eq!(bench.ask("e").await.unwrap().status(), 200);
    bench
        .client
        .driver
        .join_next()
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(bench.ask("later").await.is_err());
    assert_eq!(bench.end().await.times(TOKEN, "e"), 1);
}

#[tokio::test]
async fn a_silent_drop_leaves_the_socket_open_and_new_ones_work() {
    let bench = ready().await;
    bench.once(Fault::SilentDrop);
    let wait = Duration::from_millis(300);
    assert!(
        tokio::time::timeout(wait, bench.ask("dropped"))
            .await
            .is_err(),
        "an answer came"
    );
    assert!(
        tokio::time::timeout(wait, bench.ask("dropped"))
            .await
            .is_err(),
        "an answer came"
    );
    assert!(bench.client.driver.len() == 1);
    let fresh = Client::cleartext(bench.sim.whereabouts().apns_cleartext.unwrap()).await;
    let answer = fresh
        .ask(push(&bench.bearer, TOKEN, "fresh"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let summary = bench.end().await;
    assert_eq!(
        (
            summary.times(TOKEN, "dropped"),
            summary.times(TOKEN, "fresh")
        ),
        (0, 1)
    );
}

#[tokio::test]
async fn disturbances_reach_open_connections() {
    let mut bench = ready().await;
    let limit = Disturbance::MaxStreams { streams: 7 };
    assert_eq!(bench.sim.disturb(ProviderKind::Apns, limit), 1);
    bench.client.sees_limit(7).await;
    assert_eq!(bench.sim.disturb(ProviderKind::Fcm, Disturbance::Reset), 0);
    assert_eq!(bench.sim.disturb(ProviderKind::Apns, Disturbance::Reset), 1);
    assert!(
        bench
            .client
            .driver
            .join_next()
            .await
            .unwrap()
            .unwrap()
            .is_err()
    );
    bench.end().await;
}

#[tokio::test]
async fn refused_connections_are_refused_by_the_kernel() {
    let bench = ready().await;
    let address = bench.sim.whereabouts().apns_cleartext.unwrap();
    bench.sim.set_refuses(ProviderKind::Apns, true);
    // The last one may be reset in the listener's queue; from then on they are refused.
    loop {
        let connected = tokio::net::TcpStream::connect(address).await;
        match connected.map_err(|error| error.kind()) {
            Err(std::io::ErrorKind::ConnectionRefused) => break,
            _ => tokio::task::yield_now().await,
        }
    }
    assert_eq!(bench.ask("open ones go on").await.unwrap().status(), 200);
    bench.sim.set_refuses(ProviderKind::Apns, false);
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
    bench.end().await;
}

#[tokio::test]
async fn slow_answers_are_slow_and_endless_bodies_do_not_end() {
    let bench = ready().await;
    bench.once(Fault::Slow {
        head_ms: 50,
        body_ms: 10,
    });
    let start = tokio::time::Instant::now();
    let answer = bench.ask("slow").await.unwrap();
    assert_eq!(answer.body, Bytes::from_static(b"{}"));
    assert!(
        start.elapsed() >= Duration::from_millis(70),
        "{:?}",
        start.elapsed()
    );
    bench.once(Fault::EndlessBody);
    let endless = tokio::time::timeout(Duration::from_millis(300), bench.ask("endless"));
    assert!(endless.await.is_err(), "it ended");
    bench.end().await;
}

#[tokio::test]
async fn a_renewed_provider_token_gets_through() {
    let bench = ready().await;
    bench
        .sim
        .add_rule(Rule::new(Fault::Credentials { n_credentials: 1 }));
    assert_eq!(
        bench.ask("e").await.unwrap().reason(),
        "ExpiredProviderToken"
    );
    let other = Client::cleartext(bench.sim.whereabouts().apns_cleartext.unwrap()).await;
    let bearer = provider_token(bench.sim.whereabouts(), now_s() - 1);
    assert_eq!(
        other.ask(push(&bearer, TOKEN, "e")).await.unwrap().status(),
        200
    );
    bench.end().await;
}
