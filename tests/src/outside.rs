//! What strangers can send, read by the product's own parsers, and what must hold of whatever they let
//! through. Each function panics if it does not; what is refused is fine.
//!
//! `tests/fuzz` makes a fuzz target of each function; `tests/tests/outside.rs` runs their corpus.

use std::sync::LazyLock;

use bytes::Bytes;
use fanfare_fetcher::config::SourceConfig;
use fanfare_fetcher::example::EXAMPLES;
use fanfare_fetcher::mapping::{Mapping, Observed, Tracker};
use fanfare_nats::receipt::Receipt;
use fanfare_nats::{Device, Event, Pattern, Tenant, Topic};
use jiff::Timestamp;

/// Reads bytes, and panics if something does not hold.
pub type Parser = fn(&[u8]);

/// Each parser by its name, which is that of its target and of its corpus.
pub const PARSERS: [(&str, Parser); 5] = [
    ("device", device),
    ("event", event),
    ("mapping", mapping),
    ("pattern", pattern),
    ("receipt", receipt),
];

/// A device's document and a list of filters: what is let through is stored and read again as it is.
///
/// # Panics
/// If it does not hold.
pub fn device(bytes: &[u8]) {
    for device in tenants().filter_map(|it| fanfare_api::outside::device(bytes, &it)) {
        let again = Device::decode(&device.encode()).unwrap();
        assert_eq!(again, device, "stored and read");
        for text in [&device.user, &device.locale, &device.time_zone] {
            let text = text.as_deref().map_or("-", written);
            assert!(!text.is_empty() && !text.contains(char::is_control));
        }
        assert!(device.subscriptions.len() <= 256);
    }
    if let Some(filters) = fanfare_api::outside::filters(bytes) {
        let text = serde_json::to_vec(&filters).unwrap();
        assert_eq!(
            fanfare_api::outside::filters(&wrapped(&text)),
            Some(filters)
        );
    }
}

fn wrapped(filters: &[u8]) -> Vec<u8> {
    [b"{\"filters\":", filters, b"}"].concat()
}

/// A posted event: what is let through has an end, a topic, and text that people can be shown.
///
/// # Panics
/// If it does not hold.
pub fn event(bytes: &[u8]) {
    for event in tenants().filter_map(|it| fanfare_api::outside::event(bytes, &it)) {
        check_event(&event);
    }
}

/// The first tenant and another, whose names are kept apart.
fn tenants() -> impl Iterator<Item = Tenant> {
    [Some(Tenant::main()), Tenant::parse("other")]
        .into_iter()
        .flatten()
}

/// As its owner wrote it: before U+001F stands whose it is.
fn written(text: &str) -> &str {
    text.rsplit('\u{1f}').next().unwrap_or_default()
}

fn check_event(event: &Event) {
    assert!(!event.topics.is_empty(), "it is for somebody");
    let lasts = event.expires_at.duration_since(Timestamp::UNIX_EPOCH);
    assert!((1..=86_400).contains(&lasts.as_secs()), "it ends: {lasts}");
    let title = &event.content.title;
    assert!(!title.trim().is_empty() && !title.contains(char::is_control));
    let body = event.content.body.as_deref().unwrap_or("-");
    let is_control = |it: char| it.is_control() && it != '\n';
    assert!(!body.trim().is_empty() && !body.contains(is_control));
    for link in [&event.content.url, &event.content.image]
        .into_iter()
        .flatten()
    {
        let scheme = link.split(':').next().unwrap_or_default();
        assert!(!scheme.eq_ignore_ascii_case("javascript"), "{link}");
    }
    assert!(!written(&event.item).contains(char::is_control));
}

