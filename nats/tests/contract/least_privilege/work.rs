//! What each role really does, by the calls that it does it with.

use std::collections::BTreeMap;
use std::sync::Arc;

use fanfare_nats::batch::Way;
use fanfare_nats::bucket::Expect;
use fanfare_nats::claim::Message;
use fanfare_nats::consumer::Claims;
use fanfare_nats::dead::{Case, DeadLetter, Done, Wanted};
use fanfare_nats::event::SourceName;
use fanfare_nats::follow::Followed;
use fanfare_nats::key::{Key, Scope, Tenant};
use fanfare_nats::lease::Times;
use fanfare_nats::members::Member;
use fanfare_nats::permissions::Role;
use fanfare_nats::presence::Presence;
use fanfare_nats::receipt::{Claim, Line, Mark, Receipt};
use fanfare_nats::service::Service;
use fanfare_nats::story::read::{Letters, Named};
use fanfare_nats::story::unplanned::Absence;
use fanfare_nats::story::why::{Ending, why};
use fanfare_nats::stream::Topology;
use fanfare_nats::{Broker, DeviceHash, Event, EventId, Plan, Readiness, Task};
use jiff::ToSpan;
use tokio_util::sync::CancellationToken;

use super::super::support::{device, event, eventually, id, lane, now, plan, usgs};
use super::recorded;

/// All of it, in the order of a life: of each role as its own user.
pub(super) async fn all<'a>(of: &impl Fn(Role) -> &'a Broker, topology: &Topology) {
    own(of(Role::Owner), topology).await;
    let event = serve(of(Role::Api)).await;
    fetch(of(Role::Fetcher)).await;
    let task = notify(of(Role::Notifier)).await;
    answer(of(Role::Api), &task, &event).await;
    check(of(Role::Auditor), &task).await;
    operate(of(Role::Ops), &task, &event).await;
}

async fn own(broker: &Broker, topology: &Topology) {
    broker.ensure(topology).await.unwrap();
    let steps = fanfare_nats::stream::steps(broker.verify(topology).await);
    assert!(broker.apply(topology, &steps).await.unwrap().is_empty());
    broker.begin_epoch(topology, 99).await.unwrap();
    let (mut key, _) = Key::create(Tenant::main(), "x", vec![Scope::Read], None, now()).unwrap();
    let revision = broker.create_key(&key).await.unwrap();
    key.revoked_at = Some(now());
    broker.replace_key(&key, revision).await.unwrap();
    assert_eq!(broker.keys().await.unwrap()[0].key, key);
    assert!(broker.key_uses().await.unwrap().is_empty());
    recorded::keep(broker, Role::Owner).await;
    let mut copy = Vec::new();
    broker.back_up("FANFARE_EVENTS", &mut copy).await.unwrap();
    assert!(!copy.is_empty());
}

/// Every running role is a member, and a service that operators ask.
pub(super) fn seen(broker: &Broker, role: Role) -> Presence {
    let service = Service {
        role: role.name(),
        description: "d",
        metadata: BTreeMap::new(),
        figures: Arc::new(|| serde_json::Value::Null),
    };
    broker.appear(service, CancellationToken::new()).0
}

async fn live(broker: &Broker, role: Role) {
    let member = Member {
        role: role.name().to_owned(),
        node: broker.node().to_owned(),
        host: "h".to_owned(),
        version: "1".to_owned(),
        weight: 1,
        started: now(),
        waits_for: None,
    };
    broker.put_member(&member).await.unwrap();
    broker.remove_member(role.name()).await.unwrap();
    broker.put_member(&member).await.unwrap();
}

