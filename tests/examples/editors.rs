//! Edits devices through three API nodes on three servers for longer than a test may, while API nodes
//! and leaders are killed.
//!
//! `cargo run --release -p fanfare-tests --example editors -- [ROUNDS] [BETWEEN] [CLIENTS] [DEVICES]
//! [SEED]` after `cargo build --release -p fanfare`. In each round one API and one leader are killed,
//! with so many acknowledged writes before, between and after. The first write that is lost ends it.
#![expect(
    clippy::unwrap_used,
    reason = "a count that cannot go on stops, and says where"
)]

use fanfare_tests::editors::{Crowd, Nodes, edit};
use fanfare_tests::{Pipeline, Setup};

fn main() {
    let mut numbers = std::env::args().skip(1).map(|it| it.parse::<u64>());
    let mut number = |usual: u64| numbers.next().map_or(usual, Result::unwrap);
    let (rounds, between) = (number(10), number(2000));
    let clients = u32::try_from(number(200)).unwrap();
    let devices = usize::try_from(number(1000)).unwrap();
    let seed = number(5);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let setup = Setup {
            is_three: true,
            ..Setup::default()
        };
        let pipeline = Pipeline::start(setup).await;
        let mut nodes = Nodes::start(&pipeline, 3).await;
        let crowd = Crowd {
            clients,
            devices,
            rounds,
            between,
            seed,
        };
        println!("{crowd:?}");
        println!("{}", edit(&pipeline, &mut nodes, crowd).await);
        nodes.drain(&["WARN"]).await;
    });
}
