//! What differs between pipelines.

use std::path::PathBuf;
use std::time::Duration;

use fanfare_sim::Latency;

/// Which apps devices may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apps {
    /// `ios` through APNs and `android` through FCM.
    Both,
    /// `ios` and `beta`, both through APNs with one key: each process has one provider token, by
    /// which the ledger tells processes apart.
    Twins,
}

impl Apps {
    /// Their names.
    pub fn names(self) -> [&'static str; 2] {
        match self {
            Self::Both => ["ios", "android"],
            Self::Twins => ["ios", "beta"],
        }
    }
}

/// What differs between tests.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which apps there are.
    pub apps: Apps,
    /// How long the doubles take to answer.
    pub latency: Duration,
    /// Up to so much longer, evenly spread.
    pub jitter: Duration,
    /// Half of that passes before the push is decided, as on a real way there and back. Otherwise
    /// it is decided on arrival, and whatever is in flight at a kill has been delivered.
    pub is_half_before: bool,
    /// `ack_wait` of the durables, if not the shipped one.
    pub ack_wait: Option<Duration>,
    /// Whether roles reach the broker through [`Pipeline::proxy`](crate::Pipeline::proxy).
    pub has_proxy: bool,
    /// Which executable, if not the one of the workspace.
    pub executable: Option<PathBuf>,
    /// More lines for the configuration.
    pub extra: String,
    /// `[notifier] concurrency`.
    pub concurrency: usize,
    /// `[notifier] window`: the most that one kill repeats.
    pub window: usize,
    /// `[notifier] stride`.
    pub stride: usize,
    /// Three servers instead of one.
    pub is_three: bool,
}

impl Default for Setup {
    /// Answers at once, and a small window so that a surplus shows.
    fn default() -> Self {
        Self {
            apps: Apps::Both,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            is_half_before: false,
            ack_wait: None,
            has_proxy: false,
            executable: None,
            extra: String::new(),
            concurrency: 32,
            window: 64,
            stride: 16,
            is_three: false,
        }
    }
}

impl Setup {
    /// How the doubles wait.
    pub(super) fn latency(&self) -> Latency {
        let fixed = if self.is_half_before {
            Latency::there_and_back(self.latency)
        } else {
            Latency::fixed(self.latency)
        };
        Latency {
            jitter_us: u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX),
            ..fixed
        }
    }
}
