//! Devices for tests.

use fanfare_tests::Registrations;
use serde_json::Value;

/// A token as APNs and FCM both take it, different for each number.
pub(crate) fn token(n: usize) -> String {
    format!("{n:064x}")
}

/// So many devices of both apps in turn, with the same patterns; noted as registered.
pub(crate) fn many(
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
