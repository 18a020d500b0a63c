//! Devices for tests, and waiting until a fault would hit something.

use serde_json::Value;

use crate::audit::Registrations;
use crate::eventually::eventually;
use crate::process::Process;

/// A token as APNs and FCM both take it, different for each number.
pub fn token(n: usize) -> String {
    format!("{n:064x}")
}

/// So many devices of both apps in turn, with the same patterns; noted as registered.
pub fn many(
    n: usize,
    patterns: &[&str],
    registrations: &mut Registrations,
) -> Vec<(String, Value)> {
    let device = |n: usize| {
        let app = if n.is_multiple_of(2) {
            "ios"
        } else {
            "android"
        };
        (
            format!("device-{n}"),
            registrations.add(app, &token(n), patterns),
        )
    };
    (0..n).map(device).collect()
}

/// Waits until at least 20 sends of this notifier are on their way, so that a fault bites.
pub async fn sends_in_flight(notifier: &Process) {
    eventually("sends in flight", async || {
        let credit = notifier.metric("fanfare_credit_used").await;
        if credit >= 20.0 {
            Ok(())
        } else {
            Err(format!("{credit} of 20"))
        }
    })
    .await;
}
