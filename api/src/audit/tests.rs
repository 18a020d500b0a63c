//! What is recorded of an answer, and what of none.

use axum::response::IntoResponse;
use http::StatusCode;
use prometheus_client::registry::Registry;

use super::*;
use crate::layer;

fn asked() -> Record {
    let change = Change {
        at: clock::now(),
        who: Who::Anyone,
        what: "postEvent".to_owned(),
        of: BTreeMap::new(),
        status: None,
        revision: None,
        request: Some("r".to_owned()),
    };
    (Tenant::main(), change)
}

/// A change under way, and where its record comes out.
fn under_way() -> (UnderWay, mpsc::Receiver<Item>) {
    let (queue, handed_over) = mpsc::channel(4);
    let taker = Taker {
        queue,
        is_failing: Failing::default(),
        metrics: Metrics::register(&mut Registry::default()),
        operations: Vec::new(),
    };
    let audit = Audit(Arc::new(taker));
    let record = Some(asked());
    (UnderWay { audit, record }, handed_over)
}

#[test]
fn what_was_done_or_may_have_been_is_told_from_what_was_not() {
    let problem = |kind| Problem::new(kind, "x").into_response();
    let mut dry = StatusCode::OK.into_response();
    dry.extensions_mut().insert(NothingChanged);
    let nothing = Problem::new(Kind::BrokerUnavailable, "x").having_done_nothing();
    for (response, fate) in [
        (StatusCode::CREATED.into_response(), Fate::Changed),
        (StatusCode::NO_CONTENT.into_response(), Fate::Changed),
        (dry, Fate::Untouched),
        (problem(Kind::InvalidFields), Fate::Untouched),
        (problem(Kind::PreconditionFailed), Fate::Untouched),
        (problem(Kind::NotConfigured), Fate::Untouched),
        (problem(Kind::IndexLoading), Fate::Untouched),
        (nothing.into_response(), Fate::Untouched),
        (problem(Kind::BrokerUnavailable), Fate::Unknown),
        (problem(Kind::Timeout), Fate::Unknown),
        (layer::panicked(Box::new("x")), Fate::Unknown),
        (
            StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Fate::Unknown,
        ),
    ] {
        assert_eq!(Fate::of(&response), fate, "{response:?}");
    }
}

#[tokio::test]
async fn whoever_hangs_up_leaves_a_record() {
    let (under_way, mut taken) = under_way();
    drop(under_way);
    let (_, change) = taken.try_recv().unwrap().record;
    assert_eq!((change.status, change.what.as_str()), (None, "postEvent"));
    assert!(taken.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_answered_well_when_its_record_is_stored_and_not_before() {
    let made = || {
        let mut response = StatusCode::CREATED.into_response();
        let about = About(vec![("event", "e".to_owned()), ("id", "n-1".to_owned())]);
        response.extensions_mut().insert(about);
        response
    };
    let (under_way_now, mut taken) = under_way();
    let writer = async {
        let item = taken.recv().await.unwrap();
        item.stored.send(()).unwrap();
        item.record.1
    };
    let (answer, change) = tokio::join!(under_way_now.answered(made()), writer);
    assert_eq!(
        (answer.status(), change.status),
        (StatusCode::CREATED, Some(201))
    );
    assert_eq!(change.of["event"], "e");

    // Nobody says that it is stored; it is handed over once all the same.
    let (under_way_now, mut taken) = under_way();
    let answer = under_way_now.answered(made()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(taken.try_recv().unwrap().record.1.status, Some(201));
    assert!(taken.try_recv().is_err());
    // Whoever let us choose the id has to be told it, or the same again would be another event.
    let problem = answer.extensions().get::<Problem>().unwrap();
    let told = problem.write(&http::HeaderMap::new(), "r");
    let told = axum::body::to_bytes(told.into_body(), 4096).await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["id"], "n-1");
}
