//! Licences, sources and bans of everything in the default build, as cargo resolves it.

use std::process::Command;
use std::sync::LazyLock;

use fanfare_tests::workspace;
use serde_json::{Value, json};

use crate::text::check;

/// What may be used: each asks for no more than its own text.
const LICENCES: [&str; 6] = [
    "MIT",
    "Apache-2.0",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Zlib",
];

/// What must not be in the default build, and why.
const BANNED: [(&str, &str); 7] = [
    ("openssl-sys", "needs a system library"),
    ("openssl", "needs a system library"),
    ("native-tls", "is OpenSSL on Linux"),
    (
        "aws-lc-rs",
        "is a second TLS provider: it would panic at connect",
    ),
    ("aws-lc-sys", "is a second TLS provider, built with cmake"),
    ("rsa", "has RUSTSEC-2023-0071 open"),
    ("libssh2-sys", "needs a system library"),
];

/// The one crypto library.
const REQUIRED: &str = "ring";

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The default build for this platform. Its packages were downloaded to build this test, so the
/// network is not asked.
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host
        .lines()
        .find_map(|it| it.strip_prefix("host: "))
        .unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", host])
        .current_dir(workspace::root())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {told}");
    serde_json::from_slice(&output.stdout).unwrap()
});

fn packages(metadata: &Value) -> &Vec<Value> {
    metadata["packages"].as_array().unwrap()
}

fn licences(metadata: &Value) -> Vec<String> {
    let is_fine = |it: &&Value| it["license"].as_str().is_some_and(is_allowed);
    let problem = |it: &Value| format!("{}: licence {}", it["name"], it["license"]);
    packages(metadata)
        .iter()
        .filter(|it| !is_fine(it))
        .map(problem)
        .collect()
}

/// Whether an SPDX expression can be met with [`LICENCES`] alone; `/` is an old way to write OR.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (is_met, rest) = either(&words);
    is_met && rest.is_empty()
}

fn either<'a>(words: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    let (mut is_met, mut rest) = both(words);
    while let ["OR", more @ ..] = rest {
        let (is_other_met, after) = both(more);
        (is_met, rest) = (is_met || is_other_met, after);
    }
    (is_met, rest)
}

fn both<'a>(words: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    let (mut is_met, mut rest) = single(words);
    while let ["AND", more @ ..] = rest {
        let (is_other_met, after) = single(more);
        (is_met, rest) = (is_met && is_other_met, after);
    }
    (is_met, rest)
}

fn single<'a>(words: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inner @ ..] => match either(inner) {
            (is_met, [")", rest @ ..]) => (is_met, rest),
            (_, rest) => (false, rest),
        },
        // An exception allows more than the licence does.
        [licence, "WITH", _, rest @ ..] | [licence, rest @ ..] => {
            (LICENCES.contains(licence), rest)
        }
        [] => (false, &[]),
    }
}

fn bans(metadata: &Value) -> Vec<String> {
    let has = |name: &str| packages(metadata).iter().any(|it| it["name"] == name);
    let banned = BANNED.iter().filter(|(name, _)| has(name));
    let mut problems: Vec<_> = banned.map(|(name, why)| format!("{name} {why}")).collect();
    if !has(REQUIRED) {
        problems.push(format!("{REQUIRED} is missing"));
    }
    problems
}

fn foreign(metadata: &Value) -> Vec<String> {
    let is_fine = |it: &&Value| match it["source"].as_str() {
        None => it["name"]
            .as_str()
            .is_some_and(|it| it.starts_with("fanfare")),
        Some(source) => source == CRATES_IO,
    };
    let problem = |it: &Value| format!("{} is from {}", it["name"], it["source"]);
    packages(metadata)
        .iter()
        .filter(|it| !is_fine(it))
        .map(problem)
        .collect()
}

/// `cargo run -- up` works from the root because there is one executable.
fn executables(metadata: &Value) -> Vec<String> {
    let ours = packages(metadata)
        .iter()
        .filter(|it| it["source"].is_null());
    let targets = ours.flat_map(|it| it["targets"].as_array().unwrap());
    let is_bin = |it: &&Value| it["kind"][0] == "bin";
    let names: Vec<String> = targets
        .filter(is_bin)
        .map(|it| it["name"].to_string())
        .collect();
    if names == ["\"fanfare\""] {
        Vec::new()
    } else {
        vec![format!("executables: {names:?}")]
    }
}

#[test]
fn every_licence_of_the_default_build_is_permissive() {
    check(licences(&METADATA));
}

#[test]
fn there_is_one_crypto_library_and_nothing_that_was_banned() {
    check(bans(&METADATA));
}

#[test]
fn everything_comes_from_crates_io_or_from_here() {
    check(foreign(&METADATA));
}

#[test]
fn there_is_one_executable() {
    check(executables(&METADATA));
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        (
            "(GPL-3.0 OR Apache-2.0 WITH LLVM-exception) AND Unicode-3.0",
            true,
        ),
        ("MIT AND GPL-3.0", false),
        ("(MIT AND GPL-3.0) OR AGPL-3.0", false),
        ("MPL-2.0", false),
        ("", false),
        ("(MIT", false),
    ] {
        assert_eq!(is_allowed(expression), expected, "{expression}");
    }
}

#[test]
fn a_bad_package_is_seen() {
    let bad = json!({"packages": [
        {"name": "rsa", "license": "MPL-2.0", "source": "git+https://example.org/rsa",
         "targets": []},
        {"name": "fanfare", "license": null, "source": null,
         "targets": [{"name": "fanfare", "kind": ["bin"]}, {"name": "two", "kind": ["bin"]}]},
    ]});
    assert_eq!(licences(&bad).len(), 2);
    assert_eq!(
        bans(&bad),
        [format!("rsa {}", BANNED[5].1), "ring is missing".to_owned()]
    );
    assert_eq!(foreign(&bad).len(), 1);
    assert_eq!(executables(&bad).len(), 1);
}
