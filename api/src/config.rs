//! The section `[api]` of the configuration.

mod apps;
mod limits;

use std::net::SocketAddr;
use std::time::Duration;

use fanfare_nats::policy::TopicPolicies;
use fanfare_nats::{AppName, Problem, fail};
use serde::{Deserialize, Serialize};

pub use self::apps::App;
pub use self::limits::Limits;
use crate::quota::Network;
use crate::sweep::Rule;
use crate::text::written_seconds;
use crate::web;

/// Of registrations that do not expire.
const NEVER: &str = "never";

/// What an operator may choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port by number; port 0 lets the system choose.
    pub listen: String,
    /// When a request needs a key. Without a word always; `fanfare up` with a nats-server of its own
    /// and no word, on loopback, from the first key on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// Ask nobody for a key, wherever it listens.
    pub insecure_no_auth: bool,
    /// The apps a device may name; without this list, any valid name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apps: Option<Vec<String>>,
    /// Hold the devices in memory, as notifiers do: about 160 bytes for each. What is asked of all of
    /// them together needs it.
    pub index: bool,
    /// Devices that one user may have; 0 is no limit.
    pub max_devices_per_user: usize,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The most bytes of one import; a line of it has at most `max_body_bytes`.
    pub max_import_bytes: u64,
    /// How long nothing may arrive of an import that is not over, in seconds.
    pub import_stall_s: u64,
    /// Requests served at once; more are told to come again.
    pub max_in_flight: usize,
    /// Connections held at once; more wait in the system's queue.
    pub max_connections: usize,
    /// Readers of `/v1/stream` at once; more are told to come again.
    pub max_streams: usize,
    /// Events and receipts that are kept for readers of `/v1/stream`: who falls behind by more is dropped.
    pub stream_backlog: usize,
    /// The longest a request may take, in seconds; a stream has no end.
    pub timeout_s: u64,
    /// How long a client may take nothing while something is there for it, in seconds; then it is cut
    /// off. Less than the 10 s of the drain, or a client that stands still makes our stop a failure.
    pub standstill_s: u64,
    /// Record every change in the audit's stream, and acknowledge none before its record is stored.
    pub audit: bool,
    /// Whether a device that exists may be written without a word about its revision.
    pub preconditions: Preconditions,
    /// How long a registration lasts that is not renewed, or `never`.
    pub registration_expires_after: String,
    /// How long before its end it is warned of.
    pub registration_warning: String,
    /// Addresses and networks of the proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// Origins of the web pages that may call, such as `https://app.example.org`; `*` is any.
    pub cors_origins: Vec<String>,
    /// How much one asker may ask.
    pub limits: Limits,
    /// How events on some topics are delivered where their poster says nothing; the `[[topic]]`
    /// tables, which all publishers share.
    #[serde(skip)]
    pub topics: TopicPolicies,
    /// What is known of apps beyond their names: the `[[app]]` tables, where they stand in this file.
    #[serde(skip)]
    pub known_apps: Vec<App>,
}

/// When a request needs a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// Always.
    Required,
    /// As soon as there is a key; until then whoever reaches this loopback address may do everything.
    UntilFirst,
}

/// Whether a write has to say which revision it replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preconditions {
    /// It may.
    #[default]
    Optional,
    /// It has to: without `If-Match` or `If-None-Match` a device that exists is left as it is.
    Required,
}

/// What is asked of a request, decided from both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// A key.
    Required,
    /// A key, if there is any.
    UntilFirst,
    /// Nothing.
    Open,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8480".to_owned(),
            keys: None,
            insecure_no_auth: false,
            apps: None,
            index: true,
            max_devices_per_user: 1000,
            max_body_bytes: 64 * 1024,
            max_import_bytes: 4 * 1024 * 1024 * 1024,
            import_stall_s: 30,
            max_in_flight: 1024,
            max_connections: 4096,
            max_streams: 256,
            stream_backlog: 4096,
            timeout_s: 10,
            standstill_s: 8,
            audit: true,
            preconditions: Preconditions::Optional,
            // FCM calls a token stale after so long.
            registration_expires_after: "270d".to_owned(),
            registration_warning: "14d".to_owned(),
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
            limits: Limits::default(),
            topics: TopicPolicies::default(),
            known_apps: Vec::new(),
        }
    }
}

