//! One `[[source.input]]` table: a document that is polled, a socket that is listened to, or an address
//! that is posted to.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::period::Period;
use super::secret::SecretText;

/// Where items come from; the key `http`, `websocket` or `webhook` says which kind it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "InputTable")]
pub enum InputConfig {
    /// A document that is polled.
    Http(HttpConfig),
    /// A socket that is listened to.
    WebSocket(SocketConfig),
    /// An address that is posted to.
    Webhook(WebhookConfig),
}

/// A polled document: JSON where `items` is given, else RSS, Atom or JSON Feed.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Address. `{since}` in it becomes the time of the last complete poll, minus `overlap`.
    pub http: String,
    /// How often it is polled; what the publisher asks for is a lower bound.
    pub every: Period,
    /// JSONPath (RFC 9535) of the items.
    pub items: Option<String>,
    /// Expression that presents `item` in the shape of the other inputs.
    pub reshape: Option<String>,
    /// Request headers.
    pub headers: BTreeMap<String, SecretText>,
    /// Allows addresses of this machine and of private networks.
    pub allow_private: bool,
    /// How long one request may take.
    pub timeout: Period,
    /// The longest body, after decompression, in bytes.
    pub max_bytes: usize,
    /// The most pages of one poll (`Link: <…>; rel="next"`).
    pub max_pages: usize,
    /// How far `{since}` goes back.
    pub overlap: Period,
}

/// A socket.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    /// Address, `ws://` or `wss://`.
    pub websocket: String,
    /// JSONPath of the items in a frame; default the frame itself.
    pub items: Option<String>,
    /// Expression that presents `item` in the shape of the other inputs.
    pub reshape: Option<String>,
    /// Headers of the opening request.
    pub headers: BTreeMap<String, SecretText>,
    /// Allows addresses of this machine and of private networks.
    pub allow_private: bool,
    /// Frames sent after every opening.
    pub subscribe: Vec<SecretText>,
    /// Expression on `frame`: which ones say nothing (heartbeats, confirmations).
    pub ignore: Option<String>,
    /// How often the other side is pinged; it must answer before the next ping.
    pub ping_every: Period,
    /// A frame sent at each ping, where the publisher wants its own kind of ping.
    pub ping: Option<String>,
    /// Without any frame for so long the feed counts as dead and is opened again.
    pub stale_after: Period,
    /// The longest frame in bytes.
    pub max_bytes: usize,
    /// Where frames carry a number that rises by one.
    pub sequence: Option<SequenceConfig>,
}

/// What is posted: JSON.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Where to listen, by number, for example `127.0.0.1:8490`.
    pub webhook: String,
    /// JSONPath of the items in a document; default the document itself.
    pub items: String,
    /// Expression that presents `item` in the shape of the other inputs.
    pub reshape: Option<String>,
    /// What senders prove themselves with.
    pub secret: SecretText,
    /// The header in which the secret itself is sent; without it documents are signed with it
    /// (Standard Webhooks).
    pub secret_header: Option<String>,
    /// The longest document in bytes.
    pub max_bytes: usize,
}

/// `sequence = { of = "{{ frame.Nonce }}", scope = "{{ frame.Channel }}" }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceConfig {
    /// Template on `frame`: the number; frames without one are not counted.
    pub of: String,
    /// Template on `frame`: what the number belongs to; default the whole socket.
    pub scope: Option<String>,
}

/// The table as it is written: one struct, so that an unknown key is named as such.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputTable {
    http: Option<String>,
    websocket: Option<String>,
    webhook: Option<String>,
    secret: Option<SecretText>,
    secret_header: Option<String>,
    items: Option<String>,
    reshape: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, SecretText>,
    #[serde(default)]
    allow_private: bool,
    max_bytes: Option<usize>,
    every: Option<Period>,
    timeout: Option<Period>,
    max_pages: Option<usize>,
    overlap: Option<Period>,
    subscribe: Option<Vec<SecretText>>,
    ignore: Option<String>,
    ping_every: Option<Period>,
    ping: Option<String>,
    stale_after: Option<Period>,
    sequence: Option<SequenceConfig>,
}

impl TryFrom<InputTable> for InputConfig {
    type Error = String;

    fn try_from(table: InputTable) -> Result<Self, String> {
        match (&table.http, &table.websocket, &table.webhook) {
            (Some(_), None, None) => table.into_http().map(Self::Http),
            (None, Some(_), None) => table.into_socket().map(Self::WebSocket),
            (None, None, Some(_)) => table.into_webhook().map(Self::Webhook),
            (None, None, None) => Err("an input needs `http`, `websocket` or `webhook`".to_owned()),
            (_, _, _) => Err("an input has one of `http`, `websocket` and `webhook`".to_owned()),
        }
    }
}

/// 10 MiB: a limit of manners and memory; the largest recorded feed has 1.4 MB.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// 2 MiB; frames of 700 kB were seen.
const MAX_FRAME: usize = 2 * 1024 * 1024;

/// 1 MiB; senders of webhooks stay far below.
const MAX_POSTED: usize = 1024 * 1024;

fn refuse(kind: &str, keys: &[(&str, bool)]) -> Result<(), String> {
    match keys.iter().find(|(_, is_given)| *is_given) {
        Some((key, _)) => Err(format!(
            "`{key}` does not belong to an input of kind `{kind}`"
        )),
        None => Ok(()),
    }
}

