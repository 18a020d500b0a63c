//! RSS, Atom and JSON Feed: three formats, one shape of item.
//!
//! An item has `id`, `title`, `link`, `links`, `summary`, `content`, `published`, `updated`,
//! `time` (the first of the two that is there), `authors` and `categories`. What a feed does not
//! say is `null`.

use std::fmt::Write as _;
use std::time::Duration;

use feed_rs::model::{Entry, Feed};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::document::DocumentError;
use super::encoding;

/// The entries of a feed, and how often its publisher wants to be asked.
#[derive(Debug)]
pub(crate) struct ReadFeed {
    pub(crate) items: Vec<Value>,
    pub(crate) ttl: Option<Duration>,
}

/// Reads a feed.
///
/// # Errors
/// [`DocumentError::Feed`], [`DocumentError::CutOff`].
pub(crate) fn read_feed(bytes: &[u8]) -> Result<ReadFeed, DocumentError> {
    let text = encoding::to_text(bytes);
    let parser = feed_rs::parser::Builder::new()
        // The default is a random id for an entry without guid, link and title: a new item at
        // every poll. Left empty here, and filled from the content below.
        .id_generator(|links, title, _| {
            let title = title.as_ref().map(|it| it.content.as_str());
            match (links.first(), title) {
                (None, None) => String::new(),
                (link, title) => hash(&[
                    link.map_or("", |it| it.href.as_str()),
                    title.unwrap_or_default(),
                ]),
            }
        })
        .sanitize_content(false)
        .build();
    let feed = parser.parse(text.as_bytes()).map_err(DocumentError::Feed)?;
    if !is_complete(&text) {
        return Err(DocumentError::CutOff);
    }
    let Feed { ttl, entries, .. } = feed;
    Ok(ReadFeed {
        items: entries.iter().map(item).collect(),
        ttl: ttl.map(|minutes| Duration::from_secs(u64::from(minutes) * 60)),
    })
}

fn item(entry: &Entry) -> Value {
    let title = entry.title.as_ref().map(|it| it.content.as_str());
    let summary = entry.summary.as_ref().map(|it| it.content.as_str());
    let content = entry.content.as_ref().and_then(|it| it.body.as_deref());
    let links: Vec<&str> = entry.links.iter().map(|it| it.href.as_str()).collect();
    let link = entry
        .links
        .iter()
        .find(|it| matches!(it.rel.as_deref(), None | Some("alternate")))
        .or(entry.links.first())
        .map(|it| it.href.as_str());
    let published = entry.published.map(|it| it.to_rfc3339());
    let updated = entry.updated.map(|it| it.to_rfc3339());
    let authors: Vec<&str> = entry
        .authors
        .iter()
        .filter_map(|it| it.name.as_deref())
        .collect();
    let categories: Vec<&str> = entry.categories.iter().map(|it| it.term.as_str()).collect();
    let id = match entry.id.as_str() {
        "" => hash(&[summary.unwrap_or_default(), content.unwrap_or_default()]),
        id => id.to_owned(),
    };
    json!({
        "id": id,
        "title": title,
        "link": link,
        "links": links,
        "summary": summary,
        "content": content,
        "time": published.as_ref().or(updated.as_ref()),
        "published": published,
        "updated": updated,
        "authors": authors,
        "categories": categories,
    })
}

fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    digest
        .iter()
        .take(16)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// True when the XML ends with an end tag, comments and white space aside. The parser forgives a
