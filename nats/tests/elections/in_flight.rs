//! What a leader had proposed and nobody else has: refused to the second one who asks, and then
//! lost.
//!
//! Both followers are killed, so that nothing is agreed upon; then everything is asked for by two;
//! then the leader is killed and the followers come back.

use std::collections::BTreeSet;
use std::time::Duration;

use fanfare_nats::Broker;
use fanfare_nats::control::{ControlError, Created};
use fanfare_nats::publish::PublishEventError;
use fanfare_nats::receipt::Claim;
use fanfare_nats::receipts::AppendError;
use fanfare_nats_server::Options;
use futures::future::join_all;
use tokio::task::JoinSet;

use super::account::{Account, Pulse, Report};
use super::plans::Plans;
use super::reading::{by_subject, held};
use super::rig::{Rig, patiently};
use super::tap::{Hold, Tap};
use super::values::{event, event_subject, now, plan, receipt, task};

/// Of each protocol.
const EACH: usize = 20;
/// How long the first one's proposals have before the second one asks: a message takes less than a
/// millisecond, and a run without refusals is void.
const LEAD: Duration = Duration::from_millis(300);

/// What came of a fault.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    pulse: Option<Pulse>,
    /// Events whose publisher died with the leader, and whose other publisher took 10158 for stored.
    n_taken_for_stored: u64,
    /// How many of them are not stored.
    n_gone: u64,
    findings: Vec<String>,
}

impl Lost {
    pub(crate) fn add(&mut self, other: Self) {
        let n = |it: &Option<Pulse>| it.map_or(0, |it| it.n);
        let mut pulse = Pulse::new();
        pulse.n = n(&self.pulse) + n(&other.pulse);
        self.pulse = Some(pulse);
        self.n_taken_for_stored += other.n_taken_for_stored;
        self.n_gone += other.n_gone;
        self.findings.extend(other.findings);
    }

    pub(crate) fn account(self) -> Option<Account> {
        let mut account = Account::of("in flight", self.pulse?);
        account.figures = vec![
            ("10158 taken for stored", self.n_taken_for_stored),
            ("of these lost", self.n_gone),
        ];
        account.findings = self.findings;
        Some(account)
    }

    fn check(&mut self, is_so: bool, finding: impl FnOnce() -> String) {
        if !is_so {
            self.findings.push(finding());
        }
    }

    fn acknowledged(&mut self, n: usize) {
        let pulse = self.pulse.get_or_insert_with(Pulse::new);
        pulse.n += u64::try_from(n).unwrap();
    }
}

/// The fault alone, without other load.
pub(crate) async fn in_flight(options: &Options) -> Report {
    let mut rig = Rig::start(options, Duration::from_secs(12)).await;
    let names = fanfare_nats::subject::Names::default();
    let plans = Plans::new(&names);
    rig.gather(0).await;
    let lost = Box::pin(in_flight_fault(&mut rig, 0, 0, &plans)).await;
    let planned = plans.audit(rig.raw_beside(0)).await;
    Report {
        faults: vec!["in-flight"],
        elections: rig.witness.elections(),
        unknown: rig.unknown(),
        accounts: vec![lost.account().unwrap(), planned],
    }
}

/// The fault, with two who ask for everything; `leader` leads everything.
pub(crate) async fn in_flight_fault(
    rig: &mut Rig,
    leader: usize,
    round: usize,
    plans: &Plans,
) -> Lost {
    let asking = [
        rig.broker("one", leader).await,
        rig.broker("two", leader).await,
    ];
    let dying = rig.broker("dying", leader).await;
    let urls = rig.urls();
    let tap = Tap::start(&urls[leader], Hold::Lie).await;
    let mut servers = urls;
    servers.rotate_left(leader);
    servers[0] = tap.url();
    let believing = rig.broker_by("believing", servers).await;

    let followers = [(leader + 1) % 3, (leader + 2) % 3];
    rig.kill(&followers).await;
    let before = rig.unknown();
    let mut dead = JoinSet::new();
    for n in 0..EACH {
        let dying = dying.clone();
        dead.spawn(async move { dying.publish(&event(&believed(round, n)), false).await });
    }
    let asked = ask_all(&asking, round, plans);
    let fault = async {
        tokio::time::sleep(LEAD * 2).await;
        let events: Vec<_> = (0..EACH).map(|n| event(&believed(round, n))).collect();
        let told = join_all(events.iter().map(|it| believing.publish(it, false))).await;
        let n_told = told.iter().filter(|it| it.is_ok()).count();
        dead.abort_all();
        rig.kill(&[leader]).await;
        rig.restart(&followers).await;
        rig.led_without(leader).await;
        n_told
    };
    let (mut lost, n_told) = tokio::join!(asked, fault);
    rig.restart(&[leader]).await;
    rig.ready().await;
    rig.led().await;

    let bit: Vec<u64> = rig
        .unknown()
        .iter()
        .zip(before)
        .map(|(it, was)| it - was)
        .collect();
    lost.check(bit[0] > 0 && bit[1] > 0, || {
        format!("the fault did not bite: {bit:?}")
    });
    lost.check(tap.n_lies() > 0, || "nobody was lied to".to_owned());
    audit(rig, leader, round, &mut lost).await;
    lost.n_taken_for_stored = u64::try_from(n_told).unwrap();
    lost
}

