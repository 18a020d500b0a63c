//! The lease of an exclusive source: taken by one, kept, lost, taken over, handed over, taken away.

use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::Broker;
use fanfare_nats::lease::{
    Candidate, Electorate, Ended, LeaseError, Lost, Seen, Standing, Tenure, Times, Vacancy,
};
use fanfare_nats::testing::TestServer;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::support::{eventually, raw, usgs};

on_one_and_three!(
    of_racing_candidates_one_has_the_lease_and_the_next_gets_it_when_it_is_let_go,
    a_holder_that_falls_silent_is_followed_when_its_record_expires_and_not_before,
    a_holder_that_was_frozen_is_over_before_it_learns_that_another_one_reads,
    what_an_operator_takes_away_goes_on_when_its_holder_has_answered,
    a_lease_survives_the_loss_of_its_leader_or_ends_before_another_begins,
    a_lease_is_handed_over_to_whoever_an_operator_prefers,
);

/// Long enough for three busy servers, short enough to be waited for.
fn times() -> Times {
    Times::with_ttl(Duration::from_secs(5))
}

type Electors = watch::Receiver<Arc<Electorate>>;

/// Nobody is known: whoever comes first takes it.
fn nobody() -> Electors {
    watch::channel(Arc::default()).1
}

fn candidate(broker: &Broker) -> Candidate {
    broker.candidate(&usgs(), times())
}

async fn acquired(candidate: &mut Candidate) -> Tenure {
    let mut nobody = nobody();
    let acquired = candidate.acquire(&mut nobody);
    let acquired = tokio::time::timeout(Duration::from_secs(30), acquired);
    acquired.await.unwrap()
}

async fn of_racing_candidates_one_has_the_lease_and_the_next_gets_it_when_it_is_let_go(
    server: TestServer,
) {
    let mut candidates = Vec::new();
    for node in ["n1", "n2", "n3"] {
        candidates.push(candidate(&server.broker(node).await));
    }
    let mut last = 0;
    while !candidates.is_empty() {
        let races = candidates.iter_mut().enumerate();
        let races = races.map(|(n, it)| Box::pin(async move { (n, acquired(it).await) }));
        let ((n, tenure), _, others) = futures::future::select_all(races).await;
        drop(others);
        assert!(!tenure.is_over() && tenure.number() > last);
        last = tenure.number();
        let mut winner = candidates.remove(n);
        if let [one, two] = candidates.as_mut_slice() {
            // Nobody else gets it while it is kept.
            let mut none = nobody();
            tokio::select! {
                ended = winner.hold(&mut none) => panic!("{ended:?}"),
                _ = acquired(one) => panic!("two holders"),
                _ = acquired(two) => panic!("two holders"),
                () = tokio::time::sleep(times().ttl + Duration::from_secs(1)) => {}
            }
        }
        winner.release(None).await;
    }
    let broker = server.broker("test").await;
    assert!(matches!(
        broker.lease(&usgs()).await.unwrap(),
        Seen::Vacant {
            why: Vacancy::Released { .. },
            ..
        }
    ));
}

async fn a_holder_that_falls_silent_is_followed_when_its_record_expires_and_not_before(
    server: TestServer,
) {
    let (first, second) = (server.broker("n1").await, server.broker("n2").await);
    let (mut first, mut second) = (candidate(&first), candidate(&second));
    let began = Instant::now();
    let held = acquired(&mut first).await;
    let next = acquired(&mut second).await;
    let took = began.elapsed();
    assert!(held.is_over(), "it stops before another one begins");
    assert!(next.number() > held.number());
    assert!(took > times().stop_after, "{took:?}");
    assert!(took < times().ttl + Duration::from_secs(4), "{took:?}");
    // The first one comes back, and the marker of the expiry was no obstacle: the record lives.
    let began = Instant::now();
    acquired(&mut first).await;
    assert!(began.elapsed() > times().stop_after);
}

async fn a_holder_that_was_frozen_is_over_before_it_learns_that_another_one_reads(
    server: TestServer,
) {
    let (first, second) = (server.broker("n1").await, server.broker("n2").await);
    let (mut first, mut second) = (candidate(&first), candidate(&second));
    let held = acquired(&mut first).await;
    // Not polled any more: as good as frozen.
    let next = acquired(&mut second).await;
    assert!(held.is_over() && !next.is_over());
    let ended = first.hold(&mut nobody()).await;
    assert!(matches!(ended, Ended::Lost(Lost::Expired)), "{ended:?}");
    first.release(None).await;
    let stands = server.broker("test").await.lease(&usgs()).await.unwrap();
    let Seen::Held { seq, record } = stands else {
        panic!("a late holder releases nothing of another's: {stands:?}");
    };
    assert_eq!(record.unwrap().number(seq), next.number());
}

