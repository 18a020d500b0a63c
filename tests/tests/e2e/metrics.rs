//! What the processes count is what the documentation lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fanfare_tests::{Pipeline, Setup, eventually, workspace};

const TABLE: &str = "docs/metrics.md";

/// A row of the table for each metric of a scrape.
fn scraped(text: &str) -> BTreeSet<String> {
    let pairs = |mark: &str| -> BTreeMap<String, String> {
        let pair = |line: &str| {
            let (name, rest) = line.strip_prefix(mark)?.split_once(' ')?;
            Some((name.to_owned(), rest.to_owned()))
        };
        text.lines().filter_map(pair).collect()
    };
    let (kinds, helps) = (pairs("# TYPE "), pairs("# HELP "));
    let row = |(name, kind): (&String, &String)| {
        let total = if kind == "counter" { "_total" } else { "" };
        format!(
            "| `{name}{total}` | {kind} | {} |",
            helps[name].trim_end_matches('.')
        )
    };
    kinds.iter().map(row).collect()
}

fn documented(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|it| it.starts_with("| `"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_stands_there_from_the_start_and_in_the_documentation() {
    let pipeline = Pipeline::start(Setup::default()).await;
    let mut found = BTreeSet::new();
    for role in ["fetcher", "notifier", "api"] {
        let process = pipeline.role(role, role).await;
        if role == "fetcher" {
            eventually("its source has begun", async || {
                let n = process.metric("fanfare_source_polls_total").await;
                if n > 0.0 {
                    Ok(())
                } else {
                    Err(process.metrics().await)
                }
            })
            .await;
        }
        found.extend(scraped(&process.metrics().await));
        process.drain(&[]).await;
    }
    for row in &found {
        let name = row.trim_start_matches("| `");
        assert!(name.starts_with("fanfare_"), "{row}");
        assert!(!name.starts_with("fanfare_fanfare_"), "{row}");
    }
    let documented = documented(&workspace::read(Path::new(TABLE)));
    let rows = found.iter().cloned().collect::<Vec<_>>().join("\n");
    assert!(
        found == documented,
        "{TABLE} differs from the processes, whose rows are:\n{rows}"
    );
}
