//! The ledger as a witness.

use std::time::Duration;

use fanfare_sim::Latency;
use fanfare_sim::ledger::{Entry, LedgerMode, ProviderKind, Request, Summary, Verdict, read};

use crate::client::*;
use crate::started;

#[tokio::test]
async fn an_entry_says_what_arrived_and_never_the_credentials() {
    let (sim, _folder) = started(|_| {}).await;
    let at = sim.whereabouts().clone();
    let client = Client::tls(at.apns.unwrap(), &at).await;
    let mut request = push(&provider_token(&at, now_s()), TOKEN, "e1");
    request
        .headers_mut()
        .insert("apns-collapse-id", "s1".parse().unwrap());
    assert_eq!(client.ask(request).await.unwrap().status(), 200);
    sim.stop().await;
    let path = at.ledger.unwrap();
    let entries: Vec<Entry> = read(&path).unwrap().map(Result::unwrap).collect();
    let [
        Entry::Request(request),
        Entry::Answered {
            of: 1, sent: true, ..
        },
    ] = entries.as_slice()
    else {
        panic!("{entries:?}");
    };
    let Request {
        provider,
        app,
        path: asked,
        token,
        event,
        screen,
        level,
        ..
    } = request;
    assert_eq!(*provider, ProviderKind::Apns);
    assert_eq!(
        [app, asked, token],
        ["org.example.app", "/3/device/", TOKEN]
    );
    assert_eq!(
        [event, screen, level].map(Option::as_deref),
        [Some("e1"), Some("s1"), Some("6")]
    );
    assert_eq!(
        (request.status, request.verdict, request.seq),
        (200, Verdict::Accepted, 1)
    );
    assert_eq!(request.headers["apns-collapse-id"], "s1");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("bearer"), "{text}");
    let summary = Summary::of(&path).unwrap();
    assert_eq!(
        summary.screens.line(TOKEN, "s1").unwrap().title.as_deref(),
        Some("M 6.1")
    );
}

#[tokio::test]
async fn it_is_written_before_the_answer_and_while_the_answer_waits() {
    let (sim, _folder) = started(|_| {}).await;
    let at = sim.whereabouts().clone();
    sim.set_latency(ProviderKind::Apns, Latency::fixed(Duration::from_mins(10)));
    let client = Client::cleartext(at.apns_cleartext.unwrap()).await;
    let ask = client.ask(push(&provider_token(&at, now_s()), TOKEN, "e1"));
    let written = async {
        while Summary::of(at.ledger.as_ref().unwrap()).unwrap().accepted == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answer = ask => panic!("answered at once: {answer:?}"),
        () = written => {}
    }
    assert_eq!(sim.counts().in_flight, 1);
    // The sender dies: accepted all the same, its answer lost.
    drop(client);
    while sim.counts().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(sim.counts().answers_lost, 1);
    sim.stop().await;
    let summary = Summary::of(at.ledger.as_ref().unwrap()).unwrap();
    assert_eq!((summary.accepted, summary.unanswered), (1, 1));
}

#[tokio::test]
async fn counting_alone_writes_nothing_and_finds_repeats() {
    let (sim, _folder) = started(|it| it.ledger = LedgerMode::CountsPerDelivery).await;
    let at = sim.whereabouts().clone();
    let client = Client::cleartext(at.apns_cleartext.unwrap()).await;
    let bearer = provider_token(&at, now_s());
    for event in ["e1", "e2", "e1"] {
        client.ask(push(&bearer, TOKEN, event)).await.unwrap();
    }
    let counts = sim.counts();
    assert_eq!(
        (counts.accepted, counts.deliveries, counts.repeated),
        (3, 2, 1)
    );
    assert_eq!((at.ledger, counts.max_in_flight), (None, 1));
    sim.stop().await;
}

#[tokio::test]
async fn a_second_start_in_the_same_folder_appends_and_keeps_the_keys() {
    let (sim, folder) = started(|_| {}).await;
    let first = sim.whereabouts().clone();
    let bearer = provider_token(&first, now_s());
    let client = Client::tls(first.apns.unwrap(), &first).await;
    client.ask(push(&bearer, TOKEN, "e1")).await.unwrap();
    sim.stop().await;
    let config = fanfare_sim::SimConfig::in_folder(folder.path());
    let sim = fanfare_sim::Sim::start(config).await.unwrap();
    // The certificates that the client trusts are those of the first start.
    let client = Client::tls(sim.whereabouts().apns.unwrap(), &first).await;
    assert_eq!(
        client
            .ask(push(&bearer, TOKEN, "e1"))
            .await
            .unwrap()
            .status(),
        200
    );
    sim.stop().await;
    let path = first.ledger.unwrap();
    assert_eq!(Summary::of(&path).unwrap().repeated(), 1);
    let seqs = read(&path).unwrap().filter_map(|it| match it.unwrap() {
        Entry::Request(request) => Some(request.seq),
        Entry::Answered { .. } => None,
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_line_cut_by_a_kill_is_taken_away_at_the_next_start() {
    let (sim, folder) = started(|_| {}).await;
    let at = sim.whereabouts().clone();
    sim.stop().await;
    let path = at.ledger.unwrap();
    std::fs::write(
        &path,
        "{\"kind\":\"answered\",\"of\":7,\"at_us\":1,\"sent\":true}\n{\"ki",
    )
    .unwrap();
    assert_eq!(read(&path).unwrap().count(), 1);
    let config = fanfare_sim::SimConfig::in_folder(folder.path());
    let sim = fanfare_sim::Sim::start(config).await.unwrap();
    let client = Client::tls(sim.whereabouts().apns.unwrap(), sim.whereabouts()).await;
    client
        .ask(push(
            &provider_token(sim.whereabouts(), now_s()),
            TOKEN,
            "e1",
        ))
        .await
        .unwrap();
    sim.stop().await;
    assert_eq!(read(&path).unwrap().map(Result::unwrap).count(), 3);
}