impl Config {
    /// Everything that is wrong with this section; the keys are relative to it.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match self.address() {
            Err(message) => problems.push(Problem::new("listen", message)),
            Ok(address) if !self.may_listen(address) => {
                problems.push(Problem::new("listen", unprotected(address)));
            }
            Ok(_) => {}
        }
        if self.insecure_no_auth && self.keys.is_some() {
            let message = "cannot be told beside `insecure_no_auth = true`: remove one of them";
            problems.push(Problem::new("keys", message.to_owned()));
        }
        for (n, app) in self.apps.iter().flatten().enumerate() {
            if let Err(error) = AppName::parse(app) {
                problems.push(Problem::new(format!("apps[{n}]"), error.to_string()));
            }
        }
        for (n, proxy) in self.trusted_proxies.iter().enumerate() {
            if let Err(error) = proxy.parse::<Network>() {
                problems.push(Problem::new(
                    format!("trusted_proxies[{n}]"),
                    error.to_string(),
                ));
            }
        }
        for (n, origin) in self.cors_origins.iter().enumerate() {
            let is_alone = origin != "*" || self.cors_origins.len() == 1;
            if !web::is_origin(origin) || !is_alone {
                let message =
                    "is no origin: write for example https://app.example.org, or `*` alone";
                problems.push(Problem::new(
                    format!("cors_origins[{n}]"),
                    message.to_owned(),
                ));
            }
        }
        self.check_expiry(&mut problems);
        let mut within = |key: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                problems.push(Problem::new(key, format!("must be {least} to {most}")));
            }
        };
        let wide = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        // Above it stands the broker's largest message, 1 MiB by default.
        within(
            "max_body_bytes",
            wide(self.max_body_bytes),
            1024,
            512 * 1024,
        );
        let most = 1024 * 1024 * 1024 * 1024;
        within("max_import_bytes", self.max_import_bytes, 1024, most);
        within("import_stall_s", self.import_stall_s, 1, 3600);
        within("max_in_flight", wide(self.max_in_flight), 1, 65_536);
        within("max_connections", wide(self.max_connections), 1, 65_536);
        within("max_streams", wide(self.max_streams), 1, 65_536);
        within("stream_backlog", wide(self.stream_backlog), 1024, 1_048_576);
        // Reading a body may take 5 s, the broker 4 s: a shorter limit would hide which it was.
        within("timeout_s", self.timeout_s, 10, 120);
        within("standstill_s", self.standstill_s, 1, 120);
        problems
    }

    fn check_expiry(&self, problems: &mut Vec<Problem>) {
        const DAY: u64 = 86_400;
        let mut read = |key: &str, text: &str, least: u64, most: u64| {
            let seconds = written_seconds(text).filter(|it| (least..=most).contains(it));
            if seconds.is_none() {
                let days = |it: u64| it / DAY;
                let (least, most) = (days(least), days(most));
                let message = format!("is a time such as \"{least}d\", at most {most}d");
                problems.push(Problem::new(key, message));
            }
            seconds
        };
        if self.registration_expires_after == NEVER {
            return;
        }
        let after = &self.registration_expires_after;
        let after = read("registration_expires_after", after, 2 * DAY, 3650 * DAY);
        let warning = &self.registration_warning;
        let warning = read("registration_warning", warning, DAY, 365 * DAY);
        if let (Some(after), Some(warning)) = (after, warning)
            && after <= warning
        {
            let message = "must be less than `registration_expires_after`".to_owned();
            problems.push(Problem::new("registration_warning", message));
        }
    }

    /// When registrations expire, if they do; what is wrong is `validate`'s to report.
    pub(crate) fn expiry(&self) -> Option<Rule> {
        let after = written_seconds(&self.registration_expires_after)?;
        let warning = written_seconds(&self.registration_warning)?;
        let seconds = |it| fail::hurried(Duration::from_secs(it));
        Some(Rule::new(seconds(after), seconds(warning)))
    }

    /// Where to listen, or what is wrong with the text.
    pub(crate) fn address(&self) -> Result<SocketAddr, String> {
        self.listen
            .parse()
            .map_err(|_| "is no address: write it by number, for example 127.0.0.1:8480".to_owned())
    }

    /// Whether only this machine reaches the address; of one that cannot be read, no.
    pub fn is_loopback(&self) -> bool {
        self.address()
            .is_ok_and(|it| it.ip().to_canonical().is_loopback())
    }

    /// What is asked of a request.
    pub(crate) fn policy(&self) -> Policy {
        match self.keys {
            _ if self.insecure_no_auth => Policy::Open,
            None | Some(Keys::Required) => Policy::Required,
            Some(Keys::UntilFirst) => Policy::UntilFirst,
        }
    }

    /// Whether serving without keys on this address was meant, if it is that.
    pub(crate) fn may_listen(&self, address: SocketAddr) -> bool {
        match self.policy() {
            Policy::Required | Policy::Open => true,
            Policy::UntilFirst => address.ip().to_canonical().is_loopback(),
        }
    }

    /// The names of the apps; invalid ones are `validate`'s to report.
    pub(crate) fn app_names(&self) -> Option<Vec<AppName>> {
        let apps = self.apps.as_ref()?;
        Some(
            apps.iter()
                .filter_map(|it| AppName::parse(it).ok())
                .collect(),
        )
    }

    /// The apps that a device may name, with what is known of them.
    pub(crate) fn shown_apps(&self) -> Vec<App> {
        let known = |name: &str| self.known_apps.iter().find(|it| it.name == name).cloned();
        let names = self.app_names().unwrap_or_default();
        let shown = names.iter().map(|it| {
            let name = it.as_str();
            known(name).unwrap_or_else(|| App::named(name))
        });
        shown.collect()
    }

    /// The proxies that are believed; invalid ones are `validate`'s to report.
    pub(crate) fn proxies(&self) -> Vec<Network> {
        let proxies = self.trusted_proxies.iter();
        proxies.filter_map(|it| it.parse().ok()).collect()
    }

    /// The longest a request may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    /// How long nothing may arrive of an import.
    pub(crate) fn import_stall(&self) -> Duration {
        Duration::from_secs(self.import_stall_s)
    }

    /// How long a client may take nothing that is there for it.
    pub(crate) fn standstill(&self) -> Duration {
        Duration::from_secs(self.standstill_s)
    }
}

/// Why an address that others can reach is refused.
pub(crate) fn unprotected(address: SocketAddr) -> String {
    format!(
        "{address} can be reached by other machines, to which `keys = \"until_first\"` would open \
         the API: write \"required\", or listen on 127.0.0.1"
    )
}

#[cfg(test)]
mod tests;
