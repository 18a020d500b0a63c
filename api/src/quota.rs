//! How much one asker may ask: a bucket of tokens for each, in the memory of this process.
//!
//! A key that stands in an app is everybody's who has the app, and a secret that was shown is not
//! proven until the device is read: both are counted by the address they come from, and so is
//! whoever has nothing good to show. Other keys are counted by themselves, wherever they come from.

mod client;
mod header;
mod table;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use fanfare_nats::keys::KeyName;
use fanfare_nats::{AppName, Tenant};
use http::HeaderMap;
use tokio::time::Instant;

pub(crate) use self::client::{Network, Peer};
pub(crate) use self::header::{RATE_LIMIT, RATE_LIMIT_POLICY, end_with_retry};

use self::client::Proxies;
use self::table::{Table, Taken};
use crate::access::Caller;
use crate::config::{Config, Limits};
use crate::problem::{Kind, Problem};

/// Who is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Key(KeyName),
    /// An address; of IPv6 the network of 64 bits that one customer has.
    Address(IpAddr),
    /// All keys of a tenant together.
    Tenant(Tenant),
    /// A user, as he is stored.
    User(String),
    App(Tenant, AppName),
    /// All of a kind for whom there is no room.
    Others(Quota),
}

/// A limit by its name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Quota {
    Key,
    Tenant,
    Address,
    User,
    App,
}

impl Quota {
    fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Tenant => "tenant",
            Self::Address => "address",
            Self::User => "user",
            Self::App => "app",
        }
    }
}

/// What everybody has left; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Quotas(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    proxies: Proxies,
    table: Mutex<Table>,
}

/// What a request was counted as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    quota: Quota,
    per_minute: NonZeroU32,
    taken: Taken,
}

impl Quotas {
    /// The quotas of a configuration, all whole.
    pub(crate) fn new(config: &Config) -> Self {
        Self(Arc::new(Shared {
            limits: config.limits.clone(),
            proxies: Proxies::new(config.proxies()),
            table: Mutex::new(Table::new(Instant::now())),
        }))
    }

    /// Counts a request of somebody, `None` of whoever was refused; `None` if it is not counted.
    pub(crate) fn charge(
        &self,
        caller: Option<&Caller>,
        peer: Option<Peer>,
        headers: &HeaderMap,
        at: Instant,
    ) -> Option<Charge> {
        if let Some(Caller::Key(key)) = caller
            && !key.is_only_for_installations()
        {
            let who = Who::Key((key.tenant.clone(), key.id.clone()));
            let charge = self.take(Quota::Key, who, at);
            if charge.is_some_and(|it| it.refusal().is_some()) {
                return charge;
            }
            let of_all = self.take(Quota::Tenant, Who::Tenant(key.tenant.clone()), at);
            // Told of the tighter one: a key of which others leave nothing is not to go on.
            return match (charge, of_all) {
                (Some(own), Some(all)) if own.taken.remaining <= all.taken.remaining => Some(own),
                (own, None) => own,
                (_, all) => all,
            };
        }
        let peer = peer?.0.ip().to_canonical();
        let address = self.0.proxies.client(peer, headers);
        if address.is_loopback() {
            // Ourselves, or a proxy that nobody named: all its clients would be one.
            return None;
        }
        let who = Who::Address(client::counted(address));
        self.take(Quota::Address, who, at)
    }

    /// Counts a request that concerns a user, who is given as stored.
    pub(crate) fn user(&self, user: &str) -> Result<(), Problem> {
        self.hold(Quota::User, Who::User(user.to_owned()))
    }

    /// Counts a registration for an app.
    pub(crate) fn app(&self, tenant: Tenant, app: &AppName) -> Result<(), Problem> {
        self.hold(Quota::App, Who::App(tenant, app.clone()))
    }

    fn hold(&self, quota: Quota, who: Who) -> Result<(), Problem> {
        let charge = self.take(quota, who, Instant::now());
        charge.and_then(|it| it.refusal()).map_or(Ok(()), Err)
    }

    fn take(&self, quota: Quota, who: Who, at: Instant) -> Option<Charge> {
        let per_minute = NonZeroU32::new(self.0.limits.of(quota))?;
        let table = self.0.table.lock();
        let mut table = table.unwrap_or_else(PoisonError::into_inner);
        let taken = table.take(who, Who::Others(quota), per_minute, at);
        Some(Charge {
            quota,
            per_minute,
            taken,
        })
    }
}

impl Charge {
    /// Why the request is not served, if it is not.
    pub(crate) fn refusal(&self) -> Option<Problem> {
        let wait_s = self.taken.wait_s?;
        let detail = format!(
            "the quota by {} is used up; come again after the time in `Retry-After`",
            self.quota.as_str()
        );
        let problem = Problem::new(Kind::TooManyRequests, detail);
        Some(problem.with("quota", self.quota.as_str()).after(wait_s))
    }

    /// Tells what is left.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        header::write(self.quota.as_str(), self.per_minute, self.taken, headers);
    }
}
