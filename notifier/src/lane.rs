//! One lane of this process: everything that decides whether its next request may be written.
//!
//! Four things hold a request back: the lane's part of the window, the app's breaker, the app's
//! rate, and an operator's pause. A worker asks here and nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare_nats::Urgency;
use tokio::time::Instant;

pub use crate::breaker::AfterFailure;
use crate::outcome::Scope;
use crate::pressure::{Pressure, Pull, TakeUp};
use crate::share::Seat;
use crate::window::{Place, Window};

/// The state of one lane in this process.
#[derive(Debug)]
pub struct LaneState {
    window: Window,
    app: Arc<Pressure>,
    seat: Seat,
    /// An operator has paused the lane.
    is_held: AtomicBool,
}

/// Leave to write one request. It gives back its place in flight when dropped; its credit stays
/// taken until [`LaneState::release`], because the outcome is not recorded before.
#[derive(Debug)]
pub struct Admission {
    _place: Place,
    probe: Option<Arc<Pressure>>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(app) = self.probe.take() {
            app.end_probe(Instant::now());
        }
    }
}

impl LaneState {
    /// A lane that nobody has paused.
    pub fn new(window: Window, app: Arc<Pressure>, seat: Seat) -> Self {
        Self {
            window,
            app,
            seat,
            is_held: AtomicBool::new(false),
        }
    }

    /// The lane as budgets see it.
    pub(crate) fn seat(&self) -> Seat {
        self.seat
    }

    /// Leave to write one request, if there is leave at once.
    pub fn try_admit(&self) -> Option<Admission> {
        self.ask().ok()
    }

    /// Waits for leave to write one request. Dropping the future takes none.
    pub async fn admit(&self) -> Admission {
        self.window.wait_for(|| self.ask()).await
    }

    fn ask(&self) -> Result<Admission, Option<Instant>> {
        let place = |reach| self.window.try_take(self.seat, reach);
        let (place, is_probe) = self
            .app
            .try_begin(self.seat.urgency, Instant::now(), place)?;
        Ok(Admission {
            _place: place,
            probe: is_probe.then(|| self.app.clone()),
        })
    }

    /// Gives back `n` credits, once their outcomes are recorded or can no longer be.
    pub fn release(&self, n: usize) {
        self.window.release(self.seat, n);
    }

    /// Whether no credit is left for this lane.
    pub fn is_exhausted(&self) -> bool {
        self.window.is_exhausted(self.seat)
    }

    /// The provider answered for a device; its request began at `begun`.
    pub fn succeeded(&self, begun: Instant) {
        if self.app.succeeded(begun, Instant::now()) {
            self.window.wake();
        }
    }

    /// The app or a connection failed; `wish` is what the provider asked for.
    pub fn failed(&self, scope: Scope, wish: Option<Duration>, begun: Instant) -> AfterFailure {
        let after = self.app.failed(scope, wish, begun, Instant::now());
        self.window.wake();
        after
    }

    /// The provider refuses us: only an operator can help.
    pub fn refused(&self, begun: Instant) -> AfterFailure {
        let after = self.app.refused(begun, Instant::now());
        self.window.wake();
        after
    }

    /// Waits until nothing more may be sent on this lane: the breaker opened, or an operator has
    /// paused it. What is in hand is to be handed back then.
    pub async fn closed(&self) {
        self.turned(|| (self.is_closed()).then_some(())).await;
    }

    fn is_closed(&self) -> bool {
        self.is_held() || self.app.left(self.seat.urgency, Instant::now()).is_some()
    }

    /// Waits until a task may be taken from the lane.
    pub(crate) async fn open(&self) {
        loop {
            if self.is_held() {
                self.turned(|| (!self.is_held()).then_some(())).await;
            }
            let turned = self.app.turned.notified();
            tokio::pin!(turned);
            turned.as_mut().enable();
            match self.app.pull(self.seat.urgency, Instant::now()) {
                _ if self.is_held() => {}
                Pull::Free | Pull::Probe => return,
                Pull::AfterProbe => turned.await,
                Pull::At(at) => {
                    let _ = tokio::time::timeout_at(at, turned).await;
                }
            }
        }
    }

    async fn turned(&self, mut is_so: impl FnMut() -> Option<()>) {
        loop {
            let turned = self.app.turned.notified();
            tokio::pin!(turned);
            turned.as_mut().enable();
            if is_so().is_some() {
                return;
            }
            turned.await;
        }
    }

    /// Whether a task that was taken may be worked on.
    pub(crate) fn take_up(&self) -> TakeUp {
        if self.is_held() {
            return TakeUp::No;
        }
        self.app.take_up(self.seat.urgency, Instant::now())
    }

    /// Whether an operator has paused the lane.
    pub fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    /// An operator has paused the lane, or let it go; true if that is news.
    pub(crate) fn hold(&self, is_held: bool) -> bool {
        let is_news = self.is_held.swap(is_held, Ordering::AcqRel) != is_held;
        if is_news {
            self.app.turned.notify_waiters();
        }
        is_news
    }