async fn serve(broker: &Broker) -> Event {
    live(broker, Role::Api).await;
    recorded::keep(broker, Role::Api).await;
    let key = broker.keys().await.unwrap().remove(0).key;
    let name = (key.tenant, key.id);
    broker.note_key_use(&name, now()).await.unwrap();
    let (phone, document) = (id("phone-1"), device("token-1"));
    let put = broker.put_device(&phone, &document, Expect::Absent).await;
    let revision = put.unwrap();
    assert_eq!(
        broker.device(&phone).await.unwrap().unwrap().revision,
        revision
    );
    let gone = id("phone-2");
    broker
        .put_device(&gone, &document, Expect::Any)
        .await
        .unwrap();
    broker.delete_device(&gone, Expect::Any).await.unwrap();
    let period = std::time::Duration::from_hours(1);
    assert!(broker.take_sweep(period).await.unwrap());
    assert!(!broker.take_sweep(period).await.unwrap());
    let since = broker.sweeping_since(period, now()).await.unwrap();
    let again = broker.sweeping_since(period, now() + 1.hours()).await;
    assert_eq!(again.unwrap(), since);
    let registration = broker.registration_from(1).await.unwrap().unwrap();
    assert_eq!((registration.id, registration.revision), (phone, revision));
    follow(broker).await;
    let event = Event {
        source: SourceName::api(),
        ..event("posted")
    };
    broker.publish(&event, false).await.unwrap();
    let screen = event.screen();
    let stored = broker.stored_event(&event.source, &screen, &event.level);
    assert!(stored.await.unwrap().is_some());
    event
}

pub(super) async fn fetch(broker: &Broker) {
    live(broker, Role::Fetcher).await;
    let value = || b"{}".to_vec().into();
    broker
        .control_create("baseline.usgs", value())
        .await
        .unwrap();
    broker
        .control_create("baseline.usgs", value())
        .await
        .unwrap();
    broker.control_put("cursor.usgs.0", value()).await.unwrap();
    assert!(broker.control_get("cursor.usgs.0").await.unwrap().is_some());
    lease(broker).await;
    broker
        .publish_under(&event("us1"), false, Some(1))
        .await
        .unwrap();
}

/// Takes the lease of an exclusive source, lets go of it, takes it again and keeps it.
async fn lease(broker: &Broker) {
    let (_, members) = broker.membership(Role::Fetcher.name());
    let (_, mut electorate) = broker.electorate(members);
    let mut candidate = broker.candidate(&usgs(), Times::SHIPPED);
    let first = candidate.acquire(&mut electorate).await;
    candidate.release(None).await;
    let mut candidate = broker.candidate(&usgs(), Times::SHIPPED);
    let second = candidate.acquire(&mut electorate).await;
    assert!(first.number() < second.number());
    assert!(broker.preferences().await.unwrap().is_empty());
    assert_eq!(broker.leases().await.unwrap().len(), 1);
}

async fn taken(claims: &Claims) -> Message {
    eventually(async || claims.next().await.unwrap().ok_or("nothing")).await
}

/// Follows the devices until everything that was stored is seen, also after a gap.
async fn follow(broker: &Broker) {
    let (stop, readiness) = (CancellationToken::new(), Readiness::new());
    let (followed, ended) = Followed::start(broker.clone(), readiness, stop.clone()).unwrap();
    let mut seen = followed.seen();
    seen.wait_for(Option::is_some).await.unwrap();
    followed.current(broker).await.unwrap();
    assert_eq!(followed.index().len(), 1);
    followed.watch_anew();
    let (late, document) = (id("phone-4"), device("token-4"));
    let put = broker.put_device(&late, &document, Expect::Any).await;
    let expect = Expect::Revision(put.unwrap());
    followed.current(broker).await.unwrap();
    assert_eq!(followed.index().len(), 2);
    broker.delete_device(&late, expect).await.unwrap();
    stop.cancel();
    assert!(ended.await.is_err());
}

async fn hear_ahead(broker: &Broker) {
    let ahead = broker.events_ahead().await.unwrap();
    let told = ahead.next().await.unwrap().unwrap();
    assert_eq!(told.urgency, Some(fanfare_nats::Urgency::Urgent));
}

async fn notify(broker: &Broker) -> Task {
    live(broker, Role::Notifier).await;
    assert_eq!(broker.members("notifier").await.unwrap().len(), 1);
    assert_eq!(broker.n_devices().await.unwrap(), 3);
    let mut n_loaded = 0;
    let from = broker.load_devices(|_, _| n_loaded += 1).await.unwrap();
    let mut watch = broker.watch_devices(from).await.unwrap();
    let barrier = broker.put_barrier().await.unwrap();
    assert_eq!((watch.next().await.unwrap().1, n_loaded), (barrier, 3));
    watch.resume().await.unwrap();
    let barrier = broker.put_barrier().await.unwrap();
    assert_eq!(watch.next().await.unwrap().1, barrier);

    Box::pin(hear_ahead(broker)).await;
    let events = broker.event_claims().await.unwrap();
    let posted = taken(&events).await;
    posted.nak(None).await;
    let (mut message, mut read) = (None, None);
    while read.as_ref().is_none_or(|it: &Event| it.source != usgs()) {
        let next = taken(&events).await;
        read = Some(next.event(broker.names()).unwrap());
        if let Some(former) = message.replace(next) {
            Message::ack(former).await.unwrap();
        }
    }
    let (event, message) = (read.unwrap(), message.unwrap());
    message.extend().await;
    let levels = broker.stored_levels(&event.source, &event.screen()).await;
    assert_eq!(levels.unwrap().len(), 1);
    let (task, batch) = commit(broker, &event, message.seq()).await;
    message.ack().await.unwrap();
    send(broker, &task).await;
    send(broker, &batch).await;
    retire(broker).await;
    batch
}

