//! Brokers and roles are replaced one by one, in order, under load: nothing is lost and nothing
//! repeated.

use std::time::Duration;

use tokio::time::sleep;

use super::estate::Estate;
use super::machines::{Course, Record, name};
use super::seat::Role;
use super::stalls::Fault;
use crate::now_us;

/// Between two steps.
const PAUSE: Duration = Duration::from_secs(3);

/// Every broker, what is stored, every role.
///
/// # Panics
/// If a step fails.
pub(super) async fn all(course: &Course, estate: &Estate, record: &Record) {
    for number in 0..estate.servers.len() {
        let at_us = now_us();
        let mut server = estate.servers[number].lock().await;
        let from = server.version().await.unwrap_or_default();
        server.retire().await;
        if let Some(binary) = &course.upgrade {
            server.set_binary(binary);
        }
        server.start();
        drop(server);
        let unwell = estate.whole().await;
        let to = estate.servers[number].lock().await.version().await;
        let to = to.unwrap_or_default();
        let is_new = course.upgrade.is_none() || from != to;
        let fault = Fault {
            what: format!("broker {}", name(number)),
            at_us,
            healed_us: now_us(),
            bite: is_new.then(|| format!("{from} to {to}")),
        };
        record.note(fault, unwell);
        sleep(PAUSE).await;
    }
    estate.pipeline.renew();
    let applied = estate.pipeline.command(&["admin", "apply"]).await;
    assert_eq!(applied.code, Some(0), "admin apply: {}", applied.printed);
    for seat in &estate.seats {
        let at_us = now_us();
        seat.drain().await;
        if let Some(mut ground) = seat.ground() {
            ground.executable = None;
            seat.place(ground);
        }
        let is_ready = seat.start(&estate.pipeline, None).await;
        let unwell = estate.whole().await;
        let fault = Fault {
            what: format!("role {}", Role::as_str(seat.role)),
            at_us,
            healed_us: now_us(),
            bite: is_ready.then(|| "drained and replaced".to_owned()),
        };
        record.note(fault, unwell);
        sleep(PAUSE).await;
    }
}
