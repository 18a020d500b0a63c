//! Counts races between API nodes for longer than a test may: on one server, on three, and on three
//! while the leaders of the streams that matter are killed.
//!
//! `cargo run --release -p fanfare-tests --example races -- [WAVES] [KILLS]` after
//! `cargo build --release -p fanfare`. A wave is twelve races; the first that has no winner, or two,
//! ends it.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a count that cannot go on stops, and says where"
)]

use fanfare_tests::races::{Nodes, Tally, kill_leader, revive, run};
use fanfare_tests::{Pipeline, Setup};

const STREAMS: [&str; 2] = ["FANFARE_EVENTS", "KV_fanfare_devices"];
const N_NODES: usize = 3;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|it| it.parse::<u64>());
    let mut number = |usual: u64| numbers.next().map_or(usual, Result::unwrap);
    let (n_waves, n_kills) = (number(300), number(6));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        quiet("one server", false, n_waves).await;
        let (pipeline, nodes) = quiet("three servers", true, n_waves).await;
        let mut server = pipeline.server.lock().await;
        let mut all = Tally::default();
        for n in 0..n_kills {
            let stream = STREAMS[usize::from(n % 2 == 1)];
            let name = format!("kill-{n}");
            let tally = run(&nodes.nodes, pipeline.broker(), &name, 0, async |waves| {
                waves.more(3).await;
                let killed = kill_leader(&mut server, stream).await;
                waves.more(3).await;
                revive(&mut server, killed, stream).await;
            })
            .await;
            println!("leader of {stream} killed: {tally}");
            all.add(tally);
        }
        println!("{n_kills} kills: {all}");
        nodes.drain(&["WARN"]).await;
    });
}

async fn quiet(what: &str, is_three: bool, n_waves: u64) -> (Pipeline, Nodes) {
    let setup = Setup {
        is_three,
        ..Setup::default()
    };
    let pipeline = Pipeline::start(setup).await;
    let nodes = Nodes::start(&pipeline, N_NODES).await;
    let tally = run(
        &nodes.nodes,
        pipeline.broker(),
        "quiet",
        n_waves,
        async |_| {},
    )
    .await;
    println!("{what}: {tally}");
    (pipeline, nodes)
}
