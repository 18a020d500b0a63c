//! What the tests of this crate share. Each test binary uses its part of it.

#![expect(dead_code, reason = "each test binary uses its part")]

pub mod fetcher;
pub mod server;
pub mod socket;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use fanfare_fetcher::baseline::Baseline;
use fanfare_fetcher::decide::{Decision, Policy, decide};
use fanfare_fetcher::mapping::{DocumentError, Mapping, Observed};
use fanfare_fetcher::{Config, SourceConfig};
use jiff::Timestamp;

/// The one TLS provider, as `main` installs it.
pub fn install_tls() {
    // Another test of this process may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// A recorded feed, or `None` with a line that says so.
pub fn recorded(path: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    #[expect(
        clippy::disallowed_methods,
        reason = "the harness reads its own variable"
    )]
    let folder = std::env::var("FANFARE_FEEDS").unwrap_or_else(|_| beside.to_owned());
    let path = PathBuf::from(folder).join(path);
    if !path.exists() {
        println!("skipped: no recorded feeds");
        return None;
    }
    Some(path)
}

/// The files of a recorded folder, in order.
pub fn recorded_folder(path: &str) -> Vec<PathBuf> {
    let Some(folder) = recorded(path) else {
        return Vec::new();
    };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    files
}

/// The time in a file name such as `20250504T135257Z.json`.
pub fn time_of(path: &std::path::Path) -> Timestamp {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let civil: jiff::civil::DateTime = stem.trim_end_matches('Z').parse().unwrap();
    civil.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp()
}

/// A shipped example, as it stands in the documentation.
pub fn example(name: &str) -> SourceConfig {
    let path = format!("{}/../docs/sources/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    source(&std::fs::read_to_string(path).unwrap())
}

/// The first source of a configuration.
pub fn source(text: &str) -> SourceConfig {
    let config: Config = toml::from_str(text).unwrap();
    config.source.into_iter().next().unwrap()
}

/// A source whose past is played through the pure stations; a set stands for the stream.
pub struct Replay {
    source: SourceConfig,
    pub mapping: Arc<Mapping>,
    baseline: Option<Baseline>,
    stored: HashSet<String>,
}

impl Replay {
    pub fn new(source: SourceConfig) -> Self {
        let mapping = Arc::new(Mapping::compile(&source).unwrap());
        Self {
            source,
            mapping,
            baseline: None,
            stored: HashSet::new(),
        }
    }

    pub fn baseline_len(&self) -> usize {
        self.baseline.as_ref().map_or(0, Baseline::len)
    }

    /// Takes a document in; how many events it stores. The first one makes the baseline.
    pub fn take(&mut self, bytes: &[u8], now: Timestamp) -> Result<usize, DocumentError> {
        let observed = self.mapping.observe_document(0, bytes)?;
        Ok(self.judge(observed, now))
    }

    pub fn judge(&mut self, observed: Observed, now: Timestamp) -> usize {
        let items = observed.observations.iter();
        let items = items.filter_map(|it| Some((it.item.as_str(), it.level.as_ref()?)));
        let baseline = self
            .baseline
            .get_or_insert_with(|| Baseline::of(items, now));
        let policy = Policy {
            fresh_for: self.source.fresh_for.0,
            baseline,
        };
        let before = self.stored.len();
        for seen in &observed.observations {
            if let Decision::Publish(level) = decide(seen, policy, now) {
                self.stored.insert(format!("{} {level}", seen.item));
            }
        }
        self.stored.len() - before
    }
}
