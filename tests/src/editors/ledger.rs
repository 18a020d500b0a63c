//! What a client asked of a device and what it was told. Pure.

/// What a written document carries, so that whoever reads it knows which write it was: who wrote it,
/// as which of its writes, and how many guarded changes there were since the device was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// Which client.
    pub client: u32,
    /// Its how manieth write.
    pub write: u32,
    /// Guarded changes since the registration.
    pub changes: u32,
}

impl Mark {
    /// As a locale, which is a field of a device that is shown.
    pub fn to_locale(self) -> String {
        format!("{}-{}-{}", self.client, self.write, self.changes)
    }

    /// Reads such a locale.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').map(|it| it.parse().ok());
        let (client, write, changes) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(Self {
            client,
            write,
            changes,
        })
    }
}

/// A stored document: its revision, and what it carries.
pub type State = (u64, Mark);

/// On what condition a write was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// None: whatever there is, is replaced.
    None,
    /// `If-None-Match: *`.
    Absent,
    /// `If-Match`, with what had been read.
    At(State),
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To store this.
    Put(Mark),
    /// To remove what there is.
    Remove,
}

/// What the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is done; a document is stored at this revision.
    Done(Option<u64>),
    /// The condition does not hold (412).
    Refused,
    /// Nothing that is final: 503, 504, a lost connection.
    Nothing,
}

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// On what condition.
    pub guard: Guard,
    /// What.
    pub wish: Wish,
    /// What came of it, as far as the client knows.
    pub told: Told,
}

/// Everything that clients did to one device and saw of it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Their writes.
    pub writes: Vec<Write>,
    /// What they read.
    pub seen: Vec<State>,
}
