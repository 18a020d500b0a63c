//! Manners and defences of a polled input, against a small server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support code of tests"
)]

mod support;

use std::io::Write;
use std::time::Duration;

use fanfare_fetcher::SourceConfig;
use fanfare_fetcher::config::InputConfig;
use fanfare_fetcher::cursor::Cursor;
use fanfare_fetcher::mapping::Mapping;
use fanfare_fetcher::source::{Batch, Http, Payload, Settled, Source, SourceError};
use serde_json::{Value, json};
use support::server::{Asked, Server, answer};
use support::{install_tls, source};

const STORED: Settled = Settled::Stored {
    ttl: None,
    is_lasting: true,
};

fn config(address: &str, more: &str) -> SourceConfig {
    source(&format!(
        "[[source]]\nname = \"s\"\nid = \"{{{{ item.id }}}}\"\ntopics = [\"t\"]\ntitle = \"t\"\n[[source.input]]\nhttp = \"{address}\"\nevery = \"20ms\"\nitems = \"$[*]\"\nallow_private = true\n{more}"
    ))
}

fn http(address: &str, more: &str) -> Http {
    install_tls();
    let config = config(address, more);
    let InputConfig::Http(input) = &config.input[0] else {
        panic!("not polled")
    };
    Http::new(input, "fanfare/0 (+ops@example.org)", Cursor::start("c")).unwrap()
}

fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", &[], body)
}

fn documents(batch: Batch) -> Vec<String> {
    match batch.payload {
        Payload::Documents(all) => all
            .iter()
            .map(|it| String::from_utf8(it.to_vec()).unwrap())
            .collect(),
        Payload::NotModified | Payload::Frames(_) => Vec::new(),
    }
}

#[tokio::test]
async fn validators_are_echoed_verbatim_and_only_after_the_batch_is_stored() {
    let server = Server::start(|asked| {
        let tag = asked.headers.get("if-none-match").map(String::as_str);
        let since = asked.headers.get("if-modified-since").map(String::as_str);
        if (tag, since) == (Some("W/\"a,b\""), Some("Sun, 04 May 2025 13:52:57 GMT")) {
            return Some(answer("304 Not Modified", &[], b""));
        }
        let head = [
            ("etag", "W/\"a,b\""),
            ("last-modified", "Sun, 04 May 2025 13:52:57 GMT"),
        ];
        Some(answer("200 OK", &head, b"[1]"))
    })
    .await;
    let mut http = http(&server.base, "");
    assert_eq!(documents(http.next().await.unwrap()), ["[1]"]);
    assert_eq!(http.settle(Settled::Failed), None);
    assert_eq!(
        documents(http.next().await.unwrap()),
        ["[1]"],
        "the batch was not stored"
    );
    assert!(http.settle(STORED).is_some());
    assert_eq!(http.next().await.unwrap().payload, Payload::NotModified);
    assert_eq!(http.settle(STORED), None, "nothing to store");
    let agent = &server.asked()[0].headers["user-agent"];
    assert_eq!(agent, "fanfare/0 (+ops@example.org)");
    assert!(server.asked()[0].headers["accept-encoding"].contains("gzip"));
}

#[tokio::test]
async fn a_document_whose_verdict_will_change_with_time_is_read_again() {
    let server = Server::start(|asked| {
        let is_known = asked.headers.contains_key("if-none-match");
        let status = if is_known {
            "304 Not Modified"
        } else {
            "200 OK"
        };
        Some(answer(
            status,
            &[("etag", "\"e\"")],
            if is_known { b"" } else { b"[1]" },
        ))
    })
    .await;
    let mut http = http(&server.base, "");
    let not_lasting = Settled::Stored {
        ttl: None,
        is_lasting: false,
    };
    for _ in 0..2 {
        assert_eq!(documents(http.next().await.unwrap()), ["[1]"]);
        assert_eq!(http.settle(not_lasting), None);
    }
}

#[tokio::test]
async fn the_same_bytes_again_are_nothing_new_and_an_old_etag_is_no_harm() {
    let mut n = 0;
    let server = Server::start(move |_| {
        n += 1;
        let body = if n == 3 { b"[2]".as_slice() } else { b"[1]" };
        Some(answer(
            "200 OK",
            &[("etag", if n == 3 { "\"two\"" } else { "\"one\"" })],
            body,
        ))
    })
    .await;
    let mut http = http(&server.base, "");
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(documents(http.next().await.unwrap()));
        http.settle(STORED);
    }
    assert_eq!(seen, [vec!["[1]"], vec![], vec!["[2]"], vec!["[1]"]]);
}

