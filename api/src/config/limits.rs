//! The section `[api.limits]`: requests a minute, counted by each process for itself.

use serde::{Deserialize, Serialize};

use crate::quota::Quota;

/// Requests a minute, of which a minute's worth may come at once. 0 is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Of one key, but for those that are only for installations.
    pub per_key: u32,
    /// Of all keys of a tenant together, but for those that are only for installations.
    pub per_tenant: u32,
    /// Of one client address: who shows a device's secret, a key for installations, or nothing good.
    pub per_address: u32,
    /// That concern one user: registrations of his devices, and test sends to him.
    pub per_user: u32,
    /// Registrations for one app of a tenant.
    pub per_app: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_key: 120_000,
            per_tenant: 0,
            per_address: 600,
            per_user: 600,
            per_app: 0,
        }
    }
}

impl Limits {
    /// The limit by its name.
    pub(crate) fn of(&self, quota: Quota) -> u32 {
        match quota {
            Quota::Key => self.per_key,
            Quota::Tenant => self.per_tenant,
            Quota::Address => self.per_address,
            Quota::User => self.per_user,
            Quota::App => self.per_app,
        }
    }
}
