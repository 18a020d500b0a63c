//! What a part of the tree must not know, as words that must not stand in its code.

use crate::text::{File, check, has_word, rust};

/// A rule: in code below `within`, except below `but_not`, none of `words`.
struct Rule {
    within: &'static [&'static str],
    but_not: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

/// What makes a module anything but a decision over values.
const EFFECTS: &[&str] = &[
    "async",
    "await",
    "tokio",
    "spawn",
    "clock",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
];

const RULES: &[Rule] = &[
    Rule {
        within: &[""],
        but_not: &["nats/", "tests/"],
        words: &["async_nats"],
        why: "types of the broker's client end in the crate nats",
    },
    Rule {
        within: &["sim/"],
        but_not: &[],
        words: &[
            "fanfare_nats",
            "fanfare_notifier",
            "fanfare_fetcher",
            "fanfare_api",
            "fanfare_nats_server",
        ],
        why: "both sides must not share a misreading",
    },
    Rule {
        within: &["nats/src/"],
        but_not: &[],
        words: &[
            "fanfare_notifier",
            "fanfare_fetcher",
            "fanfare_api",
            "fanfare_sim",
            "reqwest",
            "axum",
            "hyper",
            "signal",
            "apns",
            "fcm",
        ],
        why: "nats knows no HTTP, no providers, no signals, none of our other crates",
    },
    Rule {
        within: &["fetcher/src/"],
        but_not: &[],
        words: &[
            "fanfare_notifier",
            "fanfare_api",
            "Device",
            "DeviceId",
            "Receipt",
            "Receipts",
        ],
        why: "a fetcher knows no devices, tokens, tasks or receipts",
    },
    Rule {
        within: &["notifier/src/"],
        but_not: &[],
        words: &["fanfare_fetcher", "fanfare_api", "Cursor", "Baseline"],
        why: "a notifier knows no sources and cursors",
    },
    Rule {
        within: &["api/src/"],
        but_not: &[],
        words: &["fanfare_fetcher", "fanfare_notifier", "apns", "fcm"],
        why: "the API knows neither the other roles nor the protocols of providers",
    },
    Rule {
        within: &[
            "notifier/src/provider",
            "notifier/src/pool",
            "notifier/src/credential",
        ],
        but_not: &[],
        words: &["Claim", "Claims", "Receipt", "Receipts", "Broker", "Settle"],
        why: "a provider attempts one push; what follows is decided elsewhere",
    },
    Rule {
        within: &["notifier/src/provider/apns"],
        but_not: &[],
        words: &["super::fcm", "provider::fcm", "Fcm", "fcm_v1"],
        why: "providers do not know each other",
    },
    Rule {
        within: &["notifier/src/provider/fcm"],
        but_not: &[],
        // The word itself is a field of FCM's own message.
        words: &["super::apns", "provider::apns", "Apns", "a2"],
        why: "providers do not know each other",
    },
    Rule {
        within: &[
            "notifier/src/progress.rs",
            "notifier/src/outcome.rs",
            "notifier/src/hygiene.rs",
            "notifier/src/machine",
            "notifier/src/breaker.rs",
            "notifier/src/rate.rs",
            "notifier/src/share.rs",
            "notifier/src/ramp.rs",
            "notifier/src/provider/apns/encode.rs",
            "notifier/src/provider/apns/classify.rs",
            "notifier/src/provider/fcm/encode.rs",
            "notifier/src/provider/fcm/classify.rs",
        ],
        but_not: &["notifier/src/machine/simulation"], // It has a clock of its own.
        words: EFFECTS,
        why: "pure: it takes values and the time, and decides",
    },
    Rule {
        within: &[
            "nats/src/event.rs",
            "nats/src/topic.rs",
            "nats/src/device.rs",
            "nats/src/plan.rs",
            "nats/src/subject.rs",
            "nats/src/level.rs",
            "nats/src/hash.rs",
            "nats/src/receipt.rs",
            "nats/src/index.rs",
            "nats/src/index/",
        ],
        but_not: &[],
        words: EFFECTS,
        why: "pure: it takes values and the time, and decides",
    },
    Rule {
        within: &[
            "fetcher/src/decide.rs",
            "fetcher/src/level.rs",
            "fetcher/src/mapping/",
        ],
        but_not: &[],
        words: EFFECTS,
        why: "pure: it takes values and the time, and decides",
    },
];

/// Where a word is meant: `(path, word, why)`.
const MEANT: &[(&str, &str, &str)] = &[
    (
        "cli/src/telemetry.rs",
        "async_nats",
        "the name of a log target",
    ),
    (
        "notifier/src/breaker.rs",
        "tokio",
        "the type of a time that tests can pause",
    ),
    (
        "notifier/src/rate.rs",
        "tokio",
        "the type of a time that tests can pause",
    ),
    (
        "notifier/src/ramp.rs",
        "tokio",
        "the type of a time that tests can pause",
    ),
];

fn violations(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for rule in RULES {
        let starts = |path: &str, with: &[&str]| with.iter().any(|it| path.starts_with(it));
        let concerns =
            |it: &&File| starts(&it.path, rule.within) && !starts(&it.path, rule.but_not);
        for file in files.iter().filter(concerns) {
            for (n, line) in file.code_without_tests() {
                for word in rule.words.iter().filter(|it| has_word(line, it)) {
                    let is_meant = MEANT
                        .iter()
                        .any(|(path, meant, _)| file.path == *path && word == meant);
                    if !is_meant {
                        problems.push(format!("{}:{n}: `{word}`: {}", file.path, rule.why));
                    }
                }
            }
        }
    }
    problems
}

/// Every path of a rule leads somewhere: a renamed file must not slip out of its rule.
fn paths_without_files(files: &[File]) -> Vec<String> {
    let exists = |path: &str| files.iter().any(|it| it.path.starts_with(path));
    let paths = RULES
        .iter()
        .flat_map(|it| it.within.iter().chain(it.but_not));
    let paths = paths.chain(MEANT.iter().map(|(path, _, _)| path));
    paths
        .filter(|it| !exists(it))
        .map(|it| format!("no file begins with {it}"))
        .collect()
}

#[test]
fn each_part_knows_only_what_it_may() {
    let files = rust();
    check(paths_without_files(&files));
    check(violations(&files));
}

#[test]
fn forbidden_knowledge_is_seen_in_code_and_not_in_comments() {
    for (path, line, expected) in [
        ("api/src/a.rs", "use async_nats::Client;", 1),
        ("nats/src/a.rs", "use async_nats::Client;", 0),
        ("api/src/a.rs", "// not async_nats", 0),
        ("sim/src/a.rs", "use fanfare_nats::Event;", 1),
        ("sim/src/a.rs", "let key = \"fanfare_event\";", 0),
        ("notifier/src/provider/apns/x.rs", "use super::fcm;", 1),
        ("notifier/src/provider/log.rs", "use crate::Receipts;", 1),
        ("notifier/src/outcome.rs", "pub async fn next() {", 1),
        (
            "nats/src/index/trie.rs",
            "tokio::task::yield_now().await;",
            2,
        ),
        ("fetcher/src/source.rs", "fn a(device: Device) {", 1),
    ] {
        let found = violations(&[File::made_up(path, line)]);
        assert_eq!(found.len(), expected, "{path}: {line}: {found:?}");
    }
    assert!(!paths_without_files(&[]).is_empty());
}
