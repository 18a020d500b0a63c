//! Bringing a sim up, one part after the other.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Inside, StartError, Whereabouts, flush};
use crate::ca::{CertificateError, Certificates};
use crate::clock;
use crate::config::{ApnsConfig, FcmConfig, SimConfig};
use crate::keys;
use crate::ledger::Ledger;
use crate::provider::Double;
use crate::provider::apns::Apns;
use crate::provider::auth::Keys;
use crate::provider::fcm::Fcm;
use crate::provider::oauth::OAuth;
use crate::script::Script;
use crate::upstream::Upstream;
use crate::wire::{Delay, Listener, Opening, World};

const APNS_KEY: &str = "apns-key.p8";
const SERVICE_ACCOUNT: &str = "fcm-service-account.json";

/// Everything of `config`; an error ends what was started before it.
pub(super) fn start(config: SimConfig) -> Result<Arc<Inside>, StartError> {
    let certificates = Certificates::open(&config.folder, config.address)?;
    let upstream = Upstream::open(&config.upstream, clock::now().as_millisecond())?;
    let world = world(&config)?;
    let undo = world.stop.clone().drop_guard();
    let socket = crate::http::bind((config.address, config.http_port).into())?;
    let mut start = Start {
        world: &world,
        certificates: &certificates,
        address: config.address,
        listeners: Vec::new(),
    };
    let [apns, apns_cleartext] = match &config.apns {
        Some(apns) => start.apns(apns, &config.folder.join(APNS_KEY))?,
        None => [None; 2],
    };
    let ([fcm, fcm_cleartext], oauth) = match &config.fcm {
        Some(fcm) => start.fcm(fcm, socket.address, &config.folder.join(SERVICE_ACCOUNT))?,
        None => ([None; 2], None),
    };
    let listeners = start.listeners;
    let known = config.apns.unwrap_or(ApnsConfig {
        topics: Vec::new(),
        ..ApnsConfig::default()
    });
    let whereabouts = Whereabouts {
        http: socket.address,
        apns,
        apns_cleartext,
        fcm,
        fcm_cleartext,
        ca: certificates.ca,
        apns_key: config.folder.join(APNS_KEY),
        apns_key_id: known.key_id,
        apns_team_id: known.team_id,
        apns_topics: known.topics,
        apns_client: certificates.client,
        fcm_service_account: config.folder.join(SERVICE_ACCOUNT),
        fcm_projects: config.fcm.map(|it| it.projects).unwrap_or_default(),
        ledger: world.ledger.path().map(ToOwned::to_owned),
    };
    let upstream = Arc::new(upstream);
    if let Some(quakes) = &upstream.quakes {
        world
            .tasks
            .spawn(Arc::clone(quakes).run(world.stop.clone()));
    }
    let inside = Arc::new(Inside {
        world,
        whereabouts,
        listeners,
        oauth,
        upstream,
    });
    crate::http::serve(socket, &inside)?;
    inside.world.tasks.spawn(flush(Arc::clone(&inside.world)));
    undo.disarm();
    Ok(inside)
}

fn world(config: &SimConfig) -> Result<Arc<World>, StartError> {
    let ledger = Ledger::open(config.ledger, &config.folder.join("ledger.jsonl"))
        .map_err(StartError::Ledger)?;
    let script = Script::default();
    for rule in &config.rules {
        script.add(rule.clone(), clock::now().as_millisecond());
    }
    Ok(Arc::new(World {
        ledger,
        script,
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        n_connections: AtomicU64::new(0),
        n_requests: AtomicU64::new(0),
        ended: std::sync::Mutex::default(),
    }))
}

/// With TLS and without.
type Addresses = [Option<SocketAddr>; 2];

/// The providers of a sim on their way up.
struct Start<'a> {
    world: &'a Arc<World>,
    certificates: &'a Certificates,
    address: IpAddr,
    listeners: Vec<Arc<Listener>>,
}

impl Start<'_> {
    fn apns(&mut self, config: &ApnsConfig, key: &Path) -> Result<Addresses, StartError> {
        let double = Double::Apns(Arc::new(Apns {
            keys: Keys::new(
                config.key_id.clone(),
                config.team_id.clone(),
                keys::apns(key)?,
                config.renewals_per,
            ),
            topics: config.topics.clone(),
        }));
        let delay = Arc::new(Delay::default());
        delay.set(config.latency);
        let address = self.address;
        let opening = |port, tls| Opening {
            at: (address, port).into(),
            tls,
            double: double.clone(),
            latency: Arc::clone(&delay),
            first_streams: config.first_streams,
            max_streams: config.max_streams,
        };
        let tls = self.tls(config.accepts_certificates)?;
        let secure = self.listen("APNs", opening(config.port, Some(tls)))?;
        let clear = config
            .cleartext_port
            .map(|port| self.listen("APNs", opening(port, None)));
        Ok([Some(secure), clear.transpose()?])
    }

    fn fcm(
        &mut self,
        config: &FcmConfig,
        http: SocketAddr,
        account: &Path,
    ) -> Result<(Addresses, Option<Arc<Fcm>>), StartError> {
        let project = config
            .projects
            .first()
            .map_or("sim-project", String::as_str);
        let client_email = format!("fanfare-sim@{project}.iam.gserviceaccount.com");
        let token_uri = format!("http://{http}/token");
        keys::service_account(account, project, &client_email, &token_uri)?;
        let fcm = Arc::new(Fcm {
            oauth: OAuth::new(client_email, token_uri, config.token_lifetime_s)?,
            projects: config.projects.clone(),
        });
        let delay = Arc::new(Delay::default());
        delay.set(config.latency);
        let address = self.address;
        let opening = |port, tls| Opening {
            at: (address, port).into(),
            tls,
            double: Double::Fcm(Arc::clone(&fcm)),
            latency: Arc::clone(&delay),
            first_streams: config.max_streams,
            max_streams: config.max_streams,
        };
        let tls = self.tls(false)?;
        let secure = self.listen("FCM", opening(config.port, Some(tls)))?;
        let clear = config
            .cleartext_port
            .map(|port| self.listen("FCM", opening(port, None)));
        Ok(([Some(secure), clear.transpose()?], Some(fcm)))
    }

    fn tls(&self, accepts_clients: bool) -> Result<TlsAcceptor, CertificateError> {
        Ok(TlsAcceptor::from(Arc::new(
            self.certificates.server_config(accepts_clients)?,
        )))
    }

    fn listen(&mut self, what: &'static str, opening: Opening) -> Result<SocketAddr, StartError> {
        let listener = Listener::open(self.world, opening)
            .map_err(|cause| StartError::Listen { what, cause })?;
        let address = listener.address;
        self.listeners.push(listener);
        Ok(address)
    }
}