/// A pattern and a topic, one in each line: they match as the words say, and read again as they are.
///
/// # Panics
/// If it does not hold.
pub fn pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (pattern, topic) = text.split_once('\n').unwrap_or((text, text));
    let (pattern, topic) = (Pattern::parse(pattern).ok(), Topic::parse(topic).ok());
    if let Some(topic) = &topic {
        assert_eq!(Topic::parse(topic.as_str()).as_ref(), Ok(topic));
        assert!(topic.as_str().split('.').all(is_segment), "{topic}");
        let itself = Pattern::parse(topic.as_str());
        assert_eq!(itself.is_err(), topic.is_reserved());
        assert!(itself.is_err() || itself.is_ok_and(|it| it.matches(topic)));
    }
    if let (Some(pattern), Some(topic)) = (&pattern, &topic) {
        let wanted: Vec<&str> = pattern.as_str().split('.').collect();
        let given: Vec<&str> = topic.as_str().split('.').collect();
        let expected = !topic.is_reserved() && is_match(&wanted, &given);
        assert_eq!(pattern.matches(topic), expected, "{pattern} and {topic}");
    }
}

/// No part of a subject: nothing that the broker reads as something else.
fn is_segment(it: &str) -> bool {
    let is_bad = |it: char| it.is_whitespace() || it.is_control() || matches!(it, '*' | '>');
    !it.is_empty() && !it.contains(is_bad)
}

/// The rule as it is told to people, from the end.
fn is_match(wanted: &[&str], given: &[&str]) -> bool {
    match (wanted, given) {
        ([], []) | ([">"], [_, ..]) => true,
        ([first, wanted @ ..], [segment, given @ ..]) => {
            (*first == "*" || first == segment) && is_match(wanted, given)
        }
        _ => false,
    }
}

/// Documents of sources: of a polled input with `items`, of a feed, and frames of a socket. The first
/// byte chooses.
///
/// # Panics
/// If it does not hold.
pub fn mapping(bytes: &[u8]) {
    static MAPPINGS: LazyLock<Vec<(Mapping, usize, bool)>> = LazyLock::new(|| {
        [
            ("usgs", false),
            ("rustsec", false),
            ("kev", false),
            ("coinbase", true),
        ]
        .map(|(name, is_socket)| (compiled(name), 0, is_socket))
        .into()
    });
    let Some((choice, document)) = bytes.split_first() else {
        return;
    };
    let (mapping, input, is_socket) = &MAPPINGS[usize::from(*choice) % MAPPINGS.len()];
    let observed = if *is_socket {
        let frames = document.split(|it| *it == b'\n');
        let frames: Vec<Bytes> = frames.map(Bytes::copy_from_slice).collect();
        mapping.observe_frames(*input, &frames, &mut Tracker::default())
    } else {
        mapping
            .observe_document(*input, document)
            .unwrap_or_default()
    };
    check(&observed);
}

fn compiled(name: &str) -> Mapping {
    #[derive(serde::Deserialize)]
    struct Sources {
        source: Vec<SourceConfig>,
    }
    let (_, text) = EXAMPLES.iter().find(|it| it.0 == name).unwrap();
    let sources: Sources = toml::from_str(text).unwrap();
    Mapping::compile(&sources.source[0]).unwrap()
}

fn check(observed: &Observed) {
    for it in &observed.observations {
        assert!((1..=512).contains(&it.item.len()), "{:?}", it.item);
        assert!(!it.topics.is_empty(), "{:?}", it.item);
        assert!(!it.content.title.trim().is_empty(), "{:?}", it.item);
        let size = serde_json::to_vec(&it.content).unwrap().len();
        assert!(size < 100_000, "{size}");
    }
    for it in &observed.rejects {
        assert!(it.detail.len() < 2000, "{}", it.detail.len());
    }
}

/// A receipt: what can be read is stored and read again as it is.
///
/// # Panics
/// If it does not hold.
pub fn receipt(bytes: &[u8]) {
    if let Ok(receipt) = Receipt::decode(bytes) {
        let again = Receipt::decode(&receipt.encode()).unwrap();
        assert_eq!(again, receipt, "stored and read");
    }
}
