//! A stream of bytes, cut at line ends. Pure.

use bytes::{Bytes, BytesMut};

/// What stands between two line ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line, without its end.
    Text(Bytes),
    /// More bytes than a line may have; they were not kept.
    TooLong,
}

/// The part of a stream that was not taken yet.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: BytesMut,
    most: usize,
    /// How many bytes were looked at in vain.
    scanned: usize,
    is_too_long: bool,
}

impl Lines {
    /// Lines of at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            most,
            scanned: 0,
            is_too_long: false,
        }
    }

    /// Takes what has arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line that has its end.
    pub(super) fn next(&mut self) -> Option<Line> {
        let rest = self.buffer.get(self.scanned..).unwrap_or(&[]);
        if let Some(at) = rest.iter().position(|it| *it == b'\n') {
            let mut line = self.buffer.split_to(self.scanned + at + 1);
            line.truncate(self.scanned + at);
            self.scanned = 0;
            return Some(self.judge(line.freeze()));
        }
        self.scanned = self.buffer.len();
        if self.buffer.len() > self.most {
            self.is_too_long = true;
            self.buffer.clear();
            self.scanned = 0;
        }
        None
    }

    /// What stands behind the last line end, once the stream is over.
    pub(super) fn last(&mut self) -> Option<Line> {
        let line = self.buffer.split().freeze();
        self.scanned = 0;
        (!line.is_empty() || self.is_too_long).then(|| self.judge(line))
    }

    fn judge(&mut self, line: Bytes) -> Line {
        if std::mem::take(&mut self.is_too_long) || line.len() > self.most {
            Line::TooLong
        } else {
            Line::Text(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(parts: &[Vec<u8>], most: usize) -> Vec<Line> {
        let (mut lines, mut found) = (Lines::new(most), Vec::new());
        for part in parts {
            lines.push(part);
            found.extend(std::iter::from_fn(|| lines.next()));
        }
        found.extend(lines.last());
        found
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_whole_however_it_arrives(
            parts in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b'b')], 0..12), 0..12),
            most in 1_usize..9,
        ) {
            let whole = parts.concat();
            let mut expected: Vec<&[u8]> = whole.split(|it| *it == b'\n').collect();
            // Behind the last line end there is a line only if something stands there.
            if expected.last().is_some_and(|it| it.is_empty()) {
                expected.pop();
            }
            let expected: Vec<Line> = expected
                .into_iter()
                .map(|it| if it.len() > most { Line::TooLong } else { Line::Text(Bytes::copy_from_slice(it)) })
                .collect();
            prop_assert_eq!(cut(&parts, most), expected);
        }
    }
}
