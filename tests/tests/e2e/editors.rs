//! Two hundred clients change the same devices through three API nodes on three servers; one API and
//! the leader of the devices' stream die, and no acknowledged write is lost.

use fanfare_tests::editors::{Crowd, Nodes, edit};
use fanfare_tests::{Pipeline, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_and_no_update_when_an_api_and_a_leader_die() {
    let setup = Setup {
        is_three: true,
        ..Setup::default()
    };
    let pipeline = Pipeline::start(setup).await;
    let mut nodes = Nodes::start(&pipeline, 3).await;
    let crowd = Crowd {
        clients: 200,
        devices: 1000,
        rounds: 1,
        between: 400,
        seed: 5,
    };
    let figures = edit(&pipeline, &mut nodes, crowd).await;
    println!("{figures}");
    assert!(figures.refused > 0, "void: nobody was in anybody's way");
    nodes.drain(&["WARN"]).await;
}
