//! Opening an app: reading its credentials and starting its connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::Problem;
use http::HeaderValue;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::apns::{Apns, Outage};
use super::config::{AppConfig, Environment, ProviderKind};
use super::counters::AttemptMetrics;
use super::fcm::Fcm;
use super::log::Log;
use super::{Prepared, Provider, Refusal};
use crate::credential::oauth::{Keeper, ServiceAccount, ServiceAccountError};
use crate::credential::{KeyError, Keyring, Secret};
use crate::notification::{Notification, Target};
use crate::outcome::Outcome;
use crate::pool::endpoint::{AddressError, split};
use crate::pool::tls::{HTTP2, HTTP2_OR_1, Identity, TlsError, client_config};
use crate::pool::{Endpoint, Keepalive, Pool, Proxy, Way};

/// Apple, "Sending notification requests to APNs"; port 2197 is an `endpoint` away.
const APNS_PRODUCTION: &str = "https://api.push.apple.com";
const APNS_SANDBOX: &str = "https://api.sandbox.push.apple.com";

/// Firebase, reference of `projects.messages.send`.
const FCM: &str = "https://fcm.googleapis.com";

/// What the apps of one process share.
#[derive(Clone)]
pub struct Resources {
    /// One provider token per key and process.
    pub keyring: Arc<Keyring>,
    /// Where attempts are counted.
    pub attempts: AttemptMetrics,
    /// Owns the tasks of all connections; whoever shuts down closes it and waits for it.
    pub tasks: TaskTracker,
    /// Ends the connections, after what is in flight on them has ended. To be cancelled after the
    /// senders are drained.
    pub stop: CancellationToken,
    /// When connections are asked whether they live.
    pub keepalive: Keepalive,
}

impl Resources {
    /// A keyring and counters of their own, the usual keepalive.
    pub fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            keyring: Arc::default(),
            attempts: AttemptMetrics::default(),
            tasks,
            stop,
            keepalive: Keepalive::default(),
        }
    }
}

/// An app that can send.
pub struct App {
    name: Box<str>,
    provider: Provider,
    timeout: Duration,
}

/// Why an app could not be opened. A matter of configuration: nothing is connected yet.
#[derive(Debug, thiserror::Error)]
#[error("app `{app}` cannot be opened")]
pub struct OpenAppError {
    /// The app's name.
    pub app: Box<str>,
    /// What is wrong.
    #[source]
    pub cause: OpenAppCause,
}

