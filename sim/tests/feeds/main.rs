//! The feed side over real HTTP/1.1 and WebSocket.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support functions of tests fail loudly"
)]

mod client;
mod quakes;
mod rest;
mod sockets;
mod ticker;

use fanfare_sim::{Sim, SimConfig, UpstreamConfig};
use tempfile::TempDir;

/// A sim with feeds only.
async fn started(upstream: UpstreamConfig) -> (Sim, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = SimConfig {
        apns: None,
        fcm: None,
        upstream,
        ..SimConfig::in_folder(folder.path())
    };
    (Sim::start(config).await.unwrap(), folder)
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}