/// Both ways of storing a plan; the task of each.
async fn commit(broker: &Broker, event: &Event, event_seq: u64) -> (Task, Task) {
    let one = Plan {
        event: event.id(),
        event_seq,
        ..plan("any", &[("ios", 1)])
    };
    broker.store_plan(&one, Way::PlanFirst).await.unwrap();
    broker.store_tasks(&one).await.unwrap();
    let many = Plan {
        event: EventId::parse(&"b".repeat(32)).unwrap(),
        event_seq,
        ..plan("any", &[("ios", 5000)])
    };
    broker.store_plan(&many, Way::Together).await.unwrap();
    assert_eq!(
        broker.stored_plan(&many.event).await.unwrap(),
        Some(many.clone())
    );
    let first = |plan: &Plan| plan.tasks().next().unwrap();
    (first(&many), first(&one))
}

async fn send(broker: &Broker, task: &Task) {
    let claims = broker.task_claims(&lane("ios")).await.unwrap();
    assert!(claims.pause_left().await.unwrap().is_none());
    let message = taken(&claims).await;
    message.extend().await;
    assert!(broker.event_at(task.event_seq).await.unwrap().is_some());
    let (mut chain, _) = broker.receipts(task).await.unwrap();
    let at = now();
    let claim = Claim {
        epoch: 1,
        pass: 1,
        message: 0,
        delivered: 1,
        nonce: 7,
    };
    let line = Line {
        device: DeviceHash::of("phone-1"),
        mark: Mark::Refused,
        attempt: 1,
        reason: Some("x".to_owned()),
        at,
    };
    let receipt = Receipt {
        low: None,
        lines: vec![line],
        claims_without_mark: 0,
        ..Receipt::first(claim, "n1", at)
    };
    chain.append(&receipt).await.unwrap();
    let refused = DeadLetter::refused(task, DeviceHash::of("phone-1"), 1, "x", at);
    broker.bury(&refused).await.unwrap();
    broker.wake_up(task, 2, at + 1.hours(), at).await.unwrap();
    message.ack().await.unwrap();
}

async fn retire(broker: &Broker) {
    let (gone, document) = (id("phone-3"), device("token-3"));
    let put = broker.put_device(&gone, &document, Expect::Any).await;
    let expect = Expect::Revision(put.unwrap());
    assert!(broker.device(&gone).await.unwrap().is_some());
    broker.delete_device(&gone, expect).await.unwrap();
}

