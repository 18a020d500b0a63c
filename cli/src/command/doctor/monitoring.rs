//! What servers tell on their monitoring ports and no client can ask: settings and the machine.

use std::time::Duration;

use fanfare_nats::survey::{self, Finding, Severity};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(3);
/// What a notifier needs that loads a million devices (measured: 64 MB cut it off).
const LEAST_PENDING: u64 = 256_000_000;
/// Streams of their usual sizes and a day's tasks.
const LEAST_FREE: u64 = 5 << 30;

pub(super) async fn findings(addresses: &[String]) -> Vec<Finding> {
    if addresses.is_empty() {
        let advice = "name the servers' monitoring addresses: --monitoring http://nats-1:8222";
        let text = "sync_interval, max_pending and the disk: clients are not told";
        return vec![Finding::new(Severity::Note, "not seen", text, advice)];
    }
    let client = reqwest::Client::builder().timeout(PATIENCE).build();
    let Ok(client) = client else {
        return Vec::new(); // Without a TLS provider; there is one.
    };
    let mut findings = Vec::new();
    for address in addresses {
        let address = address.trim_end_matches('/');
        let asked = ask(&client, &format!("{address}/varz")).await;
        let told = match asked {
            Ok(told) => Ok((told, ask(&client, &format!("{address}/jsz")).await)),
            Err(why) => Err(why),
        };
        match told {
            Ok((server, Ok(jetstream))) => findings.extend(judged(address, &server, &jetstream)),
            Ok((_, Err(why))) | Err(why) => {
                let text = format!("{address} does not tell: {why}");
                let advice = "it is the port of `http:` in the server's configuration";
                findings.push(Finding::new(Severity::Warning, "monitoring", text, advice));
            }
        }
    }
    findings
}

async fn ask(client: &reqwest::Client, address: &str) -> Result<Value, String> {
    let answer = client.get(address).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|error| error.without_url().to_string())?;
    let text = answer.text().await;
    let text = text.map_err(|error| error.without_url().to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// `server` is what `/varz` told, `jetstream` what `/jsz` did.
fn judged(address: &str, server: &Value, jetstream: &Value) -> Vec<Finding> {
    let name = server.get("server_name").and_then(Value::as_str);
    let name = name.unwrap_or(address);
    let n = |from: &Value, path: &str| from.pointer(path).and_then(Value::as_u64);
    let mut findings = Vec::new();
    let is_always = jetstream.pointer("/config/sync_always");
    let is_always = is_always.and_then(Value::as_bool).unwrap_or(false);
    findings.push(if is_always {
        Finding::fine(
            "durability",
            format!("{name} flushes before it acknowledges"),
        )
    } else {
        let every = n(jetstream, "/config/sync_interval").unwrap_or(0) / 1_000_000_000;
        let text = format!("{name} flushes every {every} s: a power cut loses what came since");
        let advice = "jetstream { sync_interval: always }";
        Finding::new(Severity::Warning, "durability", text, advice)
    });
    let pending = n(server, "/max_pending").unwrap_or(0);
    let text = format!(
        "{name} lets a client fall {} behind",
        survey::bytes(pending)
    );
    findings.push(if pending < LEAST_PENDING {
        let advice = "max_pending: 256MB, or a notifier that loads many devices is cut off";
        Finding::new(Severity::Warning, "limits", text, advice)
    } else {
        Finding::fine("limits", text)
    });
    if let Some(most) = n(jetstream, "/config/max_storage") {
        let used = n(jetstream, "/storage").unwrap_or(0);
        let free = most.saturating_sub(used);
        let (used, most) = (survey::bytes(used), survey::bytes(most));
        let text = format!("{name} holds {used} of the {most} that it may");
        findings.push(if free < LEAST_FREE {
            let advice = "free some of its disk, or raise max_file_store: when it is full, nothing \
                          is stored any more, in any stream";
            Finding::new(Severity::Warning, "disk", text, advice)
        } else {
            Finding::fine("disk", text)
        });
    }
    let memory = survey::bytes(n(server, "/mem").unwrap_or(0));
    let slow = n(server, "/slow_consumers").unwrap_or(0);
    let text = format!("{name} uses {memory} of memory and has cut off {slow} slow clients");
    findings.push(if slow > 0 {
        let advice = "which ones stands in its log; notifiers need memory and CPU to keep up";
        Finding::new(Severity::Note, "limits", text, advice)
    } else {
        Finding::fine("limits", text)
    });
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(
        sync_always: bool,
        max_pending: u64,
        max_storage: u64,
        slow: u64,
    ) -> Vec<&'static str> {
        let server =
            json!({ "server_name": "n", "max_pending": max_pending, "slow_consumers": slow });
        let config = json!({ "sync_always": sync_always, "max_storage": max_storage });
        let jetstream = json!({ "storage": 1_u64 << 30, "config": config });
        let found = judged("http://n", &server, &jetstream);
        let worse = found.iter().filter(|it| it.severity > Severity::Fine);
        worse.map(|it| it.about).collect()
    }

    #[test]
    fn what_a_server_should_not_be_like_is_named() {
        let (plenty, much) = (256 << 20, 100 << 30);
        assert!(found(true, plenty, much, 0).is_empty());
        assert_eq!(found(false, plenty, much, 0), ["durability"]);
        assert_eq!(found(true, 64 << 20, much, 0), ["limits"]);
        assert_eq!(found(true, plenty, 5 << 30, 0), ["disk"]);
        assert_eq!(found(true, plenty, much, 3), ["limits"]);
    }
}
