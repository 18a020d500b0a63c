//! A recorded socket: lines of `EPOCH.FRACTION: FRAME`, binary frames as Python byte literals.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::FeedError;
use crate::config::SocketConfig;

/// The frames of a recording, in order.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) frames: Vec<Timed>,
}

/// A frame and when it came, counted from the first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timed {
    pub(crate) after: Duration,
    pub(crate) frame: Message,
}

impl Recording {
    pub(crate) fn open(config: &SocketConfig) -> Result<Self, FeedError> {
        let path = config.file.clone();
        let text = fs::read(&path).map_err(|cause| FeedError::Read {
            path: path.clone(),
            cause,
        })?;
        let mut frames = parse(&String::from_utf8_lossy(&text));
        let mut number = 0;
        frames.retain(|_| {
            number += 1;
            !config.drop_frames.contains(&number)
        });
        if frames.is_empty() {
            Err(FeedError::Empty { path })
        } else {
            Ok(Self { frames })
        }
    }
}

/// Received frames; lines about sending and opening name an address first and are left out.
fn parse(text: &str) -> Vec<Timed> {
    let mut first_s = None;
    text.lines()
        .filter_map(|line| {
            let (at, frame) = line.split_once(": ")?;
            let at_s: f64 = at.parse().ok()?;
            let after_s = at_s - *first_s.get_or_insert(at_s);
            let after = Duration::try_from_secs_f64(after_s.max(0.0)).ok()?;
            Some(Timed {
                after,
                frame: message(frame),
            })
        })
        .collect()
}

fn message(frame: &str) -> Message {
    let literal = frame
        .strip_prefix("b'")
        .and_then(|it| it.strip_suffix('\''));
    let literal = literal.or_else(|| {
        frame
            .strip_prefix("b\"")
            .and_then(|it| it.strip_suffix('"'))
    });
    match literal {
        Some(literal) => Message::Binary(Bytes::from(bytes(literal))),
        None => Message::Text(Utf8Bytes::from(frame)),
    }
}

/// The inside of a Python byte literal.
fn bytes(literal: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(literal.len());
    let mut left = literal.as_bytes();
    while let [first, rest @ ..] = left {
        let (byte, n_taken) = match (first, rest) {
            (b'\\', [b'x', high, low, ..]) => (hex(*high) << 4 | hex(*low), 3),
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [b't', ..]) => (b'\t', 1),
            (b'\\', [other, ..]) => (*other, 1),
            (other, _) => (*other, 0),
        };
        bytes.push(byte);
        left = rest.get(n_taken..).unwrap_or_default();
    }
    bytes
}

fn hex(digit: u8) -> u8 {
    char::from(digit)
        .to_digit(16)
        .and_then(|it| u8::try_from(it).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_frames_are_read_and_the_rest_left_out() {
        let text = "wss://x <-> 1.5\nwss://x <- 2.5: {\"subscribe\":1}\n\
                    10.5: {\"a\": \"b: c\"}\n11: b'{\"\\xc3\\xa9\\n\\\\\\'\"}'\n";
        let frames = parse(text);
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].frame, Message::text("{\"a\": \"b: c\"}"));
        assert_eq!(frames[1].after, Duration::from_millis(500));
        assert_eq!(frames[1].frame, Message::binary("{\"é\n\\'\"}".as_bytes()));
    }
}
