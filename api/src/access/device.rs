//! What a caller may do to one device. Pure: the device is given as it is stored, so that a write is
//! judged by exactly the document that it replaces.

use fanfare_nats::key::Right;
use fanfare_nats::{Device, Pattern};

use super::{Caller, forbidden, invalid};
use crate::problem::Problem;

/// What is stored is no document; it has no owner, and no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// What is stored of a device.
type Stored<'a> = Result<Option<&'a Device>, Unreadable>;

/// What a new document says that proves or claims something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// Where the device is reached.
    pub(crate) app: &'a fanfare_nats::AppName,
    /// The same.
    pub(crate) token: &'a fanfare_nats::Token,
    /// Whose it says to be.
    pub(crate) user: Option<&'a str>,
    /// It follows everything.
    pub(crate) follows_all: bool,
}

/// How a device may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// As the document says.
    Full,
    /// By the installation itself: whose it is stays as it was.
    Own,
    /// By somebody who registers as the installation, which gets a new secret: whose it is stays as
    /// it was.
    Register,
}

impl Caller {
    /// Whether it may see, or remove, this device. Who has only a device's secret learns of a device
    /// that is not there as much as of one that is another's.
    pub(crate) fn may_touch(&self, stored: Stored<'_>) -> Result<(), Problem> {
        match self {
            // The route's needs were the whole question.
            Self::Anyone | Self::Key(_) => Ok(()),
            Self::Device(_) => self.is_device(stored),
        }
    }

    /// Whether it may write this device, and how. `stored` is what will be replaced.
    pub(crate) fn may_write(&self, stored: Stored<'_>, claim: Claim<'_>) -> Result<Leave, Problem> {
        let leave = match self {
            Self::Anyone => Leave::Full,
            Self::Key(key) if key.has(Right::DevicesWrite) => Leave::Full,
            Self::Key(_) => {
                register(stored, claim)?;
                Leave::Register
            }
            Self::Device(_) => {
                self.is_device(stored)?;
                Leave::Own
            }
        };
        if leave == Leave::Full {
            return Ok(leave);
        }
        let known = stored.ok().flatten().and_then(Device::asked_user);
        if claim.user.is_some() && claim.user != known {
            return Err(forbidden(
                "whose a device is may be said only with the scope devices:write",
                Right::DevicesWrite.as_str(),
            ));
        }
        if claim.follows_all {
            return Err(follows_all());
        }
        Ok(leave)
    }

    /// Whether a device that it may touch may follow this because of it.
    pub(crate) fn may_follow(&self, pattern: &Pattern) -> Result<(), Problem> {
        match self {
            Self::Device(_) if pattern.written() == ">" => Err(follows_all()),
            Self::Anyone | Self::Key(_) | Self::Device(_) => Ok(()),
        }
    }

    fn is_device(&self, stored: Stored<'_>) -> Result<(), Problem> {
        let Self::Device(shown) = self else {
            return Err(invalid());
        };
        let known = stored.ok().flatten().and_then(|it| it.secret);
        if known.is_some_and(|it| it.is_same(&shown.hash)) {
            Ok(())
        } else {
            Err(invalid())
        }
    }
}

fn follows_all() -> Problem {
    forbidden(
        "the pattern `>` alone may be followed only with the scope devices:write",
        Right::DevicesWrite.as_str(),
    )
}

/// A place that is free, or one where the same address is registered: an installation that lost its
/// secret, or never got the answer, proves itself by the token, which no answer tells.
fn register(stored: Stored<'_>, claim: Claim<'_>) -> Result<(), Problem> {
    let is_same = |it: &Device| {
        it.app == *claim.app && same_text(it.asked_token().reveal(), claim.token.reveal())
    };
    match stored {
        Ok(None) => Ok(()),
        Ok(Some(device)) if is_same(device) => Ok(()),
        Ok(Some(_)) | Err(Unreadable) => Err(forbidden(
            "the id is taken by another installation: write it with its own secret, or choose \
             another id",
            Right::DevicesWrite.as_str(),
        )),
    }
}

/// In the same time, wherever they differ; how long a token is may be told.
fn same_text(one: &str, other: &str) -> bool {
    let pairs = one.bytes().zip(other.bytes());
    let differing = pairs.fold(0_u8, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differing) == 0
}