#[track_caller]
fn check_error(result: Result<Batch, SourceError>, is_expected: fn(&SourceError) -> bool) {
    match result {
        Err(error) if is_expected(&error) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    for head in [
        [("content-length", "100")],
        [("transfer-encoding", "chunked")],
    ] {
        let server = Server::start(move |_| Some(answer("200 OK", &head, b"5\r\n[1,2,"))).await;
        let mut http = http(&server.base, "");
        check_error(http.next().await, |it| matches!(it, SourceError::Http(_)));
    }
}

#[tokio::test]
async fn gzip_is_read_and_its_limit_counts_what_comes_out() {
    let zipped = |body: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(body).unwrap();
        gzip.finish().unwrap()
    };
    let (small, bomb) = (zipped(b"[1]"), zipped(&vec![b' '; 3_000_000]));
    let mut cut = zipped(&serde_json::to_vec(&vec![7; 5000]).unwrap());
    cut.truncate(cut.len() / 2);
    let server = Server::start(move |asked| {
        let body = match asked.path.as_str() {
            "/small" => &small,
            "/cut" => &cut,
            _ => &bomb,
        };
        Some(answer("200 OK", &[("content-encoding", "gzip")], body))
    })
    .await;
    let limit = "max_bytes = 1000000";
    let mut small = http(&format!("{}/small", server.base), limit);
    assert_eq!(documents(small.next().await.unwrap()), ["[1]"]);
    let mut bomb = http(&format!("{}/bomb", server.base), limit);
    check_error(bomb.next().await, |it| {
        matches!(it, SourceError::TooLarge { limit: 1_000_000 })
    });
    let mut cut = http(&format!("{}/cut", server.base), limit);
    check_error(cut.next().await, |it| matches!(it, SourceError::Http(_)));
}

#[tokio::test]
async fn a_publisher_that_never_answers_is_given_up() {
    let server = Server::start(|_| None).await;
    let mut http = http(&server.base, "timeout = \"100ms\"");
    check_error(http.next().await, |it| {
        matches!(it, SourceError::TimedOut(_))
    });
}

