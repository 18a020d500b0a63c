//! The shipped examples of `docs/sources` compile and are valid as they stand.

#![expect(clippy::unwrap_used, reason = "support code of tests")]

use fanfare_fetcher::{Config, trial_of_bytes};

fn examples() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/sources");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "toml"))
        .map(|it| {
            (
                it.display().to_string(),
                std::fs::read_to_string(&it).unwrap(),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn every_shipped_example_is_valid() {
    let examples = examples();
    assert!(examples.len() >= 8, "only {} examples", examples.len());
    for (path, text) in examples {
        let mut config: Config =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        config.fetcher.contact = Some("ops@example.org".to_owned());
        assert_eq!(config.resolve_secrets(&|_| Some("secret".to_owned())), []);
        assert_eq!(config.validate(), [], "{path}");
    }
}

#[test]
fn all_problems_are_told_at_once_with_their_keys() {
    let text = r#"
        [[source]]
        name = "Bad Name"
        fresh_for = "30d"
        expires_in = "48h"
        id = "{{ item.id"
        topics = []
        title = "{{ item.title }}"
        when = "item.a =="
        level = { levels = [], of = "{{ item.n }}" }
        [[source.input]]
        http = "ftp://example.org/feed"
        every = "10ms"
        items = "$.features["
        [[source.input]]
        websocket = "ws://127.0.0.1:1/"
        headers = { "bad header" = "x" }

        [[source]]
        name = "api"
        id = "x"
        topics = ["t"]
        title = "x"
        [[source.input]]
        http = "https://example.org/feed"
    "#;
    let config: Config = toml::from_str(text).unwrap();
    let keys: Vec<String> = config.validate().into_iter().map(|it| it.key).collect();
    for key in [
        "source[0].name",
        "source[0].fresh_for",
        "source[0].expires_in",
        "source[0].id",
        "source[0].topics",
        "source[0].when",
        "source[0].level.levels",
        "source[0].input[0].http",
        "source[0].input[0].every",
        "source[0].input[0].items",
        "source[0].input[1].websocket",
        "source[0].input[1].headers.bad header",
        "source[1].name",
        "fetcher.contact",
    ] {
        assert!(
            keys.iter().any(|it| it == key),
            "{key} is missing in {keys:?}"
        );
    }
}

/// A source that says `more`, and topic tables.
fn policies(more: &str, topics: &str) -> Config {
    let source = "[[source]]\nname='s'\nid='{{ item.id }}'\ntopics=['a.b', 'c']\ntitle='x'\n\
                  INPUT[[source.input]]\nhttp='https://example.org'\nitems='$[*]'\n";
    let text = format!("{}{topics}", source.replace("INPUT", more));
    let mut config: Config = toml::from_str(&text).unwrap();
    config.fetcher.contact = Some("ops@example.org".to_owned());
    config
}

#[test]
fn a_source_wins_over_a_topic_and_a_topic_over_the_default() {
    let topics = "[[topic]]\npattern='a.>'\npriority='bulk'\nexpires_in='1h'\n\
                  retries={attempts=3}\n[[topic]]\npattern='c'\nexpires_in='2h'\n";
    let config = policies("expires_in='3h'\n", topics);
    assert_eq!(config.validate(), []);
    let now = "2026-03-01T12:30:00Z".parse().unwrap();
    let trial = trial_of_bytes(&config, "s", br#"[{"id": "1"}]"#, now).unwrap();
    let event = trial.rows[0].event.as_ref().unwrap();
    assert_eq!(event.urgency.as_str(), "bulk");
    assert_eq!(event.retry.attempts(), Some(3));
    assert_eq!(event.expires_at.to_string(), "2026-03-01T15:30:00Z");
    assert!(
        trial
            .to_string()
            .contains("delivery  bulk, at_least_once, expires in 3h, at most 3 attempts"),
        "{trial}"
    );
    let config = policies("", topics);
    let trial = trial_of_bytes(&config, "s", br#"[{"id": "1"}]"#, now).unwrap();
    // Both match; `c` and `a.>` have one plain segment each, and `a.>` stands first.
    let event = trial.rows[0].event.as_ref().unwrap();
    assert_eq!(event.expires_at.to_string(), "2026-03-01T13:30:00Z");
}

#[test]
fn an_item_that_is_delivered_otherwise_says_so() {
    let priority = "priority=\"{{ item.p if item.p is defined else 'urgent' }}\"\n";
    let config = policies(priority, "");
    let document = br#"[{"id": "1"}, {"id": "2"}, {"id": "3", "p": "bulk"}]"#;
    let now = "2026-03-01T12:30:00Z".parse().unwrap();
    let shown = trial_of_bytes(&config, "s", document, now)
        .unwrap()
        .to_string();
    assert_eq!(shown.matches("delivered bulk").count(), 1, "{shown}");
    assert_eq!(shown.matches("delivery  urgent").count(), 1, "{shown}");
}

#[test]
fn a_policy_that_cannot_be_is_named_with_its_key() {
    #[track_caller]
    fn check(more: &str, topics: &str, expected: &[&str]) {
        let problems = policies(more, topics).validate();
        let keys: Vec<_> = problems.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, expected, "{problems:?}");
    }
    check(
        "retries={attempts=0}\n",
        "",
        &["source[0].retries.attempts"],
    );
    check("retries={first='20m'}\n", "", &["source[0].retries.first"]);
    check(
        "retries={longest='25h'}\n",
        "",
        &["source[0].retries.longest"],
    );
    check("expires_in='0s'\n", "", &["source[0].expires_in"]);
    check(
        "",
        "[[topic]]\npattern='a.>.b'\npriority='bulk'\n",
        &["topic[0].pattern"],
    );
    check(
        "",
        "[[topic]]\npattern='fanfare.>'\npriority='bulk'\n",
        &["topic[0].pattern"],
    );
    check("", "[[topic]]\npattern='a'\n", &["topic[0]"]);
    let twice = "[[topic]]\npattern='a'\npriority='bulk'\n".repeat(2);
    check("", &twice, &["topic[1].pattern"]);
    check(
        "",
        "[[topic]]\npattern='a'\nretries={first='1ms'}\n",
        &["topic[0].retries.first"],
    );
}

#[test]
fn an_unknown_key_is_named() {
    for (text, expected) in [
        ("[[source]]\nname = \"a\"\nidd = \"x\"", "idd"),
        (
            "[[source]]\nname='a'\nid='x'\ntopics=['t']\ntitle='x'\n[[source.input]]\nhttp='https://x.org'\nevry='1s'",
            "evry",
        ),
        (
            "[[source]]\nname='a'\nid='x'\ntopics=['t']\ntitle='x'\n[[source.input]]\nhttp='https://x.org'\nping='x'",
            "ping",
        ),
        (
            "[[source]]\nname='a'\nid='x'\ntopics=['t']\ntitle='x'\nlevel={ levls=[1] }\ninput=[]",
            "levels = [4.5, 6.0]",
        ),
    ] {
        let error = toml::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

/// The first block of a language in a page.
fn block(page: &str, language: &str) -> String {
    let start = format!("```{language}\n");
    let after = page.split_once(&start).unwrap().1;
    after.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_page_about_your_own_feed_shows_what_really_happens() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/your-own-feed.md");
    let page = std::fs::read_to_string(page).unwrap();
    let config: Config = toml::from_str(&block(&page, "toml")).unwrap();
    assert_eq!(config.validate(), []);
    let document = block(&page, "json");
    let now = "2026-03-01T12:30:00Z".parse().unwrap();
    let trial = trial_of_bytes(&config, "bridges", document.as_bytes(), now).unwrap();
    let shown = trial.to_string();
    let (row, _) = shown.split_once("\n1 items").unwrap();
    assert!(page.contains(row), "{shown}");
    assert_eq!(trial.n_events(), 1);
}

#[test]
fn a_trial_shows_each_item_with_its_verdict() {
    let config: Config = toml::from_str(
        "[[source]]\nname = \"s\"\nid = \"{{ item.id }}\"\ntime = \"{{ item.at }}\"\ntopics = [\"t\"]\ntitle = \"{{ item.id }}\"\nwhen = \"item.id != 'no'\"\nlevel = { levels = [2], of = \"{{ item.n }}\" }\n[[source.input]]\nhttp = \"https://example.org\"\nitems = \"$[*]\"",
    )
    .unwrap();
    let document = r#"[
        {"id": "news", "at": "2026-03-01", "n": 2},
        {"id": "news", "at": "2026-03-01", "n": 3},
        {"id": "low", "at": "2026-03-01", "n": 1},
        {"id": "old", "at": "2026-02-01", "n": 2},
        {"id": "odd", "at": "someday", "n": 2},
        {"id": "no"}
    ]"#;
    let now = "2026-03-01T12:30:00Z".parse().unwrap();
    let trial = trial_of_bytes(&config, "s", document.as_bytes(), now).unwrap();
    assert_eq!(
        (trial.rows.len(), trial.n_events(), trial.n_left_out),
        (4, 1, 1)
    );
    let shown = trial.to_string();
    for expected in [
        "event   news  level s2  topics t",
        "silent  low  (below all levels)",
        "silent  old  (older than fresh_for)",
        "reject  odd  (time: time: is no time that can be read)",
        "6 items: 1 events, 2 silent, 1 left out, 1 rejected",
    ] {
        assert!(
            shown.contains(expected),
            "{expected} is missing in:\n{shown}"
        );
    }
    assert!(trial_of_bytes(&config, "s", &document.as_bytes()[..50], now).is_err());
}

#[test]
fn an_exclusive_source_says_what_a_take_over_costs_it() {
    let source = |mode: &str, input: &str| {
        let text = format!(
            "[[source]]\nname = \"s\"\nmode = \"{mode}\"\nid = \"x\"\ntime = \"x\"\ntopics = [\"t\"]\n\
             title = \"x\"\n[[source.input]]\n{input}\nallow_private = true\n"
        );
        let config: Config = toml::from_str(&text).unwrap();
        assert_eq!(config.validate(), []);
        let notes = config.notes().into_iter().map(|it| it.to_string());
        notes.collect::<Vec<_>>()
    };
    let polled = "http = \"http://127.0.0.1:1/\"\nitems = \"$[*]\"";
    let socket = "websocket = \"ws://127.0.0.1:1/\"";
    assert_eq!(source("shared", socket), Vec::<String>::new());
    let [note] = source("exclusive", polled).try_into().unwrap();
    assert!(
        note.contains("16 to 21 s") && note.contains("is polled then"),
        "{note}"
    );
    let [note] = source("exclusive", socket).try_into().unwrap();
    assert!(note.contains("is not seen"), "{note}");
    assert!(toml::from_str::<Config>("[[source]]\nmode = \"x\"").is_err());
}
