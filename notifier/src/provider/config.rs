//! The configuration of one app: its own section, its defaults, what is wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_nats::Problem;
use serde::{Deserialize, Deserializer};

use crate::breaker::Pace;
use crate::credential::Secret;
use crate::pool::endpoint::AddressError;
use crate::pool::{Endpoint, Proxy};

/// An app's name: part of subjects, lanes and metrics.
const MAX_NAME: usize = 24;

/// A send must end before a drain does (10 s).
const MAX_TIMEOUT: Duration = Duration::from_secs(9);

/// As for any wait that a provider asks for.
const MAX_OUTAGE_PAUSE: Duration = Duration::from_hours(1);

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(8);

/// Which service an app pushes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging, HTTP v1.
    Fcm,
    /// A line in the log.
    Log,
}

/// Which of Apple's two services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Apps from the store and `TestFlight`.
    #[default]
    Production,
    /// Apps from Xcode.
    Sandbox,
}

/// One app: one set of credentials at one provider and environment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    /// `[a-z0-9_-]{1,24}`; devices name it.
    pub name: Box<str>,
    /// `apns`, `fcm` or `log`.
    pub provider: ProviderKind,
    /// APNs: the content of the .p8 file.
    pub key: Option<Secret>,
    /// APNs: the path of the .p8 file.
    pub key_file: Option<PathBuf>,
    /// APNs: the key's id, 10 characters.
    pub key_id: Option<Box<str>>,
    /// APNs: the team's id, 10 characters.
    pub team_id: Option<Box<str>>,
    /// APNs: the app's bundle id, sent as `apns-topic`.
    pub bundle_id: Option<Box<str>>,
    /// APNs with a certificate instead of a key: the chain, PEM.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub certificate_key_file: Option<PathBuf>,
    /// FCM: the content of the service account's JSON file.
    pub service_account: Option<Secret>,
    /// FCM: its path.
    pub service_account_file: Option<PathBuf>,
    /// APNs: `production` (default) or `sandbox`.
    pub environment: Option<Environment>,
    /// Another address than the provider's own, with port: tests, or APNs' port 2197.
    pub endpoint: Option<Box<str>>,
    /// More roots to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy that takes CONNECT: `http://[user:password@]host:port`.
    pub proxy: Option<Secret>,
    /// Connections to the provider; default 1. More lift the limit on streams, not the cost.
    pub connections: Option<usize>,
    /// An attempt ends after this (default 8 s, at most 9 s).
    #[serde(default, deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// Requests a second that the provider takes from all notifiers together; default: no limit.
    pub rate: Option<u32>,
    /// APNs: how long bulk pushes wait after an outage (default 15m, as Apple asks).
    #[serde(default, deserialize_with = "duration")]
    pub outage_pause: Option<Duration>,
    /// `log`: a file to which every push is appended as a line of JSON.
    pub file: Option<PathBuf>,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Box::<str>::deserialize(deserializer)?;
    let read: Result<jiff::SignedDuration, _> = text.parse();
    read.ok()
        .and_then(|it| Duration::try_from(it).ok())
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom("is not a duration such as \"8s\""))
}

impl AppConfig {
    /// A `log` app without a file: what is left are the optional fields of the other providers.
    pub fn log(name: impl Into<Box<str>>) -> Self {
        Self::new(name, ProviderKind::Log)
    }

    /// An app with nothing configured but its name and provider.
    pub fn new(name: impl Into<Box<str>>, provider: ProviderKind) -> Self {
        Self {
            name: name.into(),
            provider,
            key: None,
            key_file: None,
            key_id: None,
            team_id: None,
            bundle_id: None,
            certificate_file: None,
            certificate_key_file: None,
            service_account: None,
            service_account_file: None,
            environment: None,
            endpoint: None,
            ca_file: None,
            proxy: None,
            connections: None,
            timeout: None,
            rate: None,
            outage_pause: None,
            file: None,
        }
    }

    /// How long an attempt may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }

    /// How long its breaker stays open.
    pub(crate) fn pace(&self) -> Pace {
        match self.provider {
            ProviderKind::Apns => Pace::apns(self.outage_pause),
            ProviderKind::Fcm | ProviderKind::Log => Pace::USUAL,
        }
    }