/// missing end; a feed that was cut off between two entries would look shorter than it is.
fn is_complete(text: &str) -> bool {
    let mut text = text.trim_end();
    if text.ends_with('}') {
        return true; // JSON Feed; serde has seen its end.
    }
    while text.ends_with("-->") {
        text = text
            .rsplit_once("<!--")
            .map_or("", |(before, _)| before)
            .trim_end();
    }
    let Some(name) = text
        .rsplit_once("</")
        .and_then(|(_, it)| it.strip_suffix('>'))
    else {
        return false;
    };
    let name = name.trim();
    matches!(
        name.rsplit(':').next(),
        Some("feed" | "rss" | "RDF" | "entry")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATOM: &str = r#"<?xml version="1.0"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title><id>urn:f</id>
<updated>2026-08-20T12:00:00Z</updated>
<entry><title>One</title><id>urn:1</id><updated>2026-08-21T12:00:00Z</updated>
<published>2026-08-20T12:00:00Z</published><link href="https://example.org/1"/>
<summary>first</summary></entry>
<entry><title>Two</title><id>urn:2</id><updated>2026-08-19T12:00:00Z</updated></entry>
</feed><!-- end -->
"#;

    #[test]
    fn an_atom_entry_presents_the_common_shape() {
        let feed = read_feed(ATOM.as_bytes()).unwrap();
        assert_eq!(feed.items.len(), 2);
        assert_eq!(feed.items[0]["id"], "urn:1");
        assert_eq!(feed.items[0]["link"], "https://example.org/1");
        assert_eq!(feed.items[0]["published"], "2026-08-20T12:00:00+00:00");
        assert_eq!(feed.items[0]["time"], feed.items[0]["published"]);
        assert_eq!(feed.items[1]["summary"], Value::Null);
        assert_eq!(feed.items[1]["time"], "2026-08-19T12:00:00+00:00");
    }

    #[test]
    fn a_feed_cut_off_anywhere_is_an_error() {
        let end = ATOM.find("</feed>").unwrap() + "</feed>".len();
        for cut in 0..end {
            assert!(read_feed(&ATOM.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        assert!(read_feed(&ATOM.as_bytes()[..end]).is_ok());
    }

    #[test]
    fn an_rss_feed_cut_off_anywhere_is_an_error() {
        for rss in [
            "<rss version='2.0'><channel><title>t</title><item><guid>1</guid></item><item><guid>2</guid><title>x</title></item></channel></rss>",
            "<rdf:RDF xmlns='http://purl.org/rss/1.0/' xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><channel><title>t</title><link>l</link><description>d</description></channel><item><title>x</title><link>l</link></item></rdf:RDF>",
            "<rss version='0.91'><channel><title>t</title><link>l</link><description>d</description><item><title>x</title><link>l</link></item></channel></rss>",
        ] {
            assert!(read_feed(rss.as_bytes()).is_ok(), "{rss}");
            for cut in 0..rss.len() {
                assert!(
                    read_feed(&rss.as_bytes()[..cut]).is_err(),
                    "cut at {cut}: {rss}"
                );
            }
        }
    }

    #[test]
    fn an_entry_without_guid_link_and_title_keeps_its_id_from_poll_to_poll() {
        let rss = r#"<rss version="2.0"><channel><title>t</title><ttl>30</ttl>
            <item><description>same words</description></item>
            <item><description>other words</description></item></channel></rss>"#;
        let (one, two) = (
            read_feed(rss.as_bytes()).unwrap(),
            read_feed(rss.as_bytes()).unwrap(),
        );
        assert_eq!(one.items, two.items);
        assert_ne!(one.items[0]["id"], one.items[1]["id"]);
        assert_eq!(one.ttl, Some(Duration::from_mins(30)));
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_feed_never_panics(
            damage in proptest::collection::vec((0_usize..700, 0_u8..=255), 1..6), swap in 0_usize..700
        ) {
            let mut bytes = ATOM.as_bytes().to_vec();
            for (at, byte) in damage {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let at = swap % bytes.len();
            bytes.rotate_left(at);
            let _ = read_feed(&bytes);
        }
    }

    #[test]
    fn json_feed_is_a_feed() {
        let text = r#"{"version":"https://jsonfeed.org/version/1.1","title":"t",
            "items":[{"id":"1","content_text":"x","url":"https://example.org/1"}]}"#;
        let feed = read_feed(text.as_bytes()).unwrap();
        assert_eq!(feed.items[0]["id"], "1");
        assert!(read_feed(&text.as_bytes()[..text.len() - 1]).is_err());
    }
}