async fn what_an_operator_takes_away_goes_on_when_its_holder_has_answered(server: TestServer) {
    let (first, second) = (server.broker("n1").await, server.broker("n2").await);
    let operator = server.broker("ops").await;
    let error = operator.withdraw_lease(&usgs()).await.unwrap_err();
    assert!(matches!(error, LeaseError::NotHeld(_)), "{error:?}");
    let (mut first, mut second) = (candidate(&first), candidate(&second));
    let held = acquired(&mut first).await;
    let withdrawn = operator.withdraw_lease(&usgs()).await.unwrap();
    assert_eq!(
        (withdrawn.node.as_str(), withdrawn.number),
        ("n1", held.number())
    );
    let lose = async {
        let ended = first.hold(&mut nobody()).await;
        assert!(matches!(ended, Ended::Lost(Lost::Withdrawn)), "{ended:?}");
        assert!(held.is_over());
        let at = Instant::now();
        first.release(None).await;
        at
    };
    let next = async {
        let next = acquired(&mut second).await;
        (next, Instant::now())
    };
    let (closed_at, (next, taken_at)) = tokio::join!(lose, next);
    assert!(closed_at <= taken_at);
    assert!(taken_at - closed_at < Duration::from_secs(2));
    assert!(next.number() > held.number());

    // A holder that cannot answer is waited for until it has certainly stopped.
    operator.withdraw_lease(&usgs()).await.unwrap();
    let began = Instant::now();
    acquired(&mut first).await;
    assert!(next.is_over() && began.elapsed() >= times().stop_after);
}

async fn a_lease_survives_the_loss_of_its_leader_or_ends_before_another_begins(
    mut server: TestServer,
) {
    let (first, second) = (server.broker("n1").await, server.broker("n2").await);
    let broker = server.broker("test").await;
    let times = Times::SHIPPED;
    let (mut first, mut second) = (
        first.candidate(&usgs(), times),
        second.candidate(&usgs(), times),
    );
    let held = acquired(&mut first).await;
    let keep = async {
        let ended = first.hold(&mut nobody()).await;
        assert!(held.is_over(), "{ended:?}");
        std::future::pending::<()>().await;
    };
    let take = async {
        let next = second.acquire(&mut nobody()).await;
        assert!(
            held.is_over(),
            "two holders: {} and {}",
            held.number(),
            next.number()
        );
        std::future::pending::<()>().await;
    };
    let fault = async {
        let stream = raw(&server).await.get_stream("KV_fanfare_control").await;
        let info = stream.unwrap().cached_info().clone();
        let leader = info.cluster.and_then(|it| it.leader);
        let before = record_n(&broker).await;
        match server.cluster() {
            None => server.server().kill9().await.unwrap(),
            Some(cluster) => {
                let name = leader.unwrap();
                let leads = |it: &&mut fanfare_nats_server::Server| it.name() == name;
                let leader = cluster.servers_mut().iter_mut().find(leads).unwrap();
                leader.kill9().await.unwrap();
            }
        }
        if server.replicas() == 1 {
            server.server().restart().await.unwrap();
        }
        // It is renewed again, by whoever has it: under the old number or a new one.
        eventually(async || match record_n(&broker).await {
            Some(now) if Some(now) > before => Ok(()),
            seen => Err(seen),
        })
        .await;
    };
    tokio::select! {
        () = keep => {}
        () = take => {}
        () = fault => {}
    }
}

/// The sequence of the record that stands, if it can be read.
async fn record_n(broker: &Broker) -> Option<u64> {
    match broker.lease(&usgs()).await {
        Ok(Seen::Held { seq, .. }) => Some(seq),
        Ok(Seen::Vacant { .. }) | Err(_) => None,
    }
}

async fn a_lease_is_handed_over_to_whoever_an_operator_prefers(server: TestServer) {
    let (first, second) = (server.broker("n1").await, server.broker("n2").await);
    let operator = server.broker("ops").await;
    let hour = Duration::from_hours(1);
    let source = usgs();
    let told = operator.prefer_holder(Some(&source), "n2", hour).await;
    assert_eq!(operator.preferences().await.unwrap(), [told.unwrap()]);
    let standing = |node: &str| Standing {
        node: node.to_owned(),
        host: "h".to_owned(),
        weight: 1,
        started: Timestamp::UNIX_EPOCH,
        well_for: Some(Duration::from_mins(2)),
        n_leases: 0,
    };
    let (tell, mut electors) = watch::channel(Arc::new(Electorate {
        standings: vec![standing("n1"), standing("n2")],
        preferences: Vec::new(),
    }));
    let (mut first, mut second) = (candidate(&first), candidate(&second));
    let held = first.acquire(&mut electors).await;
    let mut others = electors.clone();
    let wish = async {
        let preferences = operator.preferences().await.unwrap();
        tell.send_modify(|it| {
            *it = Arc::new(Electorate {
                preferences,
                ..Electorate::clone(it)
            });
        });
        std::future::pending::<Ended>().await
    };
    let ended = tokio::select! {
        ended = first.hold(&mut electors) => ended,
        ended = wish => ended,
    };
    assert_eq!(ended, Ended::HandOver("n2".to_owned()));
    assert!(!held.is_over(), "what is handed over is finished first");
    first.release(Some("n2")).await;
    let began = Instant::now();
    let mut also = others.clone();
    let (next, refused) = tokio::join!(
        async { (second.acquire(&mut also).await, began.elapsed()) },
        tokio::time::timeout(Duration::from_secs(3), first.acquire(&mut others)),
    );
    let (next, took) = next;
    assert!(refused.is_err(), "whoever let go stands back");
    assert!(next.number() > held.number());
    assert!(took < Duration::from_secs(4), "{took:?}");
    operator.forget_preference(Some(&source)).await.unwrap();
    let error = operator.forget_preference(None).await.unwrap_err();
    assert!(matches!(error, LeaseError::NoPreference), "{error:?}");
}
