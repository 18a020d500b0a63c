//! Of several clients that want to be the one, through different nodes at the same moment, exactly
//! one is: an event's content, what follows a device's revision, the owner of a token.

use std::collections::BTreeSet;
use std::sync::Mutex;

use fanfare_tests::races::{Claimed, Nodes, SIDES, claim, kill_leader, revive, run};
use fanfare_tests::{Pipeline, Process, Setup};

const EVENTS: &str = "FANFARE_EVENTS";
const DEVICES: &str = "KV_fanfare_devices";
const N_WAVES: u64 = 30;
const N_TOKENS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn through_three_nodes_on_one_server_exactly_one_of_all_racers_is_first() {
    let pipeline = Pipeline::start(Setup::default()).await;
    let nodes = Nodes::start(&pipeline, 3).await;
    let followers = followers(&pipeline).await;
    let url = pipeline.broker();
    let tally = run(&nodes.nodes, url, "quiet", N_WAVES, async |_| {}).await;
    println!("{tally:?}");
    assert_eq!(tally.unknown, 0);
    let (claimed, _) = claim(&nodes.nodes, N_TOKENS).await;
    owners_alone_are_pushed_to(&pipeline, &nodes, &claimed, followers, &[]).await;
    nodes.drain(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_three_nodes_on_three_servers_one_is_first_also_while_leaders_die() {
    let setup = Setup {
        is_three: true,
        ..Setup::default()
    };
    let pipeline = Pipeline::start(setup).await;
    let nodes = Nodes::start(&pipeline, 3).await;
    let followers = followers(&pipeline).await;
    let url = pipeline.broker();
    let quiet = run(&nodes.nodes, url, "quiet", N_WAVES, async |_| {}).await;
    let mut server = pipeline.server.lock().await;

    let events = run(&nodes.nodes, url, "events", 0, async |waves| {
        waves.more(3).await;
        let killed = kill_leader(&mut server, EVENTS).await;
        waves.more(3).await;
        revive(&mut server, killed, EVENTS).await;
    })
    .await;
    let claims = Mutex::new((Vec::new(), 0));
    let devices = run(&nodes.nodes, url, "devices", 0, async |waves| {
        waves.more(3).await;
        let killed = kill_leader(&mut server, DEVICES).await;
        let (claimed, tally) = claim(&nodes.nodes, N_TOKENS).await;
        println!("claims {tally:?}");
        *claims.lock().unwrap() = (claimed, tally.unknown);
        revive(&mut server, killed, DEVICES).await;
    })
    .await;
    println!("quiet {quiet:?}, events' leader {events:?}, devices' leader {devices:?}");
    assert!(
        events.unknown > 0,
        "void: the events' leader was not missed"
    );
    let (claimed, n_claims_unknown) = claims.into_inner().unwrap();
    // Whichever of the two met the pause: the waves have a deadline of their own to be answered within.
    assert!(
        devices.unknown + n_claims_unknown > 0,
        "void: the devices' leader was not missed"
    );
    let announced = ["WARN"];
    owners_alone_are_pushed_to(&pipeline, &nodes, &claimed, followers, &announced).await;
    nodes.drain(&announced).await;
}

/// Two notifiers that follow the claims while they are made.
async fn followers(pipeline: &Pipeline) -> [Process; 2] {
    [
        pipeline.role("notifier", "n1").await,
        pipeline.role("notifier", "n2").await,
    ]
}

/// Each token is pushed to for its owner alone: by all who followed the claims, by one of them, and
/// by one that was started afterwards.
async fn owners_alone_are_pushed_to(
    pipeline: &Pipeline,
    nodes: &Nodes,
    claimed: &[Claimed],
    followers: [Process; 2],
    announced: &[&str],
) {
    let n_left = claimed.iter().filter(|it| it.owner == SIDES[0]).count();
    println!("{n_left} of {} tokens are the left one's", claimed.len());
    assert!(
        (1..claimed.len()).contains(&n_left),
        "void: always the same one was last"
    );
    pushed(pipeline, nodes, claimed, "by-both").await;
    let [one, other] = followers;
    other.drain(announced).await;
    pushed(pipeline, nodes, claimed, "by-a-follower").await;
    one.drain(announced).await;
    let restarted = pipeline.role("notifier", "n2").await;
    pushed(pipeline, nodes, claimed, "by-a-restarted-one").await;
    restarted.drain(announced).await;
}

async fn pushed(pipeline: &Pipeline, nodes: &Nodes, claimed: &[Claimed], when: &str) {
    for side in SIDES {
        let event = nodes.nodes[0].post(&format!("{when}-{side}"), side).await;
        pipeline.settled().await;
        let requests = pipeline.requests_of(&event);
        let tokens: BTreeSet<&str> = requests.iter().map(|it| it.token.as_str()).collect();
        let is_its = |it: &&Claimed| it.owner == side;
        let owned: BTreeSet<&str> = claimed
            .iter()
            .filter(is_its)
            .map(|it| it.token.as_str())
            .collect();
        assert_eq!(tokens, owned, "{when}, {side}");
        assert_eq!(requests.len(), tokens.len(), "{when}, {side}: repeated");
    }
}
