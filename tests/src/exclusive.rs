//! Exclusive sources under faults: pairs of real fetchers, each pair with a source of its own, of
//! which one reads. The publisher (a ticker of the sim) says who was connected when.
//!
//! What is measured: how long after the fault another fetcher's connection is open; for how long the
//! source had two connections, and for how long two clients that *answered*; whether a tick was
//! missed; whether something was stored by a holder after its successor had begun to store.

mod judge;
mod options;
mod pair;
mod stage;
mod table;

pub use judge::{Judged, judge};
pub use options::{Options, USAGE};
pub use pair::{Fault, Round};
pub use stage::Stage;
pub use table::{rows, sums};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Does what the options ask for: so many rounds of every pair at once, each row told and appended.
///
/// # Errors
/// What went wrong, in words.
pub async fn run(options: &Options) -> Result<String, String> {
    let mut stage = Stage::set(options.pairs, options.replicas, options.executable.clone()).await;
    let before = rows(options.append.as_deref()).len();
    for round in 0..options.rounds {
        let seed = options.seed.wrapping_mul(1_000_003) + round;
        let faults = vec![options.kind; options.pairs];
        for it in stage.round(&faults, &mut StdRng::seed_from_u64(seed)).await {
            println!("{}", table::line(options, seed, &it));
            table::append(options, seed, &it).map_err(|error| error.to_string())?;
        }
    }
    let judged = stage.strike().await;
    let done = rows(options.append.as_deref());
    let summed = sums(done.get(before..).unwrap_or_default());
    Ok(format!("{summed}\n{judged}"))
}