#[tokio::test]
async fn a_publisher_that_asks_to_wait_is_left_alone_even_by_a_catch_up() {
    let server = Server::start(|_| {
        Some(answer(
            "429 Too Many Requests",
            &[("retry-after", "600")],
            b"",
        ))
    })
    .await;
    let mut http = http(&server.base, "");
    check_error(http.next().await, |it| {
        matches!(it, SourceError::Throttled { .. })
    });
    http.catch_up().ask();
    let again = tokio::time::timeout(Duration::from_millis(300), http.next()).await;
    assert!(again.is_err(), "asked again");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn max_age_is_a_lower_bound_of_the_interval() {
    let server =
        Server::start(|_| Some(answer("200 OK", &[("cache-control", "max-age=300")], b"[]"))).await;
    let mut http = http(&server.base, "");
    http.next().await.unwrap();
    http.settle(STORED);
    let again = tokio::time::timeout(Duration::from_millis(300), http.next()).await;
    assert!(
        again.is_err(),
        "polled again although nothing changes for 300 s"
    );
}

#[tokio::test]
async fn a_catch_up_asks_for_the_whole_document_although_nothing_is_due() {
    let server = Server::start(|_| {
        Some(answer(
            "200 OK",
            &[("etag", "\"e\""), ("cache-control", "max-age=300")],
            b"[1]",
        ))
    })
    .await;
    let mut http = http(&server.base, "");
    http.next().await.unwrap();
    http.settle(STORED);
    http.catch_up().ask();
    assert_eq!(documents(http.next().await.unwrap()), ["[1]"]);
    assert!(!server.asked()[1].headers.contains_key("if-none-match"));
}

/// `/3` redirects to `/2`, that to `/1`, that to `/0`, which answers.
fn hops(asked: &Asked, status: &str) -> Vec<u8> {
    match asked.path[1..].parse::<u32>().unwrap() {
        0 => ok(b"[0]"),
        n => answer(status, &[("location", &format!("/{}", n - 1))], b""),
    }
}

#[tokio::test]
async fn five_redirects_are_followed_and_six_are_not() {
    let server = Server::start(|asked| Some(hops(asked, "302 Found"))).await;
    let mut five = http(&format!("{}/5", server.base), "");
    assert_eq!(documents(five.next().await.unwrap()), ["[0]"]);
    let mut six = http(&format!("{}/6", server.base), "");
    check_error(six.next().await, |it| matches!(it, SourceError::Redirect));
}

#[tokio::test]
async fn a_permanent_redirect_is_remembered_and_a_temporary_one_is_not() {
    for (status, expected) in [
        ("308 Permanent Redirect", "/0"),
        ("307 Temporary Redirect", "/1"),
    ] {
        let server = Server::start(move |asked| Some(hops(asked, status))).await;
        let mut http = http(&format!("{}/1", server.base), "");
        http.next().await.unwrap();
        http.settle(STORED);
        http.next().await.unwrap();
        assert_eq!(server.asked()[2].path, expected, "{status}");
    }
}

#[tokio::test]
async fn a_token_is_not_shown_to_another_origin_nor_in_an_error() {
    let other = Server::start(|_| Some(answer("500 Internal Server Error", &[], b""))).await;
    let target = format!("{}/else", other.base);
    let server =
        Server::start(move |_| Some(answer("302 Found", &[("location", &target)], b""))).await;
    let more = "headers = { Authorization = \"Bearer s3cret\" }";
    let mut http = http(&format!("{}/?key=s3cret", server.base), more);
    let error = http.next().await.unwrap_err();
    assert_eq!(server.asked()[0].headers["authorization"], "Bearer s3cret");
    assert!(!other.asked()[0].headers.contains_key("authorization"));
    assert!(
        !format!("{error:?} {error}").contains("s3cret"),
        "{error:?}"
    );
    assert!(!format!("{http:?}").contains("s3cret"), "{http:?}");
    drop((server, other));
    let error = http.next().await.unwrap_err();
    assert!(
        !format!("{error:?} {error}").contains("s3cret"),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_address_of_this_machine_is_refused_unless_it_is_meant() {
    install_tls();
    let server = Server::start(|_| Some(ok(b"[]"))).await;
    let InputConfig::Http(mut input) = config(&server.base, "").input.remove(0) else {
        panic!("not polled")
    };
    input.allow_private = false;
    let mut http = Http::new(&input, "fanfare/0", Cursor::start("c")).unwrap();
    check_error(http.next().await, |it| {
        matches!(it, SourceError::Private { .. })
    });
    assert!(server.asked().is_empty());
}

/// Pages of a list, each with its own validator, linked as GitHub links them.
async fn paged(pages: Vec<Value>) -> Server {
    let bodies: Vec<Vec<u8>> = pages
        .iter()
        .map(|it| serde_json::to_vec(it).unwrap())
        .collect();
    Server::start(move |asked| {
        let n: usize = asked
            .path
            .split("page=")
            .nth(1)
            .map_or(1, |it| it.parse().unwrap());
        let tag = format!("\"{n}\"");
        if asked.headers.get("if-none-match") == Some(&tag) {
            return Some(answer("304 Not Modified", &[("etag", &tag)], b""));
        }
        let rel = if n < bodies.len() { "next" } else { "last" };
        let link = format!(
            "</all?page=1>; rel=\"first\", </other?page={}>; rel=\"{rel}\"",
            n + 1
        );
        Some(answer(
            "200 OK",
            &[("etag", &tag), ("link", &link)],
            &bodies[n - 1],
        ))
    })
    .await
}

async fn check_pages(pages: Vec<Value>, expected: usize) {
    let n_pages = pages.len();
    let server = paged(pages).await;
    let address = format!("{}/repos/a/issues", server.base);
    let mapping = Mapping::compile(&config(&address, "")).unwrap();
    let mut http = http(&address, "");
    let batch = http.next().await.unwrap();
    let items = documents(batch)
        .iter()
        .map(|it| {
            mapping
                .observe_document(0, it.as_bytes())
                .unwrap()
                .observations
                .len()
        })
        .sum::<usize>();
    assert_eq!(items, expected);
    http.settle(STORED);
    assert_eq!(http.next().await.unwrap().payload, Payload::NotModified);
    assert_eq!(
        server.asked().len(),
        2 * n_pages,
        "each page has its own validator"
    );
}

#[tokio::test]
async fn the_recorded_pages_of_a_repository_hold_13_issues() {
    let Some(path) = support::recorded("github-api/paginate-issues.raw-fixture.json") else {
        return;
    };
    let exchanges: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let pages = exchanges.into_iter().filter(|it| it["method"] == "get");
    let pages: Vec<Value> = pages.map(|mut it| it["response"].take()).collect();
    assert_eq!(pages.len(), 5);
    check_pages(pages, 13).await;
}

#[tokio::test]
async fn own_pages_are_followed_to_their_end_and_no_further() {
    check_pages(
        vec![json!([{"id": 1}, {"id": 2}]), json!([{"id": 3}]), json!([])],
        3,
    )
    .await;
}

#[tokio::test]
async fn a_page_that_fails_fails_the_poll_and_a_circle_ends() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/circle" => Some(answer("200 OK", &[("link", "</circle>; rel=next")], b"[1]")),
        "/broken" => Some(answer("200 OK", &[("link", "</gone>; rel=next")], b"[1]")),
        _ => Some(answer("500 Internal Server Error", &[], b"")),
    })
    .await;
    let mut circle = http(&format!("{}/circle", server.base), "");
    assert_eq!(documents(circle.next().await.unwrap()), ["[1]"]);
    let mut broken = http(&format!("{}/broken", server.base), "");
    check_error(broken.next().await, |it| {
        matches!(it, SourceError::Status(_))
    });
}

#[tokio::test]
async fn since_is_the_last_complete_poll_minus_the_overlap() {
    let server = Server::start(|_| Some(ok(b"[1]"))).await;
    let mut http = http(
        &format!("{}/?since={{since}}", server.base),
        "overlap = \"1h\"",
    );
    for _ in 0..2 {
        http.next().await.unwrap();
        assert!(http.settle(STORED).is_some());
    }
    let since = |n: usize| -> jiff::Timestamp {
        server.asked()[n]
            .path
            .split("since=")
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    };
    let step = since(1).duration_since(since(0)).as_secs();
    assert!((23 * 3600 - 2..=23 * 3600 + 60).contains(&step), "{step}");
}