fn believed(round: usize, n: usize) -> String {
    format!("believed-{round}-{n}")
}

fn asked(round: usize, n: usize) -> String {
    format!("asked-{round}-{n}")
}

/// Both ask for everything, the second one a moment later, until they know.
async fn ask_all(asking: &[Broker; 2], round: usize, plans: &Plans) -> Lost {
    let mut lost = Lost::default();
    let later = async |n: usize| tokio::time::sleep(LEAD * u32::try_from(n).unwrap()).await;
    let each = |n: usize| (0..EACH).map(move |it| (n, it));
    let both = || each(0).chain(each(1));
    let events = join_all(both().map(|(who, n)| async move {
        later(who).await;
        let event = event(&asked(round, n));
        while let Err(PublishEventError::Unknown { .. }) = asking[who].publish(&event, false).await
        {
        }
    }));
    let planned = join_all(both().map(|(who, n)| async move {
        later(who).await;
        let revision = u64::try_from(who).unwrap();
        let plan = plan(&asked(round, n), "planned", 1, revision);
        plans.commit(&asking[who], &plan).await;
    }));
    let receipts = join_all(both().map(|(who, n)| async move {
        later(who).await;
        let task = task(&asked(round, n), "chained");
        let claim = Claim {
            epoch: 1,
            pass: 1,
            message: 0,
            delivered: 1,
            nonce: u64::try_from(who).unwrap(),
        };
        // Both stand where the chain begins, as after a read of an empty one.
        let (chain, _) = patiently(async || asking[who].receipts(&task).await).await;
        (n, chain.append_after(0, &receipt(claim, 0)).await)
    }));
    let woken = join_all(both().map(|(who, n)| async move {
        later(who).await;
        let (task, due) = (
            task(&asked(round, n), "woken"),
            now() + Duration::from_hours(1),
        );
        while asking[who].wake_up(&task, 2, due, now()).await.is_err() {}
    }));
    let created = join_all(both().map(|(who, n)| async move {
        later(who).await;
        let key = format!("baseline.{}", asked(round, n));
        (
            n,
            asking[who]
                .control_create(&key, format!("{who}").into())
                .await,
        )
    }));
    let (_, _, receipts, _, created) = tokio::join!(events, planned, receipts, woken, created);
    lost.acknowledged(EACH * 2 * 5);
    judge(&receipts, &created, &mut lost);
    lost
}

/// Of two who ask for the same, one gets it and the other knows that it did not.
fn judge(
    receipts: &[(usize, Result<u64, AppendError>)],
    created: &[(usize, Result<Created, ControlError>)],
    lost: &mut Lost,
) {
    for n in 0..EACH {
        let of = receipts.iter().filter(|(it, _)| *it == n).map(|(_, it)| it);
        let mut outcomes: Vec<_> = of.map(|it| it.as_ref().err()).collect();
        outcomes.sort_by_key(Option::is_some);
        let is_so = matches!(outcomes.as_slice(), [None, Some(AppendError::Fenced)]);
        lost.check(is_so, || format!("receipt {n}: {outcomes:?}"));
        let of = created.iter().filter(|(it, _)| *it == n).map(|(_, it)| it);
        let mine = of.filter(|it| matches!(it, Ok(Created::Mine(_)))).count();
        lost.check(mine == 1, || {
            format!("record {n}: {mine} winners, {created:?}")
        });
    }
}

/// Everything that was asked for stands once.
async fn audit(rig: &Rig, leader: usize, round: usize, lost: &mut Lost) {
    let raw = rig.raw_beside(leader);
    let names = fanfare_nats::subject::Names::default();
    let stored = held(raw, &names.events()).await;
    let stored = by_subject(&stored);
    let count = |item: &str| {
        let subject = names.subject(&event_subject(&event(item)));
        stored.get(&*subject).map_or(0, Vec::len)
    };
    for n in 0..EACH {
        let n_stored = count(&asked(round, n));
        lost.check(n_stored == 1, || {
            format!("{} stored {n_stored} times", asked(round, n))
        });
        lost.n_gone += u64::from(count(&believed(round, n)) == 0);
    }
    let tasks = held(raw, &names.tasks()).await;
    let receipts = held(raw, &names.receipts()).await;
    let of_round: BTreeSet<String> = (0..EACH)
        .map(|n| event(&asked(round, n)).id().to_string())
        .collect();
    let alarms = by_subject(&tasks);
    let alarms = alarms
        .iter()
        .filter(|(it, _)| it.starts_with("fanfare.later."));
    let chains = by_subject(&receipts);
    for (what, subjects) in [
        (
            "wake-ups",
            alarms.map(|(it, at)| (*it, at.len())).collect::<Vec<_>>(),
        ),
        (
            "receipts",
            chains.iter().map(|(it, at)| (*it, at.len())).collect(),
        ),
    ] {
        let is_of_round = |it: &str| it.split('.').any(|part| of_round.contains(part));
        let of_round = subjects.iter().filter(|(it, _)| is_of_round(it));
        let counts: Vec<usize> = of_round.map(|(_, n)| *n).collect();
        lost.check(counts == [1; EACH], || format!("{what} stored: {counts:?}"));
    }
}
