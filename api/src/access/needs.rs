//! What a route needs: the table's column. A new route has to say it to compile.

use fanfare_nats::key::Right;
use http::Method;

use super::caller::Caller;
use super::forbidden;
use crate::problem::Problem;
use crate::router::row_of;

/// Who may come to a route. What may be done there can depend on more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Any one of these; `admin` always does.
    rights: &'static [Right],
    /// The device that the path names may come with its own secret.
    is_for_device: bool,
    /// Keys of every tenant may come, because what is answered is the tenant's alone.
    is_for_tenants: bool,
    is_open: bool,
}

impl Needs {
    /// Everyone, without a key: probes, and what tells nothing of anybody.
    pub(crate) const NOTHING: Self = Self {
        rights: &[],
        is_for_device: false,
        is_for_tenants: true,
        is_open: true,
    };

    /// A key with one of these rights, or with `admin`; of `main`, unless the route says that it is
    /// [`Self::for_tenants`].
    pub(crate) const fn one_of(rights: &'static [Right]) -> Self {
        Self {
            rights,
            is_for_device: false,
            is_for_tenants: false,
            is_open: false,
        }
    }

    /// Of every tenant: whatever the route reads and writes belongs to the caller's.
    pub(crate) const fn for_tenants(self) -> Self {
        Self {
            is_for_tenants: true,
            ..self
        }
    }

    /// Or the device that the path names.
    pub(crate) const fn or_device(self) -> Self {
        Self {
            is_for_device: true,
            ..self
        }
    }

    /// Whether nobody is asked who he is.
    pub(crate) fn is_open(self) -> bool {
        self.is_open
    }

    /// Any one of these lets somebody come.
    pub(crate) fn rights(self) -> &'static [Right] {
        self.rights
    }

    /// Whether keys of every tenant may come.
    pub(crate) fn is_for_tenants(self) -> bool {
        self.is_for_tenants
    }

    /// Whether the device that the path names may come.
    pub(crate) fn is_for_device(self) -> bool {
        self.is_for_device
    }

    /// What a route and method need; `None` if there is no such route.
    pub(crate) fn of_route(path: &str, method: &Method) -> Option<Self> {
        row_of(path, method).map(|it| it.needs)
    }

    /// Whether such a caller may come.
    pub(super) fn admit(self, caller: &Caller) -> Result<(), Problem> {
        if !self.is_for_tenants && !caller.tenant().is_main() {
            return Err(forbidden(
                "this is of the whole installation: only a key of the tenant `main` may ask for it",
                Right::Admin.as_str(),
            ));
        }
        let may = match caller {
            Caller::Anyone => true,
            // Whether it is this device's is known when the device is.
            Caller::Device(_) => self.is_for_device,
            Caller::Key(key) => key.has(Right::Admin) || self.rights.iter().any(|it| key.has(*it)),
        };
        if may {
            return Ok(());
        }
        let words: Vec<&str> = self.rights.iter().map(|it| it.as_str()).collect();
        let scope = match words.as_slice() {
            [] => Right::Admin.as_str().to_owned(),
            words => words.join(" "),
        };
        Err(forbidden("the key does not have one of the scopes", &scope).with("scopes", words))
    }
}
