//! Everything that can be wrong with `[fetcher]` and the sources, found at once.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use fanfare_nats::Problem;
use fanfare_nats::event::{RESERVED_SOURCES, SourceName};
use url::Url;

use super::{
    Config, HttpConfig, InputConfig, Mode, Period, SocketConfig, SourceConfig, WebhookConfig,
    policy,
};
use crate::decide::MAX_FRESH_FOR;
use crate::mapping::Mapping;
use crate::source::{Proof, is_this_machine};

/// Fastest polling of a publisher, and of a server on this machine.
const MIN_EVERY: Duration = Duration::from_secs(1);
const MIN_EVERY_HERE: Duration = Duration::from_millis(20);

/// The longest document that may be posted; each of those that wait is held in memory.
const MAX_POSTED: usize = 16 * 1024 * 1024;

/// All problems of a configuration.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = policy::topic_problems(&config.topic);
    let mut names = HashSet::new();
    for (s, source) in config.source.iter().enumerate() {
        let mut found = source_problems(source);
        if !names.insert(source.name.as_str()) {
            found.push(Problem::new(
                "name",
                format!("`{}` is used twice", source.name),
            ));
        }
        let prefix = format!("source[{s}]");
        problems.extend(found.into_iter().map(|it| it.under(&prefix)));
    }
    let has_contact = config
        .fetcher
        .contact
        .as_ref()
        .is_some_and(|it| !it.trim().is_empty());
    let is_outward = config
        .source
        .iter()
        .flat_map(|it| &it.input)
        .filter_map(|it| address(it.address()).ok())
        .any(|it| !is_this_machine(&it));
    if is_outward && !has_contact {
        problems.push(Problem::new(
            "fetcher.contact",
            "is missing: publishers want to reach whoever polls them; write a mail address or a page",
        ));
    }
    if config
        .fetcher
        .contact
        .as_ref()
        .is_some_and(|it| !it.chars().all(|it| (' '..='~').contains(&it)))
    {
        problems.push(Problem::new(
            "fetcher.contact",
            "has characters that no header may have",
        ));
    }
    problems
}

/// What an operator should know although it is right.
pub(super) fn notes(config: &Config) -> Vec<Problem> {
    let sources = config.source.iter().enumerate();
    let timeless = sources
        .filter(|(_, it)| it.time.is_none())
        .map(|(n, it)| {
            Problem::new(
                format!("source[{n}].time"),
                format!("`{}` has no time: its decisions are kept for ever, and nothing of it is ever too old", it.name),
            )
        });
    timeless.chain(exclusive_notes(config)).collect()
}

/// What `mode = "exclusive"` means, and what it cannot do.
fn exclusive_notes(config: &Config) -> impl Iterator<Item = Problem> {
    let sources = config.source.iter().enumerate();
    let exclusive = sources.filter(|(_, it)| it.mode == Mode::Exclusive);
    exclusive.map(|(n, it)| {
        let is_polled = |it: &InputConfig| matches!(it, InputConfig::Http(_));
        let gap = if it.input.iter().any(is_polled) {
            "what appeared meanwhile is polled then"
        } else {
            "it has no `http` input, so what its socket shows meanwhile is not seen"
        };
        let text = format!(
            "`{}` is exclusive: one fetcher at a time reads it; when that one dies another takes \
             over after 16 to 21 s, after a clean stop within a second; {gap}",
            it.name
        );
        Problem::new(format!("source[{n}].mode"), text)
    })
}

/// An address with `{since}` filled in, so that it can be parsed.
fn address(text: &str) -> Result<Url, url::ParseError> {
    Url::parse(&text.replace("{since}", "2026-01-01T00:00:00Z"))
}

