//! A running sim: what was started, where it listens, how it is steered.

mod start;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ca::CertificateError;
use crate::clock;
use crate::config::SimConfig;
use crate::http::HttpError;
use crate::keys::KeyError;
use crate::ledger::{Counts, Ledger, ProviderKind};
use crate::provider::fcm::Fcm;
use crate::provider::oauth::TestKeyError;
use crate::script::{Rule, Script};
use crate::upstream::faults::FeedRule;
use crate::upstream::quakes::Emission;
use crate::upstream::{Asked, FeedError, QUAKES, QUAKES_SOCKET, Upstream, Visit};
use crate::wire::{Disturbance, EndedConnection, Latency, Listener, World};

/// How long `answered` lines wait for company.
const FLUSH_EVERY: Duration = Duration::from_millis(20);

/// A sim could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder.
    #[error("failed to make the folder {}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The ledger.
    #[error("failed to open the ledger")]
    Ledger(#[source] io::Error),
    /// The certificates.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The built-in key.
    #[error(transparent)]
    TestKey(#[from] TestKeyError),
    /// A feed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A port.
    #[error("failed to listen for {what}")]
    Listen {
        /// For what.
        what: &'static str,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The plain HTTP side.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Where everything is: what a sender, a fetcher or a person needs to know. As JSON this is the
/// answer of `GET /control/state` and the file `sim.json` in the sim's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Whereabouts {
    /// The plain HTTP listener: control, feeds, token endpoint.
    pub http: SocketAddr,
    /// APNs with TLS.
    pub apns: Option<SocketAddr>,
    /// APNs without TLS.
    pub apns_cleartext: Option<SocketAddr>,
    /// FCM with TLS.
    pub fcm: Option<SocketAddr>,
    /// FCM without TLS.
    pub fcm_cleartext: Option<SocketAddr>,
    /// Certificate authority to trust, PEM.
    pub ca: PathBuf,
    /// APNs token key, PKCS #8 PEM.
    pub apns_key: PathBuf,
    /// Its `kid`.
    pub apns_key_id: String,
    /// Its team.
    pub apns_team_id: String,
    /// Bundle ids known.
    pub apns_topics: Vec<String>,
    /// APNs client certificate and key, PEM.
    pub apns_client: PathBuf,
    /// FCM service account file.
    pub fcm_service_account: PathBuf,
    /// FCM projects known.
    pub fcm_projects: Vec<String>,
    /// The ledger, if one is written.
    pub ledger: Option<PathBuf>,
}

/// What the control endpoint and the handle share.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) world: Arc<World>,
    pub(crate) whereabouts: Whereabouts,
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) oauth: Option<Arc<Fcm>>,
    pub(crate) upstream: Arc<Upstream>,
}

/// A running sim. Dropping it stops it without waiting; [`Sim::stop`] waits.
#[derive(Debug)]
pub struct Sim {
    inside: Arc<Inside>,
}

impl Sim {
    /// Starts everything in `config`; ready to serve when this returns.
    ///
    /// # Errors
    /// The folder, a key, a feed or a port. Nothing is left running then.
    pub async fn start(config: SimConfig) -> Result<Self, StartError> {
        let folder = config.folder.clone();
        tokio::fs::create_dir_all(&folder)
            .await
            .map_err(|cause| StartError::Folder { folder, cause })?;
        Ok(Self {
            inside: start::start(config)?,
        })
    }

    /// Where everything is.
    pub fn whereabouts(&self) -> &Whereabouts {
        &self.inside.whereabouts
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.inside.world.ledger
    }

    /// The ledger's numbers.
    pub fn counts(&self) -> Counts {
        self.inside.world.ledger.counts()
    }

    /// The fault rules.
    pub fn script(&self) -> &Script {
        &self.inside.world.script
    }

    /// Adds a fault rule that counts its time from now. Returns its id.
    pub fn add_rule(&self, rule: Rule) -> u64 {
        self.script().add(rule, clock::now().as_millisecond())
    }

    /// Does `what` to the open connections of a double. Returns how many heard it.
    pub fn disturb(&self, provider: ProviderKind, what: Disturbance) -> usize {
        self.inside.disturb(provider, what, None)
    }