    /// Urgent or bulk.
    pub fn urgency(&self) -> Urgency {
        self.seat.urgency
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::FutureExt;

    use super::*;
    use crate::breaker::{Pace, TOLERATED};
    use crate::rate::Share;

    const SECOND: Duration = Duration::from_secs(1);

    fn lane(window: &Window, app: &Arc<Pressure>, number: usize, urgency: Urgency) -> LaneState {
        let seat = Seat {
            app: number,
            urgency,
        };
        LaneState::new(window.clone(), app.clone(), seat)
    }

    fn pressure(is_limited: bool) -> Arc<Pressure> {
        Arc::new(Pressure::new(Pace::USUAL, is_limited, Instant::now()))
    }

    fn break_it(lane: &LaneState) {
        for _ in 0..TOLERATED {
            lane.failed(Scope::App, None, Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_stops_both_lanes_of_its_app_and_no_other() {
        let window = Window::new(64, 32, 25, 2);
        let (one, two) = (pressure(false), pressure(false));
        let urgent = lane(&window, &one, 0, Urgency::Urgent);
        let bulk = lane(&window, &one, 0, Urgency::Bulk);
        let other = lane(&window, &two, 1, Urgency::Bulk);
        assert!(urgent.closed().now_or_never().is_none());
        break_it(&urgent);
        bulk.closed().await;
        assert!(urgent.try_admit().is_none() && bulk.try_admit().is_none());
        assert!(bulk.open().now_or_never().is_none());
        assert!(other.try_admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_and_one_device_try_whether_the_provider_is_back() {
        let window = Window::new(64, 32, 25, 1);
        let app = pressure(false);
        let urgent = lane(&window, &app, 0, Urgency::Urgent);
        let bulk = lane(&window, &app, 0, Urgency::Bulk);
        break_it(&urgent);
        bulk.open().await; // Its time is over.
        let task = bulk.take_up();
        assert!(matches!(task, TakeUp::Probing(_)));
        assert!(matches!(urgent.take_up(), TakeUp::No), "one is enough");
        assert!(urgent.open().now_or_never().is_none());
        let probe = bulk.admit().await;
        assert!(bulk.try_admit().is_none() && urgent.try_admit().is_none());
        let mut waiting = Box::pin(urgent.admit());
        assert!((&mut waiting).now_or_never().is_none());
        drop(probe);
        bulk.succeeded(Instant::now());
        let _admitted = waiting.await;
        assert!(matches!(urgent.take_up(), TakeUp::Free));
        drop(task);
    }

    /// What a worker does whose answer is there, before any other looks.
    fn turn_over(lane: &LaneState, held: &mut VecDeque<Admission>) {
        if held.pop_front().is_some() {
            lane.release(1);
            lane.succeeded(Instant::now());
        }
        held.extend(std::iter::from_fn(|| lane.try_admit()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alert_is_not_kept_waiting_by_its_own_app_s_bulk_while_another_app_sends() {
        let window = Window::new(64, 16, 25, 2);
        let (one, two) = (pressure(false), pressure(false));
        let bulk = lane(&window, &one, 0, Urgency::Bulk);
        let alert = lane(&window, &one, 0, Urgency::Urgent);
        let other = lane(&window, &two, 1, Urgency::Urgent);
        let (mut of_bulk, mut of_other) = (VecDeque::new(), VecDeque::new());
        let mut take_turns = |n: usize| {
            for _ in 0..n {
                turn_over(&bulk, &mut of_bulk);
                turn_over(&other, &mut of_other);
            }
        };
        take_turns(100);
        let mut of_alert = Vec::new();
        for _ in 0..16 {
            take_turns(1);
            of_alert.extend(alert.admit().now_or_never());
        }
        assert_eq!(of_alert.len(), 2, "a quarter of what the app may have");
        assert_eq!(window.in_flight(), 16, "and nothing lies idle");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_closes_the_lane_for_longer() {
        let window = Window::new(64, 32, 25, 1);
        let lane = lane(&window, &pressure(false), 0, Urgency::Urgent);
        break_it(&lane);
        lane.open().await;
        let began = Instant::now();
        drop(lane.admit().await);
        let after = lane.failed(Scope::Connection, None, began);
        assert!(matches!(after, AfterFailure::Paused(it) if it >= SECOND));
        lane.closed().await;
        lane.open().await;
        assert!(began + SECOND <= Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_an_operator_paused_is_closed_until_it_is_let_go() {
        let window = Window::new(64, 32, 25, 1);
        let lane = Arc::new(lane(&window, &pressure(false), 0, Urgency::Urgent));
        assert!(lane.hold(true) && !lane.hold(true));
        lane.closed().await;
        assert!(matches!(lane.take_up(), TakeUp::No));
        let mut open = Box::pin(lane.open());
        assert!((&mut open).now_or_never().is_none());
        lane.hold(false);
        open.await;
        assert!(matches!(lane.take_up(), TakeUp::Free));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limited_app_waits_for_its_share_and_keeps_to_it() {
        let window = Window::new(256, 128, 25, 1);
        let app = pressure(true);
        let lane = lane(&window, &app, 0, Urgency::Urgent);
        assert!(lane.try_admit().is_none(), "nobody has said how much");
        app.set_share(Share::PerSecond(50.0, Instant::now()));
        let began = Instant::now();
        for _ in 0..100 {
            drop(lane.admit().await);
            lane.release(1);
        }
        let took = began.elapsed();
        assert!((1.8..2.3).contains(&took.as_secs_f64()), "{took:?}");
    }
}
