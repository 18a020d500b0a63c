//! A breaker's life, and what never happens in it.

use proptest::prelude::*;

use super::*;

const URGENT: Urgency = Urgency::Urgent;
const BULK: Urgency = Urgency::Bulk;
const SECOND: Duration = Duration::from_secs(1);

fn failure(scope: Scope, wish: Option<Duration>, begun: Instant) -> Failure {
    Failure { scope, wish, begun }
}

fn outage(breaker: &mut Breaker, now: Instant) -> AfterFailure {
    let mut after = AfterFailure::Again;
    for _ in 0..TOLERATED {
        assert_eq!(after, AfterFailure::Again);
        after = breaker.failed(failure(Scope::App, None, now), now, 0.5);
    }
    after
}

#[test]
fn it_opens_after_failures_in_a_row_and_longer_each_time() {
    let mut breaker = Breaker::new(Pace::USUAL);
    let mut now = Instant::now();
    assert_eq!(outage(&mut breaker, now), AfterFailure::Paused(SECOND));
    assert_eq!(breaker.leave(URGENT, now), Leave::At(now + SECOND));
    for longer in [2, 4, 8, 16, 30, 30] {
        now += breaker.left(BULK, now).unwrap();
        assert_eq!(breaker.leave(BULK, now), Leave::Probe);
        breaker.begin_probe();
        let after = breaker.failed(failure(Scope::App, None, now), now, 0.5);
        assert_eq!(after, AfterFailure::Paused(longer * SECOND));
    }
    now += breaker.left(BULK, now).unwrap();
    assert!(breaker.succeeded(now, now));
    assert_eq!(outage(&mut breaker, now), AfterFailure::Paused(SECOND));
}

#[test]
fn a_success_between_is_a_new_beginning() {
    let mut breaker = Breaker::new(Pace::USUAL);
    let now = Instant::now();
    for _ in 0..10 {
        for _ in 1..TOLERATED {
            let after = breaker.failed(failure(Scope::App, None, now), now, 0.5);
            assert_eq!(after, AfterFailure::Again);
        }
        breaker.succeeded(now, now);
    }
    assert!(breaker.is_closed());
}

#[test]
fn one_probe_is_let_through_and_another_only_if_it_had_no_verdict() {
    let mut breaker = Breaker::new(Pace::USUAL);
    let mut now = Instant::now();
    outage(&mut breaker, now);
    now += SECOND;
    assert_eq!(breaker.leave(URGENT, now), Leave::Probe);
    breaker.begin_probe();
    assert_eq!(breaker.leave(URGENT, now), Leave::AfterProbe);
    assert_eq!(breaker.leave(BULK, now + 8 * SECOND), Leave::AfterProbe);
    breaker.end_probe(now);
    assert_eq!(breaker.leave(BULK, now), Leave::At(now + NO_VERDICT));
    assert_eq!(breaker.leave(BULK, now + NO_VERDICT), Leave::Probe);
}

#[test]
fn what_was_under_way_when_it_opened_neither_closes_it_nor_opens_it_again() {
    let mut breaker = Breaker::new(Pace::USUAL);
    let begun = Instant::now();
    let opened = begun + SECOND;
    breaker.failed(failure(Scope::App, Some(7 * SECOND), opened), opened, 0.0);
    let late = opened + SECOND;
    assert!(!breaker.succeeded(begun, late));
    let after = breaker.failed(failure(Scope::App, None, begun), late, 0.0);
    assert_eq!(after, AfterFailure::Paused(6 * SECOND));
    assert_eq!(breaker.left(URGENT, late), Some(6 * SECOND));
}

#[test]
fn a_connection_that_breaks_with_everything_on_it_is_one_fault() {
    let mut breaker = Breaker::new(Pace::USUAL);
    let (begun, broken) = (Instant::now(), Instant::now() + SECOND);
    for _ in 0..100 {
        let after = breaker.failed(failure(Scope::Connection, None, begun), broken, 0.5);
        assert_eq!(after, AfterFailure::Again);
    }
    // The next connection is no better.
    let after = breaker.failed(failure(Scope::Connection, None, broken), broken, 0.5);
    assert!(matches!(after, AfterFailure::Paused(_)));
}