fn source_problems(source: &SourceConfig) -> Vec<Problem> {
    let mut problems = Mapping::compile(source).err().unwrap_or_default();
    let mut add = |key: &str, message: String| problems.push(Problem::new(key, message));
    match SourceName::parse(&source.name) {
        Err(error) => add("name", error.to_string()),
        Ok(name) if RESERVED_SOURCES.contains(&name.as_str()) => {
            add("name", format!("`{name}` is reserved"));
        }
        Ok(_) => {}
    }
    if source.fresh_for.0.is_zero() || source.fresh_for.0 > MAX_FRESH_FOR {
        let most = Period(MAX_FRESH_FOR);
        add(
            "fresh_for",
            format!("must be more than 0s and at most {most}: EVENTS remembers 7 days"),
        );
    }
    if source.limits.items == 0 || source.limits.in_flight == 0 {
        add("limits", "must be 1 or more".to_owned());
    }
    if source.input.is_empty() {
        add(
            "input",
            "needs one or more `[[source.input]]` tables".to_owned(),
        );
    }
    let is_posted = |it: &InputConfig| matches!(it, InputConfig::Webhook(_));
    if source.mode == Mode::Exclusive && source.input.iter().any(is_posted) {
        let message = "`exclusive` and an input `webhook` do not go together: whoever does not hold the \
                       lease would refuse what is posted";
        add("mode", message.to_owned());
    }
    problems.extend(policy::problems(source.expires_in, source.retries));
    for (n, input) in source.input.iter().enumerate() {
        let found = match input {
            InputConfig::Http(it) => http_problems(it),
            InputConfig::WebSocket(it) => socket_problems(it),
            InputConfig::Webhook(it) => webhook_problems(it),
        };
        let found = found.into_iter().chain(header_problems(input));
        problems.extend(found.map(|it| it.under(&format!("input[{n}]"))));
    }
    problems
}

fn address_problems(
    key: &str,
    text: &str,
    schemes: [&str; 2],
    is_private_allowed: bool,
) -> Vec<Problem> {
    let url = match address(text) {
        Ok(url) if schemes.contains(&url.scheme()) && url.has_host() => url,
        Ok(_) | Err(_) => {
            let message = format!(
                "is no address: write `{}://…` or `{}://…`",
                schemes[0], schemes[1]
            );
            return vec![Problem::new(key, message)];
        }
    };
    if is_this_machine(&url) && !is_private_allowed {
        let message =
            "is an address of this machine: write `allow_private = true` if that is meant";
        return vec![Problem::new(key, message)];
    }
    Vec::new()
}

fn http_problems(input: &HttpConfig) -> Vec<Problem> {
    let mut problems =
        address_problems("http", &input.http, ["https", "http"], input.allow_private);
    let is_here = address(&input.http).is_ok_and(|it| is_this_machine(&it));
    let least = if is_here { MIN_EVERY_HERE } else { MIN_EVERY };
    if input.every.0 < least {
        let message = format!("is too often: write {} or more", Period(least));
        problems.push(Problem::new("every", message));
    }
    for (key, is_zero) in [
        ("timeout", input.timeout.0.is_zero()),
        ("max_bytes", input.max_bytes == 0),
        ("max_pages", input.max_pages == 0),
    ] {
        if is_zero {
            problems.push(Problem::new(key, "must be more than 0"));
        }
    }
    problems
}

fn socket_problems(input: &SocketConfig) -> Vec<Problem> {
    let mut problems = address_problems(
        "websocket",
        &input.websocket,
        ["wss", "ws"],
        input.allow_private,
    );
    for (key, is_zero) in [
        ("ping_every", input.ping_every.0.is_zero()),
        ("stale_after", input.stale_after.0.is_zero()),
        ("max_bytes", input.max_bytes == 0),
    ] {
        if is_zero {
            problems.push(Problem::new(key, "must be more than 0"));
        }
    }
    problems
}

fn webhook_problems(input: &WebhookConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    if input.webhook.parse::<SocketAddr>().is_err() {
        let message = "is no address: write it by number, for example 127.0.0.1:8490";
        problems.push(Problem::new("webhook", message));
    }
    if !(1..=MAX_POSTED).contains(&input.max_bytes) {
        let message = format!("must be 1 to {MAX_POSTED}");
        problems.push(Problem::new("max_bytes", message));
    }
    // What is read at the start is judged then.
    let proof = input.secret.text().map(|_| Proof::of(input));
    if let Some(Err((key, message))) = proof {
        problems.push(Problem::new(key, message));
    }
    problems
}

fn header_problems(input: &InputConfig) -> Vec<Problem> {
    let headers = input.headers().into_iter().flatten();
    headers
        .filter(|(name, value)| {
            http::HeaderName::try_from(name.as_str()).is_err()
                || value
                    .text()
                    .is_some_and(|it| http::HeaderValue::from_str(it).is_err())
        })
        .map(|(name, _)| Problem::new(format!("headers.{name}"), "is no header"))
        .collect()
}
