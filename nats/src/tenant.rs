//! Whose something is, and how that stands in what is stored.
//!
//! An installation has one tenant, `main`, whose ids, users and topics stand as they are written.
//! What belongs to another carries its name, in a form that nobody of `main` can write:
//!
//! | | written | stored |
//! |---|---|---|
//! | device id | `phone-1` | `acme=phone-1` |
//! | user, item of a posted event | `ada` | `acme`, U+001F, `ada` |
//! | topic, pattern | `news.>` | `fanfare.tenant.acme.news.>` |
//!
//! Whoever takes a text from outside reads it as written (`parse`) and lets the tenant put its name
//! to it; nothing that is written can name another's. What is read back from the broker is read as
//! stored (`parse_stored`).

use std::fmt;

use crate::device::{DeviceId, DeviceIdError};
use crate::topic::{Pattern, RESERVED, Topic};

/// The name of the one tenant whose things carry no name.
const MAIN: &str = "main";
/// The longest name.
pub(crate) const MAX_LEN: usize = 20;
/// Between a tenant and a device id; no id has it.
const ID_MARK: char = '=';
/// Between a tenant and a free text; control characters are refused in what clients write.
const TEXT_MARK: char = '\u{1f}';
/// The second segment of the topics of tenants.
pub(crate) const SEGMENT: &str = "tenant";

/// Whose a key is, and with it all that the key reads and writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Box<str>);

impl Tenant {
    /// The tenant of an installation that has only one.
    pub fn main() -> Self {
        Self(MAIN.into())
    }

    /// Reads 1 to 20 of `[a-z0-9-]`.
    pub fn parse(text: &str) -> Option<Self> {
        is_name(text).then(|| Self(text.into()))
    }

    /// Whether what it owns is stored as it is written.
    pub fn is_main(&self) -> bool {
        &*self.0 == MAIN
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id under which a device is stored that this tenant calls so.
    ///
    /// # Errors
    /// [`DeviceIdError`], also for an id that has a tenant already.
    pub fn device_id(&self, written: &str) -> Result<DeviceId, DeviceIdError> {
        let id = DeviceId::parse(written)?;
        if self.is_main() {
            return Ok(id);
        }
        DeviceId::parse_stored(&format!("{self}{ID_MARK}{id}"))
    }

    /// How a user, or the item of a posted event, is stored that this tenant calls so.
    #[must_use]
    pub fn text(&self, written: &str) -> String {
        if self.is_main() {
            written.to_owned()
        } else {
            format!("{self}{TEXT_MARK}{written}")
        }
    }

    /// The topic as it is stored.
    #[must_use]
    pub fn topic(&self, written: &Topic) -> Topic {
        if self.is_main() {
            written.clone()
        } else {
            Topic::from_stored(self.path(written.as_str()))
        }
    }

    /// The pattern as it is stored.
    #[must_use]
    pub fn pattern(&self, written: &Pattern) -> Pattern {
        if self.is_main() {
            written.clone()
        } else {
            Pattern::from_stored(self.path(written.as_str()))
        }
    }

    /// Whether a topic or pattern that is stored so is this tenant's; what is fanfare's is nobody's.
    pub fn owns_path(&self, stored: &str) -> bool {
        match split_path(stored).0 {
            Some(tenant) => tenant == self.as_str(),
            None => self.is_main() && stored.split('.').next() != Some(RESERVED),
        }
    }

    fn path(&self, written: &str) -> String {
        format!("{RESERVED}.{SEGMENT}.{self}.{written}")
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_LEN).contains(&text.len())
        && text
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
}

/// A tenant as it stands in what is stored: `main` never does.
fn is_stored_name(text: &str) -> bool {
    is_name(text) && text != MAIN
}

/// Takes a stored thing apart: whose it is, `None` for `main`, and how its owner writes it.
fn split(stored: &str, mark: char) -> (Option<&str>, &str) {
    match stored.split_once(mark) {
        Some((tenant, written)) if is_stored_name(tenant) => (Some(tenant), written),
        Some(_) | None => (None, stored),
    }
}

/// The same of a device's id.
pub(crate) fn split_id(stored: &str) -> (Option<&str>, &str) {
    split(stored, ID_MARK)
}

/// The same of a topic or pattern.
pub(crate) fn split_path(stored: &str) -> (Option<&str>, &str) {
    let named = below(stored).map(|it| split(it, '.'));
    match named {
        Some((Some(tenant), written)) => (Some(tenant), written),
        Some((None, _)) | None => (None, stored),
    }
}

/// Whether a text lies where the topics of tenants are, whatever it says there.
pub(crate) fn is_path(text: &str) -> bool {
    below(text).is_some()
}

fn below(text: &str) -> Option<&str> {
    let mut rest = text;
    for segment in [RESERVED, SEGMENT] {
        rest = rest.strip_prefix(segment)?.strip_prefix('.')?;
    }
    Some(rest)
}

/// The same of a user, or of the item of a posted event.
pub(crate) fn split_text(stored: &str) -> (Option<&str>, &str) {
    split(stored, TEXT_MARK)
}

/// A user, or the item of a posted event, as its owner writes it.
pub fn written_text(stored: &str) -> &str {
    split_text(stored).1
}

/// A topic or pattern as its owner writes it.
pub fn written_path(stored: &str) -> &str {
    split_path(stored).1
}

/// The tenant of what was taken apart.
pub(crate) fn named(tenant: Option<&str>) -> Tenant {
    tenant.map_or_else(Tenant::main, |it| Tenant(it.into()))
}

#[cfg(test)]
mod tests;
