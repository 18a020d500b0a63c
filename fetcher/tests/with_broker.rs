//! Whole fetchers against a real broker, a small REST server and a small socket server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "support code of tests"
)]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats::event::{ScreenId, SourceName};
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, Level};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::fetcher::{Fetcher, equal, eventually, freeze};
use support::server::{Asked, Server, answer};
use support::socket::Socket;

#[expect(clippy::disallowed_methods, reason = "a feed has a clock of its own")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn json_answer(document: &Value) -> Vec<u8> {
    let body = serde_json::to_vec(document).unwrap();
    answer("200 OK", &[("content-type", "application/json")], &body)
}

async fn levels(broker: &Broker, source: &str, item: &str) -> Vec<Level> {
    let source = SourceName::parse(source).unwrap();
    let mut levels = broker
        .stored_levels(&source, &ScreenId::new(&source, item))
        .await
        .unwrap();
    levels.sort_by(|a, b| a.order(b).unwrap());
    levels
}

/// All orders of a list.
fn permutations(of: &[f64]) -> Vec<Vec<f64>> {
    let Some((first, rest)) = of.split_first() else {
        return vec![Vec::new()];
    };
    let mut all = Vec::new();
    for shorter in permutations(rest) {
        for at in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(at, *first);
            all.push(longer);
        }
    }
    all
}

/// The magnitudes of 24 quakes that rise, fall and rise: every order of these four, one after the
/// other in stages.
const MAGNITUDES: [f64; 4] = [4.6, 3.0, 6.1, 7.3];

/// A feed with a past that tests turn: which quakes it shows, by node, and how old they are.
#[derive(Default)]
struct Feed {
    shown: Mutex<HashMap<String, Vec<Value>>>,
    /// How often each node was answered since its list was last changed.
    n_answered: Mutex<HashMap<String, usize>>,
    age_s: AtomicI64,
}

impl Feed {
    fn show(&self, node: &str, items: Vec<Value>) {
        let mut shown = self.shown.lock().unwrap();
        self.n_answered.lock().unwrap().insert(node.to_owned(), 0);
        shown.insert(node.to_owned(), items);
    }

    fn quake(&self, id: &str, mag: f64) -> Value {
        let age = SignedDuration::from_secs(600 + self.age_s.load(Ordering::Relaxed));
        let time = now().checked_sub(age).unwrap().as_millisecond();
        json!({"id": id, "properties": {"mag": mag, "time": time, "place": "Our Ridge"}})
    }

    async fn serve(self: &Arc<Self>) -> Server {
        let feed = Arc::clone(self);
        Server::start(move |asked: &Asked| {
            let node = asked.path.trim_start_matches('/').to_owned();
            let shown = feed.shown.lock().unwrap();
            let items = shown.get(&node).cloned().unwrap_or_default();
            *feed.n_answered.lock().unwrap().entry(node).or_default() += 1;
            Some(json_answer(&json!({"features": items})))
        })
        .await
    }

    /// Waits until the node has certainly taken in what is shown now: it asks for the next
    /// document only after it has settled the one before.
    async fn taken_in(&self, node: &str) {
        eventually(async || {
            let n = self
                .n_answered
                .lock()
                .unwrap()
                .get(node)
                .copied()
                .unwrap_or(0);
            if n >= 2 {
                Ok(())
            } else {
                Err(format!("{node} was answered {n} times"))
            }
        })
        .await;
    }
}

fn quakes_config(base: &str, node: &str, socket: Option<&str>) -> String {
    let rest = format!(
        r#"
        [[source]]
        name = "usgs"
        level = {{ levels = [4.5, 6.0, 7.0], of = "{{{{ item.properties.mag }}}}" }}
        id = "{{{{ item.id }}}}"
        time = "{{{{ item.properties.time | from_ms }}}}"
        topics = ["quakes.us"]
        title = "M {{{{ item.properties.mag }}}} {{{{ item.properties.place }}}}"
        [[source.input]]
        http = "{base}/{node}"
        every = "30ms"
        items = "$.features[*]"
        allow_private = true
        "#
    );
    match socket {
        None => rest,
        Some(url) => format!(
            "{rest}[[source.input]]\nwebsocket = \"{url}\"\nitems = \"$.data\"\nallow_private = true\n"
        ),
    }
}

