//! Names: of folders at the top level, of types, of metrics in documents.

use std::collections::BTreeSet;
use std::fs;

use fanfare_tests::workspace;

use crate::text::{File, check, everything, one, rust};

/// Folders of the tree, each with one purpose; hidden ones and build output do not count.
const FOLDERS: [&str; 10] = [
    "api", "benches", "cli", "deploy", "docs", "fetcher", "nats", "notifier", "sim", "tests",
];

/// Words that say nothing about what a type is for.
const EMPTY_WORDS: [&str; 6] = ["Manager", "Handler", "Util", "Utils", "Helper", "Common"];

/// Types that may have such a word in their name, and why.
const MEANT: &[(&str, &str)] = &[("Common", "cli: the flags that all commands have in common")];

/// Words that begin like a metric and are something else.
const NO_METRICS: [&str; 13] = [
    "fanfare_api",
    "fanfare_challenge",
    "fanfare_control",
    "fanfare_devices",
    "fanfare_event",
    "fanfare_fetcher",
    "fanfare_idempotency",
    "fanfare_keys",
    "fanfare_level",
    "fanfare_nats",
    "fanfare_notifier",
    "fanfare_screen",
    "fanfare_url",
];

fn folders(found: &[String]) -> Vec<String> {
    let is_new = |it: &&String| !FOLDERS.contains(&it.as_str());
    found
        .iter()
        .filter(is_new)
        .map(|it| format!("no such folder in the tree: {it}"))
        .collect()
}

fn types(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        for (n, line) in file.code() {
            let Some(name) = declared(line) else { continue };
            let is_empty = EMPTY_WORDS
                .iter()
                .any(|it| name.starts_with(it) || name.ends_with(it));
            if is_empty && !MEANT.iter().any(|(meant, _)| *meant == name) {
                problems.push(format!(
                    "{}:{n}: {name} does not say what it is for",
                    file.path
                ));
            }
        }
    }
    problems
}

/// The name of the type or trait that is declared in this line.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.split(|it: char| !(it.is_alphanumeric() || it == '_'));
    words
        .by_ref()
        .find(|it| matches!(*it, "struct" | "enum" | "trait" | "type" | "union"))?;
    words
        .next()
        .filter(|it| it.chars().next().is_some_and(char::is_uppercase))
}

/// Names that begin like metrics, in documents, and that no process has.
fn metrics(documents: &[File], table: &File) -> Vec<String> {
    let known: BTreeSet<&str> = words(&table.text)
        .into_iter()
        .filter(|it| !NO_METRICS.contains(it))
        .collect();
    let mut problems = Vec::new();
    for file in documents.iter().filter(|it| it.path != table.path) {
        for word in words(&file.text) {
            // Histograms have series of their own.
            let parts = ["_bucket", "_sum", "_count"];
            let base = parts
                .iter()
                .find_map(|it| word.strip_suffix(it))
                .unwrap_or(word);
            let is_crate = NO_METRICS.contains(&word);
            if !is_crate && !known.contains(word) && !known.contains(base) {
                problems.push(format!("{}: {word} is not in {}", file.path, table.path));
            }
        }
    }
    problems
}

fn words(text: &str) -> BTreeSet<&str> {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let words = text.split(|it| !is_part(it));
    words
        .filter(|it| it.starts_with("fanfare_") && it.len() > 8)
        .collect()
}

#[test]
fn the_top_level_holds_the_folders_of_the_tree() {
    let entries = fs::read_dir(workspace::root()).unwrap().map(Result::unwrap);
    let is_folder = |it: &fs::DirEntry| it.path().is_dir();
    let names = entries
        .filter(is_folder)
        .map(|it| it.file_name().to_string_lossy().into_owned());
    // A folder without sources is somebody's output.
    let is_ours = |it: &String| !workspace::files(it, &[".rs"]).is_empty();
    let is_seen = |it: &String| !it.starts_with('.') && it != "target";
    let found: Vec<String> = names.filter(|it| is_seen(it) && is_ours(it)).collect();
    assert!(found.len() >= 7, "{found:?}");
    check(folders(&found));
}

#[test]
fn types_say_what_they_are_for() {
    check(types(&rust()));
}

#[test]
fn metrics_in_documents_exist() {
    let mut documents = everything();
    let is_document = |it: &File| {
        it.path.starts_with("docs/") || it.path.starts_with("deploy/") || it.has_ending("md")
    };
    documents.retain(is_document);
    check(metrics(&documents, &one("docs/metrics.md")));
}

#[test]
fn bad_names_are_seen() {
    assert_eq!(folders(&["common".to_owned(), "api".to_owned()]).len(), 1);
    let bad = ["struct Lane", "trait ", "impl "].map(|it| format!("{it}{} {{\n", EMPTY_WORDS[0]));
    assert_eq!(
        types(&[File::made_up("a.rs", &(bad.concat() + "enum Handled {}\n"))]).len(),
        2
    );
    let table = File::made_up("docs/metrics.md", "| `fanfare_a_total` | counter |");
    let document = File::made_up(
        "docs/a.md",
        "fanfare_a_total fanfare_b_total fanfare_a_total_bucket",
    );
    assert_eq!(metrics(&[document], &table).len(), 1);
}
