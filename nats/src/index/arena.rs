//! Bytes of many small records, in segments, so that growing copies nothing and wastes little.

/// Bytes of a segment; a record never crosses one.
const SEGMENT: usize = 1 << 20;

/// Where a record begins: segment number and offset in one word, so at most 4 GiB of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address(u32);

/// Records that are appended and, in the end, abandoned.
#[derive(Debug, Default)]
pub(super) struct Arena {
    segments: Vec<Vec<u8>>,
    live: usize,
    stored: usize,
}

impl Arena {
    /// Appends a record of fewer than [`SEGMENT`] bytes; `None` when 4 GiB are full.
    pub(super) fn push(&mut self, record: &[u8]) -> Option<Address> {
        let has_room = |it: &Vec<u8>| it.len() + record.len() <= SEGMENT;
        if !self.segments.last().is_some_and(has_room) {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        let segment = u32::try_from(self.segments.len() - 1)
            .ok()
            .filter(|it| *it < 4096)?;
        let bytes = self.segments.last_mut()?;
        let offset = u32::try_from(bytes.len()).ok()?;
        bytes.extend_from_slice(record);
        self.live += record.len();
        self.stored += record.len();
        Some(Address(segment << 20 | offset))
    }

    /// The bytes from a record's beginning to the end of its segment.
    pub(super) fn from(&self, address: Address) -> &[u8] {
        let segment = usize::try_from(address.0 >> 20).unwrap_or(usize::MAX);
        let offset = usize::try_from(address.0 & 0xf_ffff).unwrap_or(usize::MAX);
        self.segments
            .get(segment)
            .and_then(|it| it.get(offset..))
            .unwrap_or(&[])
    }

    /// Gives up the `len` bytes of a record.
    pub(super) fn abandon(&mut self, len: usize) {
        self.live -= len.min(self.live);
    }

    /// Segments held.
    #[cfg(test)]
    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Whether more than half of what is held has been given up.
    pub(super) fn is_wasteful(&self) -> bool {
        self.stored > 16 * SEGMENT && self.live * 2 < self.stored
    }
}