    /// The connections to the doubles that have ended, in order.
    pub fn ended(&self) -> Vec<EndedConnection> {
        let ended = self.inside.world.ended.lock();
        ended.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses new connections to a double (the kernel does), or takes them again.
    pub fn set_refuses(&self, provider: ProviderKind, refuses: bool) {
        self.inside.set_refuses(provider, refuses);
    }

    /// How long a double's answers take, for requests that arrive from now on.
    pub fn set_latency(&self, provider: ProviderKind, latency: Latency) {
        self.inside.set_latency(provider, latency);
    }

    /// The address of the shipped quakes as a document.
    pub fn quakes_url(&self) -> String {
        format!("http://{}{QUAKES}", self.inside.whereabouts.http)
    }

    /// The address of the same quakes as a socket.
    pub fn quakes_socket_url(&self) -> String {
        format!("ws://{}{QUAKES_SOCKET}", self.inside.whereabouts.http)
    }

    /// What the feed of quakes has shown since the start, in order.
    pub fn emissions(&self) -> Vec<Emission> {
        self.inside
            .upstream
            .quakes
            .as_ref()
            .map(|it| it.emissions())
            .unwrap_or_default()
    }

    /// Whether the feed of quakes has shown everything it has.
    pub fn is_feed_over(&self) -> bool {
        self.inside
            .upstream
            .quakes
            .as_ref()
            .is_none_or(|it| it.is_over())
    }

    /// Moves the feed at `path` (quakes or snapshots) on by `steps`; `false` if there is none.
    pub fn advance_feed(&self, path: &str, steps: usize) -> bool {
        self.inside.upstream.advance(path, steps)
    }

    /// Sets the clock of the quakes on by so many seconds of feed time.
    pub fn leap_feed(&self, seconds: f64) {
        if let Some(quakes) = &self.inside.upstream.quakes {
            quakes.leap(seconds);
        }
    }

    /// Feed seconds per second of the quakes from now on; 0 stands still.
    pub fn set_feed_speed(&self, speed: f64) {
        if let Some(quakes) = &self.inside.upstream.quakes {
            quakes.set_speed(speed);
        }
    }

    /// Adds a fault rule for feeds that counts its time from now.
    pub fn add_feed_rule(&self, rule: FeedRule) {
        self.inside
            .upstream
            .faults
            .add(rule, clock::now().as_millisecond());
    }

    /// Takes all fault rules for feeds away.
    pub fn clear_feed_rules(&self) {
        self.inside.upstream.faults.clear();
    }

    /// Closes all open sockets of feeds; new ones are served.
    pub fn close_sockets(&self) {
        self.inside.upstream.close_sockets();
    }

    /// How often each feed path was asked.
    pub fn asked(&self) -> std::collections::BTreeMap<String, Asked> {
        self.inside.upstream.asked()
    }

    /// Every connection to a feed's socket so far, in the order of opening.
    pub fn visits(&self) -> Vec<Visit> {
        self.inside.upstream.visits()
    }

    /// The number of the last tick of the ticker at `path`; `None` if there is none.
    pub fn n_ticks(&self, path: &str) -> Option<usize> {
        self.inside.upstream.n_ticks(path)
    }

    /// Access tokens given out by the token endpoint.
    pub fn n_access_tokens(&self) -> u64 {
        self.inside
            .oauth
            .as_ref()
            .map_or(0, |fcm| fcm.oauth.n_issued())
    }

    /// Stops everything and waits for it; the ledger is complete when this returns.
    ///
    /// Open connections are cut. Dropping this future leaves the rest to the runtime.
    pub async fn stop(self) {
        let world = Arc::clone(&self.inside.world);
        drop(self);
        world.tasks.close();
        world.tasks.wait().await;
        if let Err(error) = world.ledger.flush() {
            tracing::error!(%error, "the ledger's last lines are lost");
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.inside.world.stop.cancel();
    }
}

impl Inside {
    fn of(&self, provider: ProviderKind) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners
            .iter()
            .filter(move |it| it.double.kind() == provider)
    }

    pub(crate) fn disturb(
        &self,
        provider: ProviderKind,
        what: Disturbance,
        connection: Option<u64>,
    ) -> usize {
        self.of(provider)
            .map(|it| it.disturb(what, connection))
            .sum()
    }

    pub(crate) fn set_refuses(&self, provider: ProviderKind, refuses: bool) {
        self.of(provider).for_each(|it| it.set_refuses(refuses));
    }

    pub(crate) fn set_latency(&self, provider: ProviderKind, latency: Latency) {
        self.of(provider).for_each(|it| it.latency.set(latency));
    }
}

async fn flush(world: Arc<World>) {
    loop {
        tokio::select! {
            () = world.stop.cancelled() => return,
            () = tokio::time::sleep(FLUSH_EVERY) => {}
        }
        if let Err(error) = world.ledger.flush() {
            tracing::error!(%error, "the ledger cannot be written");
        }
    }
}
