//! The provider doubles over the real wire, asked by a client that shares nothing with them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support functions of tests fail loudly"
)]

mod apns;
mod client;
mod faults;
mod fcm;
mod ledger;

use fanfare_sim::{ApnsConfig, FcmConfig, Sim, SimConfig};
use tempfile::TempDir;

/// A sim in a folder of its own.
async fn started(change: impl FnOnce(&mut SimConfig)) -> (Sim, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = SimConfig {
        apns: Some(ApnsConfig {
            cleartext_port: Some(0),
            ..ApnsConfig::default()
        }),
        fcm: Some(FcmConfig {
            cleartext_port: Some(0),
            ..FcmConfig::default()
        }),
        ..SimConfig::in_folder(folder.path())
    };
    change(&mut config);
    (Sim::start(config).await.unwrap(), folder)
}
