//! What a sim consists of, as a value and as a file.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ledger::LedgerMode;
use crate::provider::auth::RenewalsPer;
use crate::script::Rule;
use crate::upstream::faults::FeedRule;
use crate::wire::Latency;

/// A whole sim. A port of 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimConfig {
    /// Folder for certificates, keys and the ledger; made if missing. What is there is used again.
    pub folder: PathBuf,
    /// Where everything listens: 127.0.0.1, unless a test gives the outside world a host of its own.
    pub address: IpAddr,
    /// How much the ledger keeps. The file is `ledger.jsonl` in the folder.
    pub ledger: LedgerMode,
    /// The double of APNs.
    pub apns: Option<ApnsConfig>,
    /// The double of FCM.
    pub fcm: Option<FcmConfig>,
    /// The feeds.
    pub upstream: UpstreamConfig,
    /// Port of the plain HTTP listener: control, token endpoint, feeds.
    pub http_port: u16,
    /// Faults from the start.
    pub rules: Vec<Rule>,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("sim"),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ledger: LedgerMode::File,
            apns: Some(ApnsConfig::default()),
            fcm: Some(FcmConfig::default()),
            upstream: UpstreamConfig::default(),
            http_port: 0,
            rules: Vec::new(),
        }
    }
}

impl SimConfig {
    /// The defaults, with everything that is written below `folder`.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            ..Self::default()
        }
    }
}

/// The double of APNs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApnsConfig {
    /// Port with TLS.
    pub port: u16,
    /// Port without TLS, if wanted.
    pub cleartext_port: Option<u16>,
    /// Bundle ids; their suffixed topics (`.voip`) are known too.
    pub topics: Vec<String>,
    /// `kid` of the provider tokens.
    pub key_id: String,
    /// `iss` of the provider tokens.
    pub team_id: String,
    /// Per what new provider tokens are counted.
    pub renewals_per: RenewalsPer,
    /// Ask for a client certificate; who sends one needs no provider token.
    pub accepts_certificates: bool,
    /// Streams a connection may have before its first valid provider token.
    pub first_streams: u32,
    /// Streams it may have then.
    pub max_streams: u32,
    /// How long answers take.
    pub latency: Latency,
}

impl Default for ApnsConfig {
    fn default() -> Self {
        Self {
            port: 0,
            cleartext_port: None,
            topics: vec!["org.example.app".to_owned()],
            key_id: "SIMKEY0001".to_owned(),
            team_id: "SIMTEAM001".to_owned(),
            renewals_per: RenewalsPer::Connection,
            accepts_certificates: false,
            first_streams: 1,
            max_streams: 1000,
            latency: Latency::default(),
        }
    }
}

/// The double of FCM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FcmConfig {
    /// Port with TLS.
    pub port: u16,
    /// Port without TLS, if wanted.
    pub cleartext_port: Option<u16>,
    /// Project ids; the first one's service account is written into the folder.
    pub projects: Vec<String>,
    /// Seconds an access token lives.
    pub token_lifetime_s: u32,
    /// Streams a connection may have.
    pub max_streams: u32,
    /// How long answers take.
    pub latency: Latency,
}

impl Default for FcmConfig {
    fn default() -> Self {
        Self {
            port: 0,
            cleartext_port: None,
            projects: vec!["sim-project".to_owned()],
            token_lifetime_s: 3599,
            max_streams: 100,
            latency: Latency::default(),
        }
    }
}

/// The feed side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// The shipped quakes, at `/quakes/all_day.geojson` and `/quakes/ws`.
    pub quakes: Option<QuakesConfig>,
    /// Folders of documents.
    pub snapshots: Vec<SnapshotsConfig>,
    /// Recorded sockets.
    pub sockets: Vec<SocketConfig>,
    /// Feeds that count.
    pub tickers: Vec<TickerConfig>,
    /// Faults from the start.
    pub rules: Vec<FeedRule>,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            quakes: Some(QuakesConfig::default()),
            snapshots: Vec::new(),
            sockets: Vec::new(),
            tickers: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// The clock of the shipped quakes. The table spans about 59 hours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuakesConfig {
    /// Where the feed clock begins, in seconds from the table's first quake. What is earlier is
    /// there from the start.
    pub start_s: f64,
    /// Feed seconds per second; 0 stands still and moves by control only.
    pub speed: f64,
}

impl Default for QuakesConfig {
    fn default() -> Self {
        Self {
            start_s: 12.0 * 3600.0,
            speed: 60.0,
        }
    }
}

/// A folder of documents, shown in the order of their names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a configuration")]
pub struct SnapshotsConfig {
    /// Where it is served, with the leading slash.
    pub path: String,
    /// The folder.
    pub folder: PathBuf,
    /// What moves it on to the next document. The last one stays.
    pub advance: Advance,
    /// The documents are the pages of one list (`?page=2`, `Link` headers) instead.
    pub pages: bool,
    /// Send `ETag`, a hash of the bytes.
    pub etag: bool,
    /// Send `Last-Modified`.
    pub last_modified: bool,
    /// Send this `Cache-Control`.
    pub cache_control: Option<String>,
    /// Pack for who accepts it.
    pub gzip: bool,
}

impl Default for SnapshotsConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            folder: PathBuf::new(),
            advance: Advance::Request,
            pages: false,
            etag: true,
            last_modified: true,
            cache_control: None,
            gzip: true,
        }
    }
}

/// What moves a folder of snapshots on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advance {
    /// Each request that is answered.
    #[default]
    Request,
    /// Time: the next one every so many milliseconds.
    EveryMs(u64),
    /// The control endpoint only.
    Control,
}

/// A recorded socket. The file's lines are `EPOCH.FRACTION: FRAME`, binary frames as Python byte
/// literals; each client gets it from the beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketConfig {
    /// Where it is served, with the leading slash.
    pub path: String,
    /// The file.
    pub file: PathBuf,
    /// Recorded seconds per second; 0 sends as fast as the client reads.
    pub speed: f64,
    /// Numbers of received frames to leave out, from 1.
    pub drop_frames: Vec<u64>,
    /// Send nothing before the client has sent a frame.
    pub waits_for_frame: bool,
    /// What follows the last frame.
    pub at_end: AtEnd,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            file: PathBuf::new(),
            speed: 1.0,
            drop_frames: Vec::new(),
            waits_for_frame: false,
            at_end: AtEnd::Hold,
        }
    }
}

/// What a recorded socket does after its last frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    /// Stays open.
    #[default]
    Hold,
    /// Closes with a close frame.
    Close,
}

/// A feed that counts: `{"n", "at_ms"}` every so often, the last minutes as a document at `path`, each
/// tick as a frame at `path` and `/ws`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TickerConfig {
    /// Where it is served, with the leading slash.
    pub path: String,
    /// How often it ticks.
    pub every_ms: u64,
    /// How often clients of the socket are pinged; 0 never.
    pub ping_ms: u64,
}

impl Default for TickerConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            every_ms: 1000,
            ping_ms: 250,
        }
    }
}