#[test]
fn a_silence_of_seconds_in_which_nobody_is_heard_opens_it_at_once() {
    let mut breaker = Breaker::new(Pace::USUAL);
    let begun = Instant::now();
    let timed_out = begun + 8 * SECOND;
    for n in 1..=TOLERATED {
        let after = breaker.failed(failure(Scope::Connection, None, begun), timed_out, 0.5);
        assert_eq!(after == AfterFailure::Again, n < TOLERATED);
    }
    let mut heard = Breaker::new(Pace::USUAL);
    heard.succeeded(begun, begun + SECOND);
    for _ in 0..100 {
        let after = heard.failed(failure(Scope::Connection, None, begun), timed_out, 0.5);
        assert_eq!(after, AfterFailure::Again, "others were answered");
    }
}

#[test]
fn a_wish_opens_at_once_and_is_never_cut_short() {
    for random in [0.0, 0.3, 1.0] {
        let mut breaker = Breaker::new(Pace::USUAL);
        let now = Instant::now();
        breaker.failed(failure(Scope::Quota, Some(60 * SECOND), now), now, random);
        assert!(breaker.left(URGENT, now).unwrap() >= 60 * SECOND);
        assert!(breaker.left(URGENT, now).unwrap() <= 68 * SECOND);
    }
}

#[test]
fn refused_credentials_keep_it_open_longest() {
    let mut breaker = Breaker::new(Pace::USUAL);
    let now = Instant::now();
    let after = breaker.refused(now, now, 0.0);
    assert_eq!(after, AfterFailure::Paused(CREDENTIALS));
}

#[test]
fn after_an_outage_of_apns_bulk_waits_a_quarter_of_an_hour_and_urgent_tries_early() {
    let mut breaker = Breaker::new(Pace::apns(None));
    let mut now = Instant::now();
    let quarter = Duration::from_mins(15);
    assert_eq!(outage(&mut breaker, now), AfterFailure::Paused(5 * SECOND));
    let bulk_until = now + breaker.left(BULK, now).unwrap();
    assert!(bulk_until >= now + quarter);
    for _ in 0..20 {
        now += breaker.left(URGENT, now).unwrap();
        breaker.begin_probe();
        breaker.failed(failure(Scope::App, None, now), now, 0.5);
        assert!(breaker.left(URGENT, now).unwrap() <= 30 * SECOND);
        assert_eq!(
            breaker.left(BULK, now),
            Some(bulk_until - now),
            "not prolonged"
        );
    }
    now += breaker.left(URGENT, now).unwrap();
    breaker.succeeded(now, now);
    assert_eq!(breaker.leave(BULK, now), Leave::Free);
}

#[test]
fn a_lost_connection_to_apns_is_no_outage_of_apns() {
    let mut breaker = Breaker::new(Pace::apns(None));
    let mut now = Instant::now();
    for _ in 0..TOLERATED_BURSTS {
        now += SECOND;
        breaker.failed(failure(Scope::Connection, None, now), now, 0.5);
    }
    assert_eq!(breaker.left(BULK, now), Some(SECOND));
}

proptest! {
    #[test]
    fn never_more_than_one_request_while_it_is_not_closed(
        steps in prop::collection::vec((0_u8..7, 0_u64..4000), 0..200),
    ) {
        let mut breaker = Breaker::new(Pace::USUAL);
        let mut now = Instant::now();
        // Begin of each request in flight, and whether it was a probe.
        let mut in_flight: Vec<(Instant, bool)> = Vec::new();
        for (step, pause_ms) in steps {
            now += Duration::from_millis(pause_ms);
            if step < 3 {
                match breaker.leave(URGENT, now) {
                    Leave::Free => in_flight.push((now, false)),
                    Leave::Probe => {
                        breaker.begin_probe();
                        prop_assert!(in_flight.iter().all(|(_, is_probe)| !is_probe));
                        in_flight.push((now, true));
                    }
                    Leave::At(at) => prop_assert!(now < at),
                    Leave::AfterProbe => prop_assert!(in_flight.iter().any(|it| it.1)),
                }
            } else if !in_flight.is_empty() {
                let (begun, is_probe) = in_flight.remove(0);
                if is_probe {
                    breaker.end_probe(now);
                }
                match step {
                    3 => { breaker.succeeded(begun, now); }
                    4 => { breaker.refused(begun, now, 0.5); }
                    5 => { breaker.failed(failure(Scope::App, None, begun), now, 0.5); }
                    _ => { breaker.failed(failure(Scope::Connection, None, begun), now, 0.5); }
                }
                if breaker.is_closed() {
                    for it in &mut in_flight {
                        it.1 = false;
                    }
                }
            }
        }
    }
}
