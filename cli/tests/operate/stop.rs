//! How each role ends when it is asked to, whatever it is busy with.

use std::time::Duration;

use fanfare_nats_server::Options;
use fanfare_nats_server::process::Signal;

use crate::stage::{Roles, Silent, Slow, Stage, event, eventually};

/// A drain that waits for nothing outside; a pull at the broker is held for a second.
const SOON: Duration = Duration::from_secs(4);
/// A provider has 8 s to answer.
const PROVIDER: Duration = Duration::from_secs(8);

fn source(input: &str) -> String {
    format!(
        "[[source]]\nname = \"s\"\nid = \"{{{{ item.id }}}}\"\ntopics = [\"all\"]\n\
         title = \"{{{{ item.id }}}}\"\n[[source.input]]\n{input}\nallow_private = true\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetcher_whose_publisher_never_answers_ends_at_once() {
    let stage = Stage::start().await;
    let publisher = Silent::start().await;
    let input = format!("http = \"http://{}/\"\nevery = \"1s\"", publisher.address);
    let fetcher = stage.roles(&["fetcher"], &source(&input)).await;
    publisher.asked().await;
    fetcher.drains(Signal::Terminate, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetcher_on_a_socket_ends_at_once_open_or_opening() {
    let stage = Stage::start().await;
    let publisher = Silent::start().await;
    let open = stage.sim.quakes_socket_url();
    let input = format!("websocket = \"{open}\"\nitems = \"$.data\"");
    let fetcher = stage.roles(&["fetcher"], &source(&input)).await;
    let connected = "fanfare_source_connected";
    fetcher.reaches(&stage.client, connected, 1.0).await;
    fetcher.drains(Signal::Interrupt, SOON).await;

    let input = format!("websocket = \"ws://{}/\"", publisher.address);
    let fetcher = stage.roles(&["fetcher"], &source(&input)).await;
    publisher.asked().await;
    fetcher.drains(Signal::Terminate, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_answers_what_it_has_and_does_not_wait_for_idle_connections() {
    let stage = Stage::start().await;
    let api = stage.roles(&["api"], "").await;
    let at = api.api().await;
    let mut idle = Slow::connect(at).await;
    idle.send("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await;
    assert!(idle.answer().await.starts_with("HTTP/1.1 200"));
    let _never_asks = Slow::connect(at).await;
    let mut in_flight = Slow::connect(at).await;
    let body = event("e-1");
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    in_flight.send(&head).await;
    in_flight.send(&body[..5]).await;
    let in_flight_metric = "fanfare_api_in_flight";
    api.reaches(&stage.client, in_flight_metric, 1.0).await;
    api.child.signal(Signal::Terminate).unwrap();
    assert_eq!(idle.rest().await, "", "an idle connection is closed");
    in_flight.send(&body[5..]).await;
    let answer = in_flight.rest().await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let status = api.child.wait(SOON).await;
    assert_eq!(
        status.and_then(|it| it.code()),
        Some(0),
        "{}",
        api.printed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_does_not_wait_for_a_body_that_never_comes() {
    let stage = Stage::start().await;
    let api = stage.roles(&["api"], "").await;
    let mut stuck = Slow::connect(api.api().await).await;
    stuck
        .send(
            "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
                 Content-Length: 100\r\n\r\n{",
        )
        .await;
    let in_flight = "fanfare_api_in_flight";
    api.reaches(&stage.client, in_flight, 1.0).await;
    // A body has 5 s.
    let within = Duration::from_secs(5) + SOON;
    api.drains(Signal::Terminate, within).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_in_the_middle_of_a_fan_out_records_what_it_sent_and_repeats_nothing() {
    const N_DEVICES: usize = 300;
    let stage = Stage::start().await;
    let api = stage.roles(&["api"], "").await;
    let at = api.api().await;
    stage.register(at, N_DEVICES).await;
    stage.set_latency(Duration::from_millis(300));
    let notifier = stage.roles(&["notifier"], "").await;
    stage.post(at, "e-1").await;
    let used = "fanfare_credit_used";
    notifier.reaches(&stage.client, used, 20.0).await;
    notifier.drains(Signal::Terminate, SOON).await;
    let before = stage.deliveries();
    assert!(before > 0 && before < 300, "void: {before} were sent");
    let successor = stage.roles(&["notifier"], "").await;
    eventually("all pushes", async || {
        (stage.deliveries() >= 300).then_some(())
    })
    .await;
    successor.drains(Signal::Terminate, SOON).await;
    assert_eq!(stage.deliveries(), 300, "nothing was repeated");
    api.drains(Signal::Terminate, SOON).await;
}

/// A notifier with requests in flight that nobody answers, and what it needs to live.
async fn waiting_for_its_provider() -> (Stage, Roles, Roles) {
    let stage = Stage::start().await;
    let api = stage.roles(&["api"], "").await;
    let at = api.api().await;
    stage.register(at, 3).await;
    stage.set_latency(Duration::from_mins(10));
    let notifier = stage.roles(&["notifier"], "").await;
    stage.post(at, "e-1").await;
    notifier
        .reaches(&stage.client, "fanfare_credit_used", 1.0)
        .await;
    (stage, api, notifier)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_whose_provider_never_answers_ends_when_the_requests_have() {
    let (_stage, _api, notifier) = waiting_for_its_provider().await;
    notifier.drains(Signal::Terminate, PROVIDER + SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_with_a_failure_and_says_so() {
    let (_stage, _api, notifier) = waiting_for_its_provider().await;
    notifier.child.signal(Signal::Terminate).unwrap();
    eventually("it drains", async || {
        let printed = notifier.printed();
        printed.contains("a second signal aborts").then_some(())
    })
    .await;
    // Signals within 200 ms are one: the second is sent until it counts.
    let code = eventually("it ends", async || {
        let _already_gone = notifier.child.signal(Signal::Terminate);
        notifier.child.wait(Duration::from_millis(100)).await
    });
    let (begun, code) = (tokio::time::Instant::now(), code.await.code());
    assert_eq!(code, Some(1), "{}", notifier.printed());
    assert!(begun.elapsed() < SOON);
    let printed = notifier.printed();
    assert!(
        printed.contains("drain cut off: second signal"),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_terminal_drains_like_any_other_signal() {
    let stage = Stage::start().await;
    let roles = stage.roles(&["fetcher", "notifier", "api"], "").await;
    roles.drains(Signal::Hangup, SOON).await;
}

/// A broker that never stores a barrier: for a notifier as if the quorum were gone in that moment.
fn without_barriers() -> Options {
    Options {
        extra: "authorization { users: [ { user: notifier, password: notifier, permissions: {\n\
                publish: { deny: [\"$KV.fanfare_devices.b.>\"] } } },\n\
                { user: api, password: api } ] }\n"
            .to_owned(),
        ..Options::ephemeral()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_waits_for_its_barrier_hands_the_event_back() {
    let mut stage = Stage::with(without_barriers(), Some("api")).await;
    let api = stage.roles(&["api"], "").await;
    let at = api.api().await;
    stage.register(at, 1).await;
    stage.user("notifier");
    let notifier = stage.roles(&["notifier"], "").await;
    stage.post(at, "e-1").await;
    // The violation is heard when the planner has asked for its barrier.
    let violations = "fanfare_nats_violations_total";
    notifier.reaches(&stage.client, violations, 1.0).await;
    notifier.drains(Signal::Terminate, 2 * SOON).await;
    stage.user("api");
    let successor = stage.roles(&["notifier"], "").await;
    eventually("the push", async || (stage.deliveries() == 1).then_some(())).await;
    successor.drains(Signal::Terminate, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_whose_broker_is_gone_end_in_time() {
    let stage = Stage::start().await;
    let roles = stage.roles(&["fetcher", "notifier", "api"], "").await;
    stage.server.kill9().await.unwrap();
    roles.drains(Signal::Terminate, 2 * SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_never_reached_its_broker_ends_at_once() {
    let stage = Stage::start().await;
    stage.server.kill9().await.unwrap();
    let roles = stage.launch(&["fetcher", "notifier", "api"], "");
    eventually("it says so", async || {
        let printed = roles.printed();
        printed.contains("NATS cannot be reached").then_some(())
    })
    .await;
    roles.drains(Signal::Terminate, SOON).await;
}