/// What app developers are told.
async fn answer(broker: &Broker, task: &Task, posted: &Event) {
    let planned = broker
        .event_named(&Tenant::main(), task.event.as_str(), now())
        .await;
    let Named { stored, plan } = planned.unwrap().unwrap();
    let plan = plan.unwrap();
    let tally = broker.tally(&plan, 100).await.unwrap();
    assert_eq!((tally.n(Mark::Refused), tally.owed()), (1, Some(1)));
    let few = broker.tally(&plan, 1).await.unwrap();
    assert!(!few.is_whole && few.owed().is_none(), "{few:?}");
    let phone = id("phone-1");
    let case = broker.case(stored, Some(plan), phone.clone(), Letters::LeftAlone, now());
    let ending = why(&case.await.unwrap()).ending;
    assert_eq!(ending, Ending::Refused("x".to_owned(), None));
    let unplanned = broker
        .event_named(&Tenant::main(), &posted.item, now())
        .await;
    let Named { stored, plan } = unplanned.unwrap().unwrap();
    assert!(plan.is_err(), "{plan:?}");
    let case = broker.case(stored, None, phone, Letters::LeftAlone, now());
    assert_eq!(case.await.unwrap().absence, Some(Absence::Waiting));
    let unknown = "0".repeat(32);
    assert!(
        broker
            .event_named(&Tenant::main(), &unknown, now())
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(broker.lanes().await.unwrap().len(), 1);
    assert_eq!(broker.members_seen("*").await.unwrap().len(), 3);
    let (oldest, newest) = broker.events_held().await.unwrap().unwrap();
    let events = broker.events_from(oldest, 100).await.unwrap();
    assert_eq!((events.items.len(), events.next), (2, newest + 1));
    let receipts = broker.receipts_from(1, 100).await.unwrap();
    assert_eq!(receipts.next, broker.newest_receipt().await.unwrap() + 1);
    assert_eq!(receipts.items.len(), 2);
}

/// `verify`, `why`, and the list of dead letters.
async fn check(broker: &Broker, task: &Task) {
    let standings = broker.standings().await.unwrap();
    assert_eq!(standings.events, (1, 2));
    let first = broker.first_event_since(now() - 1.hours(), &standings);
    assert_eq!(first.await.unwrap(), 1);
    assert!(broker.newest_event(None).await.unwrap().is_some());
    let planned = broker.event_by_id(&task.event, 100).await.unwrap();
    let (stored, small) = planned.unwrap();
    assert_eq!(broker.levels_of(&stored.event).await.unwrap().len(), 1);
    let large = EventId::parse(&"b".repeat(32)).unwrap();
    let large = broker.plan_of(&large);
    for plan in [small.unwrap(), large.await.unwrap().unwrap()] {
        let mut n = 0;
        broker
            .each_receipt(&plan, |_, _, _, _| n += 1)
            .await
            .unwrap();
        assert_eq!(n, 1, "{plan:?}");
    }
    assert_eq!(broker.census(|_| {}).await.unwrap().apps().len(), 1);
    broker.document(&id("phone-1")).await.unwrap();
    recorded::read(broker, &["owner", "api"]).await;
    let app = &task.lane.app;
    let letters = broker.letters(&task.event, app, DeviceHash::of("phone-1"));
    assert_eq!(letters.await.unwrap().len(), 1);
    let n = broker.dead_letters(&Wanted::default(), |_, _| {}).await;
    assert_eq!(n.unwrap(), 2);
    assert!(broker.dead_letter(1).await.unwrap().is_some());
    assert_eq!(broker.lanes().await.unwrap().len(), 1);
    assert_eq!(broker.members("fetcher").await.unwrap().len(), 1);
    assert!(broker.n_messages().await.unwrap() > 0);
}

/// Pauses, a test push, and a replay.
async fn operate(broker: &Broker, task: &Task, posted: &Event) {
    check(broker, task).await;
    let lane = lane("ios");
    broker.pause_lane(&lane, now() + 1.hours()).await.unwrap();
    assert!(broker.lanes().await.unwrap()[0].paused_until.is_some());
    broker.resume_lane(&lane).await.unwrap();
    recorded::keep(broker, Role::Ops).await;
    recorded::read(broker, &["owner", "api", "ops"]).await;
    let until = now() + 1.hours();
    broker.pause_source(&usgs(), until, now()).await.unwrap();
    broker.resume_source(&usgs()).await.unwrap();
    broker.sources(now()).await.unwrap();
    let push = Event {
        item: "push-1".to_owned(),
        ..posted.clone()
    };
    broker.publish(&push, false).await.unwrap();
    let letter = DeadLetter::refused(task, DeviceHash::of("phone-1"), 1, "x", now());
    let case = Case::of(&letter, now() + 1.hours()).unwrap();
    broker.assess(&case, now()).await.unwrap();
    let done = broker.replay(&case, now()).await.unwrap();
    assert!(matches!(done, Done::Replayed(_)), "{done:?}");
    broker.rejudge(&letter, now()).await.unwrap();
    broker.publish_again(posted, 1).await.unwrap();
    let hour = std::time::Duration::from_hours(1);
    for source in [None, Some(&usgs())] {
        broker.prefer_holder(source, "n1", hour).await.unwrap();
        broker.forget_preference(source).await.unwrap();
    }
    assert_eq!(broker.withdraw_lease(&usgs()).await.unwrap().node, "n1");
}