    /// Everything that is wrong with it. No file is opened.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Problems(Vec::new());
        let is_name_char =
            |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"_-".contains(&it);
        if self.name.is_empty()
            || self.name.len() > MAX_NAME
            || !self.name.bytes().all(is_name_char)
        {
            problems.add("name", "must be 1 to 24 of a-z, 0-9, `_` and `-`");
        }
        match self.provider {
            ProviderKind::Apns => self.validate_apns(&mut problems),
            ProviderKind::Fcm => self.validate_fcm(&mut problems),
            ProviderKind::Log => {}
        }
        self.validate_foreign(&mut problems);
        problems.address("endpoint", self.endpoint.as_deref(), |it| {
            Endpoint::parse(it).map(drop)
        });
        problems.address("proxy", self.proxy.as_ref().map(Secret::reveal), |it| {
            Proxy::parse(it).map(drop)
        });
        if self.connections.is_some_and(|it| !(1..=64).contains(&it)) {
            problems.add("connections", "must be 1 to 64");
        }
        if self.rate == Some(0) {
            problems.add("rate", "must be at least 1 request a second");
        }
        if self.outage_pause.is_some_and(|it| it > MAX_OUTAGE_PAUSE) {
            problems.add("outage_pause", "must be at most 1h");
        }
        if self
            .timeout
            .is_some_and(|it| it < Duration::from_millis(100) || it > MAX_TIMEOUT)
        {
            problems.add(
                "timeout",
                "must be 100ms to 9s: shorter than the drain of 10s",
            );
        }
        problems.0
    }

    fn validate_apns(&self, problems: &mut Problems) {
        if self.bundle_id.is_none() {
            problems.add("bundle_id", "is missing: APNs needs it as topic");
        }
        let has_key = self.key.is_some() || self.key_file.is_some();
        let has_certificate =
            self.certificate_file.is_some() || self.certificate_key_file.is_some();
        match (has_key, has_certificate) {
            (true, true) => {
                problems.add("certificate_file", "give a key or a certificate, not both");
            }
            (false, false) => {
                problems.add("key_file", "is missing: give a .p8 key or a certificate");
            }
            (true, false) => {
                if self.key.is_some() && self.key_file.is_some() {
                    problems.add("key", "give `key` or `key_file`, not both");
                }
                for (key, value) in [("key_id", &self.key_id), ("team_id", &self.team_id)] {
                    if value.as_ref().is_none_or(|it| it.is_empty()) {
                        problems.add(key, "is missing: Apple shows it beside the key");
                    }
                }
            }
            (false, true) => {
                if self.certificate_file.is_none() {
                    problems.add("certificate_file", "is missing");
                }
                if self.certificate_key_file.is_none() {
                    problems.add("certificate_key_file", "is missing");
                }
            }
        }
    }

    fn validate_fcm(&self, problems: &mut Problems) {
        match (&self.service_account, &self.service_account_file) {
            (Some(_), Some(_)) => problems.add(
                "service_account",
                "give `service_account` or `service_account_file`, not both",
            ),
            (None, None) => problems.add("service_account_file", "is missing"),
            (Some(_), None) | (None, Some(_)) => {}
        }
    }

    /// Keys that mean nothing at this provider: most likely a mistake about which app this is.
    fn validate_foreign(&self, problems: &mut Problems) {
        let apns = [
            ("key", self.key.is_some()),
            ("key_file", self.key_file.is_some()),
            ("key_id", self.key_id.is_some()),
            ("team_id", self.team_id.is_some()),
            ("bundle_id", self.bundle_id.is_some()),
            ("certificate_file", self.certificate_file.is_some()),
            ("certificate_key_file", self.certificate_key_file.is_some()),
            ("environment", self.environment.is_some()),
            ("outage_pause", self.outage_pause.is_some()),
        ];
        let fcm = [
            ("service_account", self.service_account.is_some()),
            ("service_account_file", self.service_account_file.is_some()),
        ];
        let both = [
            ("endpoint", self.endpoint.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("proxy", self.proxy.is_some()),
            ("connections", self.connections.is_some()),
        ];
        let log = [("file", self.file.is_some())];
        let foreign: [&[(&str, bool)]; 3] = match self.provider {
            ProviderKind::Apns => [&fcm, &log, &[]],
            ProviderKind::Fcm => [&apns, &log, &[]],
            ProviderKind::Log => [&apns, &fcm, &both],
        };
        for (key, is_set) in foreign.into_iter().flatten() {
            if *is_set {
                problems.add(key, "has no meaning for this provider");
            }
        }
    }

    /// Paths of files as given; the composition root makes them absolute.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [
            &mut self.key_file,
            &mut self.certificate_file,
            &mut self.certificate_key_file,
            &mut self.service_account_file,
            &mut self.ca_file,
            &mut self.file,
        ]
        .into_iter()
        .flatten()
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, key: &str, message: &str) {
        self.0.push(Problem::new(key, message));
    }

    fn address(
        &mut self,
        key: &str,
        value: Option<&str>,
        parse: impl Fn(&str) -> Result<(), AddressError>,
    ) {
        if let Some(Err(error)) = value.map(parse) {
            self.add(key, &error.to_string());
        }
    }
}

#[cfg(test)]
mod tests;
