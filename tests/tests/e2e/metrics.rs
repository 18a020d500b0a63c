//! What the processes count is what the documentation lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fanfare_tests::{Pipeline, Setup, eventually, workspace};

const TABLE: &str = "docs/metrics.md";

/// Name and kind of each metric, as a scrape shows them.
fn scraped(text: &str) -> BTreeMap<String, String> {
    let kinds = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    kinds
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// The same from the table: `| name | kind | … |`, counters with their `_total`.
fn documented(text: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        let kind = cells.next()?;
        let name = if kind == "counter" {
            name.strip_suffix("_total")?
        } else {
            name
        };
        Some((name.to_owned(), kind.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_stands_at_zero_from_the_start_and_in_the_documentation() {
    let pipeline = Pipeline::start(Setup::default()).await;
    let mut found = BTreeMap::new();
    for role in ["fetcher", "notifier", "api"] {
        let process = pipeline.role(role, role).await;
        if role == "fetcher" {
            eventually("its source has begun", async || {
                let n = process.metric("fanfare_source_polls_total").await;
                if n > 0.0 { Ok(()) } else { Err("not yet") }
            })
            .await;
        }
        found.extend(scraped(&process.metrics().await));
        process.drain(&[]).await;
    }
    let names: BTreeSet<&String> = found.keys().collect();
    for name in &names {
        assert!(name.starts_with("fanfare_"), "{name} lacks the prefix");
        assert!(
            !name.starts_with("fanfare_fanfare_"),
            "{name} has the prefix twice"
        );
    }
    let documented = documented(&workspace::read(Path::new(TABLE)));
    assert_eq!(found, documented, "{TABLE} and the processes differ");
}
