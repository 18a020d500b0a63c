//! The devices: what each of them wants to hear, and how it is registered.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::owed::{Condition, Interest};

/// Registrations at once.
const AT_ONCE: usize = 64;
/// What the cast repeats: so many devices are one of each kind.
const KINDS: u32 = 100;

/// One device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) id: String,
    /// The app it runs.
    pub(super) app: &'static str,
    pub(super) token: String,
    pub(super) interests: Vec<Interest>,
}

/// The first `n` devices, always the same.
pub(super) fn devices(n: u32) -> Vec<Device> {
    let device = |number: u32| {
        let id = format!("demo-{number:05}");
        // 64 hexadecimal digits are an address at both providers.
        let digest = Sha256::digest(id.as_bytes());
        let token = digest.iter().fold(String::new(), |mut token, byte| {
            // Writing to a String cannot fail.
            let _ok = write!(token, "{byte:02x}");
            token
        });
        let app = if (number / KINDS).is_multiple_of(2) {
            "ios"
        } else {
            "android"
        };
        Device {
            id,
            app,
            token,
            interests: interests(number % KINDS),
        }
    };
    (0..n).map(device).collect()
}

/// What a kind of device wants.
fn interests(kind: u32) -> Vec<Interest> {
    let all = |pattern| Interest::new(pattern, vec![]);
    let from = |pattern, min| Interest::new(pattern, vec![Condition::AtLeast("mag", min)]);
    let near = |lat, lon, km| Interest::new("quakes.>", vec![Condition::Near { lat, lon, km }]);
    match kind {
        // Registered, and interested in nothing.
        0..10 => vec![],
        10..13 => vec![all("quakes.us")],
        // Two patterns that match the same quake: still one push.
        13..15 => vec![all("quakes.us"), all("quakes.*")],
        15..17 => vec![all("quakes.>")],
        17..27 => vec![all("quakes.ak")],
        27..37 => vec![all("quakes.ci"), from("quakes.nc", 6.0)],
        37..47 => vec![all("quakes.nc")],
        47..57 => vec![all("quakes.tx"), all("quakes.nn")],
        57..67 => vec![all("quakes.pr")],
        67..70 => vec![near(-58.0, -67.0, 1500.0)],
        70..73 => vec![near(35.0, 140.0, 3000.0)],
        73..76 => vec![near(18.0, -66.0, 1000.0), all("quakes.pr")],
        76..84 => vec![from("quakes.*", 6.0)],
        84..94 => vec![from("quakes.>", 7.0)],
        _ => {
            let nets = Condition::AnyOf("net", vec!["us", "pr"]);
            let strong = Interest::new("quakes.>", vec![nets, Condition::AtLeast("mag", 6.5)]);
            vec![strong, from("quakes.us", 7.0)]
        }
    }
}

/// Registers everyone through the API.
pub(super) async fn register(
    client: &reqwest::Client,
    api: SocketAddr,
    devices: &[Device],
) -> anyhow::Result<()> {
    let put = async |device: &Device| {
        let url = format!("http://{api}/v1/devices/{}", device.id);
        let request = client.put(url).header("content-type", "application/json");
        let answer = request.body(document(device).to_string()).send().await;
        let answer = answer.with_context(|| format!("{} was not registered", device.id))?;
        let status = answer.status();
        if !status.is_success() {
            let text = answer.text().await.unwrap_or_default();
            bail!("{} was not registered: {status}: {text}", device.id);
        }
        Ok(())
    };
    stream::iter(devices)
        .map(put)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

fn document(device: &Device) -> Value {
    let topics: Vec<Value> = device.interests.iter().map(Interest::document).collect();
    json!({ "app": device.app, "token": device.token, "topics": topics })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_device_has_an_address_of_its_own_and_both_providers_have_all_kinds() {
        let devices = devices(400);
        let tokens: BTreeSet<_> = devices.iter().map(|it| &it.token).collect();
        assert_eq!(tokens.len(), 400);
        for app in ["ios", "android"] {
            assert_eq!(devices.iter().filter(|it| it.app == app).count(), 200);
        }
        assert!(devices[0].interests.is_empty() && devices[13].interests.len() == 2);
    }
}
