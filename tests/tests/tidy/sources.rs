//! The shape of source files.

use crate::text::{File, check, everything, rust};

const MOST_LINES: usize = 400;

/// Longer files, each with the reason why it is one.
const LONG: &[(&str, &str)] = &[
    (
        "sim/src/sim.rs",
        "one handle with everything a test steers, each a few lines",
    ),
    (
        "sim/src/wire/serve.rs",
        "one request's way through a double, fault by fault",
    ),
    (
        "notifier/src/provider/fcm/classify.rs",
        "one table, most of it tests",
    ),
    (
        "fetcher/tests/with_broker.rs",
        "one suite around one broker",
    ),
    (
        "notifier/tests/provider_suite/pool.rs",
        "one suite about one pool",
    ),
    ("fetcher/tests/http_input.rs", "one suite about one input"),
];

/// Marks of what is not done, in two parts so that this file passes.
const MARKS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("unimple", "mented!"),
];

fn unfinished(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        for (n, line) in file.text.lines().enumerate() {
            let has_mark = MARKS.iter().any(|it| crate::text::has_word(line, it));
            let is_left_out = line.trim_start().starts_with(concat!("#[ig", "nore"));
            if has_mark || is_left_out {
                problems.push(format!("{}:{}: {}", file.path, n + 1, line.trim()));
            }
        }
    }
    problems
}

/// Every module says at its head what it is for.
fn heads(files: &[File]) -> Vec<String> {
    let is_told = |it: &&File| it.text.starts_with("//! ");
    let without = files.iter().filter(|it| !is_told(it));
    without
        .map(|it| format!("{} does not begin with what it is for (//!)", it.path))
        .collect()
}

fn lengths(files: &[File]) -> Vec<String> {
    let is_listed = |it: &File| LONG.iter().any(|(path, _)| *path == it.path);
    let too_long = files
        .iter()
        .filter(|it| it.text.lines().count() > MOST_LINES && !is_listed(it));
    too_long
        .map(|it| format!("{}: {} lines: split it", it.path, it.text.lines().count()))
        .collect()
}

/// The list of long files names files that exist.
fn stale(files: &[File]) -> Vec<String> {
    let exists = |path: &str| files.iter().any(|it| it.path == path);
    let gone = LONG.iter().filter(|(path, _)| !exists(path));
    gone.map(|(path, _)| format!("{path} is listed as long and is not there"))
        .collect()
}

#[test]
fn nothing_is_marked_as_unfinished_and_no_test_is_left_out() {
    let mut files = everything();
    files.retain(|it| it.path != "Cargo.lock" && !it.has_ending("csv"));
    check(unfinished(&files));
}

#[test]
fn every_module_begins_with_what_it_is_for() {
    check(heads(&rust()));
}

#[test]
fn long_files_have_a_reason() {
    check(lengths(&rust()));
    check(stale(&rust()));
}

#[test]
fn bad_sources_are_seen() {
    let text = format!(
        "// {}: later\n{}]\nfn a() {{}}\n",
        MARKS[0],
        concat!("#[ig", "nore")
    );
    let bad = [File::made_up("a/src/b.rs", &text)];
    assert_eq!(unfinished(&bad).len(), 2);
    assert_eq!(heads(&bad).len(), 1);
    assert_eq!(
        lengths(&[File::made_up("a.rs", &"\n".repeat(MOST_LINES + 1))]).len(),
        1
    );
    assert_eq!(stale(&bad).len(), LONG.len());
}