impl InputTable {
    fn into_http(self) -> Result<HttpConfig, String> {
        refuse(
            "http",
            &[
                ("subscribe", self.subscribe.is_some()),
                ("ignore", self.ignore.is_some()),
                ("ping_every", self.ping_every.is_some()),
                ("ping", self.ping.is_some()),
                ("stale_after", self.stale_after.is_some()),
                ("sequence", self.sequence.is_some()),
                ("secret", self.secret.is_some()),
                ("secret_header", self.secret_header.is_some()),
            ],
        )?;
        Ok(HttpConfig {
            http: self.http.unwrap_or_default(),
            every: self.every.unwrap_or(Period::seconds(60)),
            items: self.items,
            reshape: self.reshape,
            headers: self.headers,
            allow_private: self.allow_private,
            timeout: self.timeout.unwrap_or(Period::seconds(30)),
            max_bytes: self.max_bytes.unwrap_or(MAX_BODY),
            max_pages: self.max_pages.unwrap_or(10),
            overlap: self.overlap.unwrap_or(Period::seconds(300)),
        })
    }

    fn into_socket(self) -> Result<SocketConfig, String> {
        refuse(
            "websocket",
            &[
                ("every", self.every.is_some()),
                ("timeout", self.timeout.is_some()),
                ("max_pages", self.max_pages.is_some()),
                ("overlap", self.overlap.is_some()),
                ("secret", self.secret.is_some()),
                ("secret_header", self.secret_header.is_some()),
            ],
        )?;
        Ok(SocketConfig {
            websocket: self.websocket.unwrap_or_default(),
            items: self.items,
            reshape: self.reshape,
            headers: self.headers,
            allow_private: self.allow_private,
            subscribe: self.subscribe.unwrap_or_default(),
            ignore: self.ignore,
            ping_every: self.ping_every.unwrap_or(Period::seconds(20)),
            ping: self.ping,
            stale_after: self.stale_after.unwrap_or(Period::seconds(300)),
            max_bytes: self.max_bytes.unwrap_or(MAX_FRAME),
            sequence: self.sequence,
        })
    }
}

impl InputTable {
    fn into_webhook(self) -> Result<WebhookConfig, String> {
        refuse(
            "webhook",
            &[
                ("every", self.every.is_some()),
                ("timeout", self.timeout.is_some()),
                ("max_pages", self.max_pages.is_some()),
                ("overlap", self.overlap.is_some()),
                ("headers", !self.headers.is_empty()),
                ("allow_private", self.allow_private),
                ("subscribe", self.subscribe.is_some()),
                ("ignore", self.ignore.is_some()),
                ("ping_every", self.ping_every.is_some()),
                ("ping", self.ping.is_some()),
                ("stale_after", self.stale_after.is_some()),
                ("sequence", self.sequence.is_some()),
            ],
        )?;
        let secret = self
            .secret
            .ok_or("a `webhook` needs a `secret`: others reach it")?;
        Ok(WebhookConfig {
            webhook: self.webhook.unwrap_or_default(),
            items: self.items.unwrap_or_else(|| "$".to_owned()),
            reshape: self.reshape,
            secret,
            secret_header: self.secret_header,
            max_bytes: self.max_bytes.unwrap_or(MAX_POSTED),
        })
    }
}

impl InputConfig {
    /// The address as configured; it may hold a secret in its query.
    pub fn address(&self) -> &str {
        match self {
            Self::Http(it) => &it.http,
            Self::WebSocket(it) => &it.websocket,
            Self::Webhook(it) => &it.webhook,
        }
    }

    /// JSONPath of the items.
    pub fn items(&self) -> Option<&str> {
        match self {
            Self::Http(it) => it.items.as_deref(),
            Self::WebSocket(it) => it.items.as_deref(),
            Self::Webhook(it) => Some(&it.items),
        }
    }

    /// Expression that presents an item in the common shape.
    pub fn reshape(&self) -> Option<&str> {
        match self {
            Self::Http(it) => it.reshape.as_deref(),
            Self::WebSocket(it) => it.reshape.as_deref(),
            Self::Webhook(it) => it.reshape.as_deref(),
        }
    }

    /// Request headers, where we ask.
    pub fn headers(&self) -> Option<&BTreeMap<String, SecretText>> {
        match self {
            Self::Http(it) => Some(&it.headers),
            Self::WebSocket(it) => Some(&it.headers),
            Self::Webhook(_) => None,
        }
    }

    /// Everything that may be a secret, with its key below the input.
    pub(crate) fn secrets_mut(&mut self) -> Vec<(String, &mut SecretText)> {
        let (headers, frames) = match self {
            Self::Http(it) => (&mut it.headers, None),
            Self::WebSocket(it) => (&mut it.headers, Some(&mut it.subscribe)),
            Self::Webhook(it) => return vec![("secret".to_owned(), &mut it.secret)],
        };
        let headers = headers
            .iter_mut()
            .map(|(name, it)| (format!("headers.{name}"), it));
        let frames = frames.into_iter().flatten().enumerate();
        headers
            .chain(frames.map(|(n, it)| (format!("subscribe[{n}]"), it)))
            .collect()
    }
}