/// What is wrong with an app that could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenAppCause {
    /// [`AppConfig::validate`] names it.
    #[error("`{key}` {message}")]
    Config {
        /// Which key.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file cannot be read or written.
    #[error("file {} cannot be opened", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The .p8 key is not usable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The service account is not usable.
    #[error(transparent)]
    ServiceAccount(#[from] ServiceAccountError),
    /// The service account's `token_uri` is not usable.
    #[error("token_uri of the service account {0}")]
    TokenUri(AddressError),
    /// Certificates are not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl App {
    /// Reads the credentials and starts the app's connections on `with.tasks`; the first request
    /// connects. An FCM app asks for its access token at once.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// A configuration that does not hold together, or credentials that cannot be read.
    pub fn open(
        config: &AppConfig,
        with: &Resources,
        now: Timestamp,
    ) -> Result<Self, OpenAppError> {
        let opened = match config.validate().into_iter().next() {
            Some(Problem { key, message }) => Err(OpenAppCause::Config { key, message }),
            None => match config.provider {
                ProviderKind::Apns => apns(config, with, now),
                ProviderKind::Fcm => fcm(config, with),
                ProviderKind::Log => log(config, with),
            },
        };
        match opened {
            Ok(provider) => Ok(Self {
                name: config.name.clone(),
                provider,
                timeout: config.timeout(),
            }),
            Err(cause) => Err(OpenAppError {
                app: config.name.clone(),
                cause,
            }),
        }
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// No attempt takes longer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// See [`Provider::prepare`].
    ///
    /// # Errors
    ///
    /// The notification has no form at this provider.
    pub fn prepare(&self, what: &Notification) -> Result<Prepared, Refusal> {
        self.provider.prepare(what)
    }

    /// See [`Provider::attempt`]. Dropping this future leaves the outcome unknown.
    pub async fn attempt(&self, to: &Target<'_>, what: &Prepared, now: Timestamp) -> Outcome {
        self.provider.attempt(to, what, now).await
    }
}

fn apns(config: &AppConfig, with: &Resources, now: Timestamp) -> Result<Provider, OpenAppCause> {
    let bundle_id = config.bundle_id.as_deref().unwrap_or_default();
    let bundle_id = HeaderValue::from_str(bundle_id)
        .map_err(|_| wrong("bundle_id", "is not fit for a header"))?;
    let identity = match (&config.certificate_file, &config.certificate_key_file) {
        (Some(certificate), Some(key)) => Some(Identity {
            certificate: read(certificate)?,
            key: read(key)?,
        }),
        _ => None,
    };
    let token = match secret(config.key.as_ref(), config.key_file.as_deref())? {
        Some(pem) => {
            let key_id = config.key_id.as_deref().unwrap_or_default();
            let team_id = config.team_id.as_deref().unwrap_or_default();
            Some(with.keyring.provider_token(&pem, key_id, team_id, now)?)
        }
        None => None,
    };
    let own = match config.environment.unwrap_or_default() {
        Environment::Production => APNS_PRODUCTION,
        Environment::Sandbox => APNS_SANDBOX,
    };
    let (endpoint, _) = split(config.endpoint.as_deref().unwrap_or(own))
        .map_err(|it| wrong("endpoint", &it.to_string()))?;
    let way = way(config, with, endpoint, HTTP2, identity.as_ref())?;
    Ok(Provider::Apns(Box::new(Apns {
        pool: pool(config, with, way),
        token,
        bundle_id,
        timeout: config.timeout(),
        counters: with.attempts.of_app(&config.name),
        outage: Outage::default(),
    })))
}

fn fcm(config: &AppConfig, with: &Resources) -> Result<Provider, OpenAppCause> {
    let json = secret(
        config.service_account.as_ref(),
        config.service_account_file.as_deref(),
    )?;
    let json = String::from_utf8_lossy(&json.unwrap_or_default()).into_owned();
    let account = ServiceAccount::parse(&json)?;
    let path = format!("/v1/projects/{}/messages:send", account.project_id);
    let path = path.parse().map_err(|_| {
        wrong(
            "service_account",
            "has a project_id that is not fit for a path",
        )
    })?;
    let (endpoint, _) = split(config.endpoint.as_deref().unwrap_or(FCM))
        .map_err(|it| wrong("endpoint", &it.to_string()))?;
    let (token_endpoint, token_path) = split(&account.token_uri).map_err(OpenAppCause::TokenUri)?;
    let token_way = way(config, with, token_endpoint, HTTP2_OR_1, None)?;
    let way = way(config, with, endpoint, HTTP2, None)?;
    let (keeper, token) = Keeper::new(account, token_way, token_path)?;
    with.tasks.spawn(keeper.run(with.stop.clone()));
    Ok(Provider::Fcm(Box::new(Fcm {
        pool: pool(config, with, way),
        token,
        path,
        timeout: config.timeout(),
        counters: with.attempts.of_app(&config.name),
    })))
}

fn log(config: &AppConfig, with: &Resources) -> Result<Provider, OpenAppCause> {
    let counters = with.attempts.of_app(&config.name);
    let file = config.file();
    Log::open(&config.name, file, counters)
        .map(Provider::Log)
        .map_err(|cause| OpenAppCause::File {
            path: file.unwrap_or(Path::new("")).into(),
            cause,
        })
}

fn pool(config: &AppConfig, with: &Resources, way: Way) -> Pool {
    Pool::open(
        way,
        config.connections.unwrap_or(1),
        &with.tasks,
        with.stop.clone(),
    )
}

fn way(
    config: &AppConfig,
    with: &Resources,
    endpoint: Endpoint,
    protocols: &[&[u8]],
    identity: Option<&Identity>,
) -> Result<Way, OpenAppCause> {
    let extra_roots = config.ca_file.as_deref().map(read).transpose()?;
    let tls = endpoint
        .is_tls()
        .then(|| client_config(protocols, extra_roots.as_deref(), identity))
        .transpose()?;
    let proxy = config
        .proxy
        .as_ref()
        .map(|it| Proxy::parse(it.reveal()))
        .transpose()
        .map_err(|it| wrong("proxy", &it.to_string()))?;
    Ok(Way {
        endpoint,
        proxy,
        tls,
        // Half of the time for connecting, so that a push that waited for it can still be sent.
        connect_timeout: config.timeout() / 2,
        keepalive: with.keepalive,
    })
}

fn wrong(key: &str, message: &str) -> OpenAppCause {
    OpenAppCause::Config {
        key: key.to_owned(),
        message: message.to_owned(),
    }
}

fn secret(given: Option<&Secret>, file: Option<&Path>) -> Result<Option<Vec<u8>>, OpenAppCause> {
    match (given, file) {
        (Some(given), _) => Ok(Some(given.reveal().as_bytes().to_vec())),
        (None, Some(path)) => read(path).map(Some),
        (None, None) => Ok(None),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, OpenAppCause> {
    std::fs::read(path).map_err(|cause| OpenAppCause::File {
        path: path.to_owned(),
        cause,
    })
}