#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_item_and_level_is_stored_once_in_every_order_over_both_inputs_by_two_fetchers() {
    let server = TestServer::start().await;
    let feed = Arc::new(Feed::default());
    let rest = feed.serve().await;
    let socket = Socket::start().await;
    let config = |node| quakes_config(&rest.base, node, Some(&socket.url));
    // Both begin on an empty feed, so that its baseline is empty.
    let a = Fetcher::start(&server, "a", &config("a")).await;
    let b = Fetcher::start(&server, "b", &config("b")).await;
    for node in ["a", "b"] {
        feed.taken_in(node).await;
    }
    eventually(async || equal("open sockets", socket.n_open(), 2)).await;

    let orders = permutations(&MAGNITUDES);
    assert_eq!(orders.len(), 24);
    for stage in 0..MAGNITUDES.len() {
        // Each observation comes by REST, by socket, or by both, and for `b` the REST feed shows
        // the past backwards: the two are out of phase.
        let shown = |stage: usize| {
            let items = orders.iter().enumerate();
            let items = items.filter(|(n, _)| !(n + stage).is_multiple_of(3));
            items
                .map(|(n, order)| feed.quake(&format!("us{n}"), order[stage]))
                .collect()
        };
        feed.show("a", shown(stage));
        feed.show("b", shown(MAGNITUDES.len() - 1 - stage));
        for (n, order) in orders
            .iter()
            .enumerate()
            .filter(|(n, _)| (n + stage) % 3 != 1)
        {
            let frame = json!({"data": feed.quake(&format!("us{n}"), order[stage])});
            socket.send(frame.to_string());
        }
        for node in ["a", "b"] {
            feed.taken_in(node).await;
        }
    }
    let n_stored = || a.n_stored("usgs") + b.n_stored("usgs");
    eventually(async || equal("stored", n_stored(), 72)).await;
    let broker = server.broker("test").await;
    for n in 0..24 {
        let expected = [Level::Step(4.5), Level::Step(6.0), Level::Step(7.0)];
        assert_eq!(
            levels(&broker, "usgs", &format!("us{n}")).await,
            expected,
            "us{n}"
        );
    }

    // Both stop, and start again an hour of feed time later: everything is an hour older.
    a.stop().await;
    b.stop().await;
    feed.age_s.store(3600, Ordering::Relaxed);
    let last = orders
        .iter()
        .enumerate()
        .map(|(n, order)| feed.quake(&format!("us{n}"), order[3]));
    let last: Vec<Value> = last.collect();
    feed.show("a", last.clone());
    feed.show("b", last);
    let a = Fetcher::start(&server, "a", &config("a")).await;
    let b = Fetcher::start(&server, "b", &config("b")).await;
    for node in ["a", "b"] {
        feed.taken_in(node).await;
    }
    assert!(
        a.n_items("usgs") >= 24 && b.n_items("usgs") >= 24,
        "both looked"
    );
    assert_eq!((a.n_stored("usgs"), b.n_stored("usgs")), (0, 0));
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_run_on_a_full_feed_stores_nothing_and_two_fetchers_agree_on_one_baseline() {
    let server = TestServer::start().await;
    let feed = Arc::new(Feed::default());
    let rest = feed.serve().await;
    let full = |n: usize| {
        (0..n)
            .map(|n| feed.quake(&format!("us{n}"), 4.6))
            .collect::<Vec<_>>()
    };
    // `b` looks when three more have appeared: those are news, whoever makes the baseline.
    feed.show("a", full(196));
    let a = Fetcher::start(&server, "a", &quakes_config(&rest.base, "a", None)).await;
    feed.taken_in("a").await;
    assert_eq!(a.n_stored("usgs"), 0);
    feed.show("b", full(199));
    let b = Fetcher::start(&server, "b", &quakes_config(&rest.base, "b", None)).await;
    feed.taken_in("b").await;
    assert_eq!(b.n_stored("usgs"), 3);
    feed.show("a", full(199));
    feed.taken_in("a").await;
    assert_eq!(a.n_stored("usgs"), 0);

    // An item of the baseline speaks when it rises.
    let mut risen = full(199);
    risen[7] = feed.quake("us7", 6.5);
    feed.show("a", risen);
    feed.taken_in("a").await;
    assert_eq!(a.n_stored("usgs"), 1);
    let broker = server.broker("test").await;
    assert_eq!(levels(&broker, "usgs", "us7").await, [Level::Step(6.0)]);
    assert_eq!(levels(&broker, "usgs", "us8").await, []);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_without_time_stays_silent_after_the_stream_forgot_everything_with_a_time() {
    let server = TestServer::start().await;
    let topology = Topology {
        events_max_age: Duration::from_secs(3),
        ..Topology::new(1, Vec::new())
    };
    let broker = server.broker_with("a", &topology).await;
    let n_shown = Arc::new(AtomicUsize::new(0));
    let shown = Arc::clone(&n_shown);
    let rest = Server::start(move |_| {
        let n = shown.load(Ordering::SeqCst);
        let items: Vec<Value> = (0..n)
            .map(|n| json!({"id": format!("k{n}"), "at": now().to_string()}))
            .collect();
        Some(json_answer(&json!({"list": items})))
    })
    .await;
    let source = |name: &str, time: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nid = \"{{{{ item.id }}}}\"\n{time}\ntopics = [\"t\"]\ntitle = \"{{{{ item.id }}}}\"\n[[source.input]]\nhttp = \"{}/\"\nevery = \"50ms\"\nitems = \"$.list[*]\"\nallow_private = true\n",
            rest.base
        )
    };
    let config = source("kept", "") + &source("timed", "time = \"{{ item.at }}\"");
    let a = Fetcher::with(broker.clone(), &config);
    eventually(async || {
        if a.n_polls("kept") >= 2 && a.n_polls("timed") >= 2 {
            Ok(())
        } else {
            Err("no polls".into())
        }
    })
    .await;
    n_shown.store(5, Ordering::SeqCst);
    eventually(async || equal("stored", (a.n_stored("kept"), a.n_stored("timed")), (5, 5))).await;
    a.stop().await;
    // The fault bites: what has a time is forgotten.
    eventually(async || equal("levels", levels(&broker, "timed", "k0").await, vec![])).await;
    assert_eq!(levels(&broker, "kept", "k0").await, [Level::First]);

    let b = Fetcher::with(broker.clone(), &config);
    eventually(async || {
        let n = b.n_items("kept");
        if n >= 10 {
            Ok(())
        } else {
            Err(format!("{n} items"))
        }
    })
    .await;
    assert_eq!(b.n_stored("kept"), 0);
    assert!(
        b.n_stored("timed") > 0,
        "the counterproof: with a wrong clock it would be sent again"
    );
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_is_away_nothing_is_lost_and_the_cursor_waits() {
    let mut server = TestServer::start().await;
    let feed = Arc::new(Feed::default());
    let rest = feed.serve().await;
    let socket = Socket::start().await;
    let config = quakes_config(&rest.base, "a", Some(&socket.url));
    let a = Fetcher::start(&server, "a", &config).await;
    feed.taken_in("a").await;
    eventually(async || equal("open sockets", socket.n_open(), 1)).await;

    let asker = server.broker("asker").await;
    freeze(&mut server, &asker).await;
    for n in 0..200 {
        let frame = json!({"data": feed.quake(&format!("ws{n}"), 5.0)});
        socket.send(frame.to_string());
    }
    feed.show("a", vec![feed.quake("rest", 5.0)]);
    eventually(async || {
        let n = feed
            .n_answered
            .lock()
            .unwrap()
            .get("a")
            .copied()
            .unwrap_or(0);
        if n >= 1 {
            Ok(())
        } else {
            Err("not polled".to_owned())
        }
    })
    .await;
    // What the frozen broker did not store is asked for no second time: the batch is held.
    assert_eq!(a.n_stored("usgs"), 0);
    server.server().thaw().unwrap();
    eventually(async || equal("stored", a.n_stored("usgs"), 201)).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_survives_a_restart_and_a_changed_configuration_reads_everything_again() {
    let server = TestServer::start().await;
    let at = now().to_string();
    let rest = Server::start(move |asked: &Asked| {
        if asked.headers.get("if-none-match").map(String::as_str) == Some("W/\"odd, tag\"") {
            return Some(answer("304 Not Modified", &[], b""));
        }
        let body = serde_json::to_vec(&json!([{"id": "1", "at": at}])).unwrap();
        Some(answer("200 OK", &[("etag", "W/\"odd, tag\"")], &body))
    })
    .await;
    let config = |title: &str| {
        format!(
            "[[source]]\nname = \"s\"\nid = \"{{{{ item.id }}}}\"\ntime = \"{{{{ item.at }}}}\"\ntopics = [\"t\"]\ntitle = \"{title}\"\n[[source.input]]\nhttp = \"{}/\"\nevery = \"50ms\"\nitems = \"$[*]\"\nallow_private = true\n",
            rest.base
        )
    };
    let n_whole = || {
        rest.asked()
            .iter()
            .filter(|it| !it.headers.contains_key("if-none-match"))
            .count()
    };
    let polled = async |fetcher: &Fetcher| {
        eventually(async || {
            if fetcher.n_polls("s") >= 2 {
                Ok(())
            } else {
                Err(String::new())
            }
        })
        .await;
    };
    let a = Fetcher::start(&server, "a", &config("one")).await;
    polled(&a).await;
    a.stop().await;
    assert_eq!(n_whole(), 1);
    let a = Fetcher::start(&server, "a", &config("one")).await;
    polled(&a).await;
    a.stop().await;
    assert_eq!(n_whole(), 1, "the stored cursor was used");
    let a = Fetcher::start(&server, "a", &config("two")).await;
    polled(&a).await;
    a.stop().await;
    assert_eq!(
        n_whole(),
        2,
        "another configuration may see news in an unchanged document"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_source_that_fails_does_not_touch_another() {
    let server = TestServer::start().await;
    let feed = Arc::new(Feed::default());
    let rest = feed.serve().await;
    let silent = Server::start(|_| None).await;
    let garbled = Server::start(|_| Some(answer("200 OK", &[], b"{\"features\":[{"))).await;
    let bad = |name: &str, base: &str| {
        quakes_config(base, "x", None).replace("name = \"usgs\"", &format!("name = \"{name}\""))
    };
    let config = quakes_config(&rest.base, "a", None)
        + &bad("silent", &silent.base)
        + &bad("garbled", &garbled.base);
    let a = Fetcher::start(&server, "a", &config).await;
    feed.taken_in("a").await;
    feed.show("a", vec![feed.quake("us1", 5.0)]);
    eventually(async || equal("stored", a.n_stored("usgs"), 1)).await;
    assert!(a.readiness.is_ready());
    // A garbled first document makes no baseline.
    let broker = server.broker("test").await;
    assert_eq!(broker.control_get("baseline.garbled").await.unwrap(), None);
    assert!(broker.control_get("baseline.usgs").await.unwrap().is_some());
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_with_many_distinct_values_has_at_most_its_share_of_events() {
    let server = TestServer::start().await;
    let feed = Arc::new(Feed::default());
    let rest = feed.serve().await;
    let config = quakes_config(&rest.base, "a", None).replace(
        "level = { levels = [4.5, 6.0, 7.0], of = \"{{ item.properties.mag }}\" }",
        "level = { fields = [\"{{ item.properties.mag }}\"], at_most = 3 }",
    );
    assert!(config.contains("at_most"));
    let a = Fetcher::start(&server, "a", &config).await;
    feed.taken_in("a").await;
    for n in 0..6 {
        feed.show("a", vec![feed.quake("us1", 1.0 + f64::from(n))]);
        feed.taken_in("a").await;
    }
    assert_eq!(a.n_stored("usgs"), 3);
    // Values that were stored before are none of the limit's business.
    feed.show("a", vec![feed.quake("us1", 1.0), feed.quake("us2", 1.0)]);
    feed.taken_in("a").await;
    assert_eq!(a.n_stored("usgs"), 4);
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_and_a_reopened_socket_each_make_the_rest_input_catch_up_at_once() {
    let server = TestServer::start().await;
    let feed = Arc::new(Feed::default());
    let rest = feed.serve().await;
    let socket = Socket::start().await;
    let config = quakes_config(&rest.base, "a", Some(&socket.url)).replace("30ms", "100s")
        + "sequence = { of = \"{{ frame.n }}\" }\n";
    let a = Fetcher::start(&server, "a", &config).await;
    eventually(async || equal("open sockets", socket.n_open(), 1)).await;
    let n_asked = || rest.asked().len();
    eventually(async || equal("polls", n_asked(), 1)).await;

    let frame = |n: u64| json!({"n": n, "data": feed.quake("us1", 5.0)}).to_string();
    socket.send(frame(1));
    socket.send(frame(2));
    eventually(async || equal("stored", a.n_stored("usgs"), 1)).await;
    // What the dropped frame said stands in the document.
    feed.show("a", vec![feed.quake("us2", 5.0)]);
    socket.send(frame(4));
    eventually(async || equal("missed", a.of("usgs").n_missed(), 1)).await;
    eventually(async || equal("stored", a.n_stored("usgs"), 2)).await;
    assert_eq!(n_asked(), 2, "the document was not due for 100 s");

    feed.show("a", vec![feed.quake("us3", 5.0)]);
    socket.cut();
    eventually(async || equal("stored", a.n_stored("usgs"), 3)).await;
    assert_eq!(n_asked(), 3);
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_source_is_not_read_and_what_came_meanwhile_is_told_afterwards() {
    let server = TestServer::start().await;
    let feed = Arc::new(Feed::default());
    let rest = feed.serve().await;
    let socket = Socket::start().await;
    let other = quakes_config(&rest.base, "b", None).replace("\"usgs\"", "\"other\"");
    let config = quakes_config(&rest.base, "a", Some(&socket.url)) + &other;
    let operator = server.broker("ops").await;
    let usgs = SourceName::parse("usgs").unwrap();
    let hour = now() + SignedDuration::from_hours(1);

    // Paused before it ever began, and through a restart: nothing is asked for.
    operator
        .ensure(&Topology::new(1, Vec::new()))
        .await
        .unwrap();
    operator.pause_source(&usgs, hour, now()).await.unwrap();
    for _ in 0..2 {
        let paused = Fetcher::start(&server, "a", &config).await;
        eventually(async || equal("is paused", paused.of("usgs").is_paused(), true)).await;
        assert_eq!(paused.n_polls("usgs"), 0);
        paused.stop().await;
    }
    let fetcher = Fetcher::start(&server, "a", &config).await;
    operator.resume_source(&usgs).await.unwrap();
    feed.taken_in("a").await;
    eventually(async || equal("open sockets", socket.n_open(), 1)).await;
    feed.show("a", vec![feed.quake("us1", 5.0)]);
    eventually(async || equal("stored", fetcher.n_stored("usgs"), 1)).await;

    // Paused while it reads: the socket is closed, polls end.
    operator.pause_source(&usgs, hour, now()).await.unwrap();
    eventually(async || equal("is paused", fetcher.of("usgs").is_paused(), true)).await;
    eventually(async || equal("open sockets", socket.n_open(), 0)).await;
    let usgs_now = async || {
        let reports = operator.sources(now()).await.unwrap();
        reports.into_iter().find(|it| it.source == "usgs").unwrap()
    };
    let before = usgs_now().await;
    assert_eq!(before.pause.as_ref().map(|it| it.until), Some(hour));
    assert!(!before.cursors.is_empty(), "{before:?}");
    let n_polls = fetcher.n_polls("usgs");
    feed.show("a", vec![feed.quake("us1", 5.0), feed.quake("us2", 5.0)]);
    let others = fetcher.n_polls("other");
    let is_later = || (fetcher.n_polls("other") >= others + 10).then_some(());
    eventually(async || is_later().ok_or_else(|| "the other source is read".to_owned())).await;
    assert_eq!(fetcher.n_polls("usgs"), n_polls);
    assert_eq!(usgs_now().await, before);

    // It ends by itself: this pause is to end soon.
    let soon = now() + SignedDuration::from_millis(1500);
    operator.pause_source(&usgs, soon, now()).await.unwrap();
    eventually(async || equal("stored", fetcher.n_stored("usgs"), 2)).await;
    assert!(now() >= soon, "not before its end");
    eventually(async || equal("open sockets", socket.n_open(), 1)).await;
    let levels = levels(&operator, "usgs", "us2").await;
    assert_eq!(levels.len(), 1);
    fetcher.stop().await;
}
