//! A folder of recorded documents, shown one after the other, or as the pages of one list.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header;
use http::request::Parts;
use tokio::time::Instant;

use super::FeedError;
use super::rest::{Document, etag};
use crate::config::{Advance, SnapshotsConfig};

/// An arbitrary past date for `Last-Modified`; each later snapshot is a minute younger.
const FIRST_MODIFIED_MS: i64 = 1_735_732_800_000;

#[derive(Debug)]
pub(crate) struct SnapshotFeed {
    config: SnapshotsConfig,
    documents: Vec<Bytes>,
    content_type: &'static str,
    at: AtomicUsize,
    opened: Instant,
}

impl SnapshotFeed {
    pub(crate) fn open(config: &SnapshotsConfig) -> Result<Self, FeedError> {
        let path = config.folder.clone();
        let unread = |cause| FeedError::Read {
            path: path.clone(),
            cause,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(&config.folder).map_err(unread)? {
            let entry = entry.map_err(unread)?;
            if entry.file_type().map_err(unread)?.is_file() {
                files.push(entry.path());
            }
        }
        files.sort();
        let documents: Result<Vec<Bytes>, _> = files
            .iter()
            .map(|it| fs::read(it).map(Bytes::from))
            .collect();
        let documents = documents.map_err(unread)?;
        let Some(first) = files.first() else {
            return Err(FeedError::Empty { path });
        };
        let content_type = match first.extension().and_then(|it| it.to_str()) {
            Some("xml" | "rss" | "atom") => "application/xml",
            Some("geojson") => "application/geo+json",
            _ => "application/json",
        };
        let (at, opened) = (AtomicUsize::new(0), Instant::now());
        Ok(Self {
            config: config.clone(),
            documents,
            content_type,
            at,
            opened,
        })
    }

    pub(crate) fn is_at(&self, path: &str) -> bool {
        self.config.path == path
    }

    /// Shows a later snapshot; the last one stays.
    pub(crate) fn advance(&self, steps: usize) {
        self.at.fetch_add(steps, Ordering::Relaxed);
    }

    /// `None` for a page beyond the last.
    pub(crate) fn document(&self, head: &Parts) -> Option<Document> {
        let last = self.documents.len() - 1;
        let (at, link) = if self.config.pages {
            let page = page(head).checked_sub(1).filter(|it| *it <= last)?;
            (page, self.link(head, page, last))
        } else {
            (self.current().min(last), None)
        };
        let body = self.documents.get(at)?.clone();
        let age_min = i64::try_from(at).unwrap_or_default();
        Some(Document {
            etag: self.config.etag.then(|| etag(&body)),
            last_modified_ms: self
                .config
                .last_modified
                .then_some(FIRST_MODIFIED_MS + age_min * 60_000),
            body,
            content_type: self.content_type,
            cache_control: self.config.cache_control.clone(),
            link,
            may_gzip: self.config.gzip,
        })
    }

    fn current(&self) -> usize {
        match self.config.advance {
            Advance::Request => self.at.fetch_add(1, Ordering::Relaxed),
            Advance::Control => self.at.load(Ordering::Relaxed),
            Advance::EveryMs(every_ms) => {
                let every = Duration::from_millis(every_ms.max(1));
                let n_passed = self.opened.elapsed().as_nanos() / every.as_nanos();
                self.at.load(Ordering::Relaxed) + usize::try_from(n_passed).unwrap_or(usize::MAX)
            }
        }
    }

    /// RFC 8288, as GitHub writes it.
    fn link(&self, head: &Parts, page: usize, last: usize) -> Option<String> {
        let host = head.headers.get(header::HOST)?.to_str().ok()?;
        let path = &self.config.path;
        let to =
            |page: usize, rel| format!("<http://{host}{path}?page={}>; rel=\"{rel}\"", page + 1);
        let mut links = Vec::new();
        if page > 0 {
            links.push(to(page - 1, "prev"));
        }
        if page < last {
            links.push(to(page + 1, "next"));
            links.push(to(last, "last"));
        }
        (!links.is_empty()).then(|| links.join(", "))
    }
}

fn page(head: &Parts) -> usize {
    let query = head.uri.query().unwrap_or_default();
    let page = query
        .split('&')
        .find_map(|it| it.strip_prefix("page=")?.parse().ok());
    page.unwrap_or(1)
}
