//! One reader: a position, and what it wants.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::Live;
use super::follow::ends;
use super::position::Position;
use super::tail::Tail;
use super::told::{Told, id_line};
use crate::access::Needs;
use crate::clock;
use crate::event::wanted::Wanted;
use crate::metric::Ending;

/// A word at least so often: proxies end what is silent for a minute, and a client that is gone is
/// noticed by writing to it.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often it is asked whether the reader's key is still good.
const JUDGED: Duration = Duration::from_secs(5);
/// What a reader takes from the ring at once.
const HANDFUL: usize = 64;
/// The pause after the broker gave no answer, or one of a server that lags.
const AWAY: Duration = Duration::from_millis(500);

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) from: Option<Position>,
    pub(super) wanted: Wanted,
    pub(super) needs: Option<Needs>,
    /// The request's head, which says who asks.
    pub(super) head: Parts,
}

/// Gives frame after frame, as the connection takes them.
#[derive(Debug)]
pub(super) struct Reader {
    live: Live,
    asked: Asked,
    /// Behind what was given last; none before the reader has a place in the streams.
    at: Option<Position>,
    phase: Phase,
    /// What was taken and not given yet.
    taken: VecDeque<Told>,
    changed: watch::Receiver<u64>,
    spoke: Instant,
    judged: Instant,
    ended: Option<Ending>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Phase {
    /// Looks for its place.
    Joining,
    /// Reads the streams itself until the ring holds what follows.
    Behind(Tail),
    /// Reads the ring.
    Live,
}

impl Reader {
    pub(super) fn new(live: Live, asked: Asked, place: OwnedSemaphorePermit) -> Self {
        live.0.n_readers.send_modify(|it| *it += 1);
        live.0.metrics.streams().inc();
        let now = Instant::now();
        Self {
            changed: live.0.changed.subscribe(),
            live,
            asked,
            at: None,
            phase: Phase::Joining,
            taken: VecDeque::new(),
            spoke: now,
            judged: now,
            ended: None,
            is_over: false,
            _place: place,
        }
    }

    /// The next lines; `None` when the stream has ended.
    ///
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let stop = self.live.0.stop.clone();
        loop {
            if self.is_over {
                return None;
            }
            if stop.is_cancelled() {
                self.is_over = true;
                return Some(Bytes::from_static(b": the server stops\n\n"));
            }
            if self.judged.elapsed() >= JUDGED {
                self.judged = Instant::now();
                if !self.may_stay() {
                    return Some(self.drop_out(Ending::Key));
                }
            }
            if let Some(frame) = self.give() {
                self.spoke = Instant::now();
                return Some(frame);
            }
            let (heartbeat, judging) = (self.spoke + HEARTBEAT, self.judged + JUDGED);
            let said = tokio::select! {
                said = self.advance() => said,
                () = sleep_until(heartbeat) => Ok(Some(self.heartbeat())),
                () = sleep_until(judging) => Ok(None),
                () = stop.cancelled() => Ok(None),
            };
            match said {
                Ok(None) => {}
                Ok(Some(frame)) => {
                    self.spoke = Instant::now();
                    return Some(frame);
                }
                Err(ending) => return Some(self.drop_out(ending)),
            }
        }
    }

    /// The next of what was taken that the reader wants.
    fn give(&mut self) -> Option<Bytes> {
        while let Some(told) = self.taken.pop_front() {
            let at = told.behind(self.at?);
            self.at = Some(at);
            if told.is_for(&self.asked.wanted) {
                return Some(told.frame_at(at));
            }
        }
        None
    }

    /// Takes what is new, or waits for it.
    async fn advance(&mut self) -> Result<Option<Bytes>, Ending> {
        self.changed.borrow_and_update();
        let Some(at) = self.at else {
            return self.join().await;
        };
        let at = match &self.phase {
            // It may have passed over what nobody can read.
            Phase::Behind(tail) => at.join(tail.at()),
            Phase::Joining | Phase::Live => at,
        };
        self.at = Some(at);
        let news = self
            .live
            .ring(|it| it.as_ref().map(|it| it.behind(at, HANDFUL)));
        match (news, &mut self.phase) {
            (Some(Some(news)), phase) => {
                *phase = Phase::Live;
                if news.is_empty() {
                    self.wait().await;
                }
                self.taken.extend(news);
            }
            (Some(None), Phase::Behind(tail)) => {
                // The semaphore is never closed.
                let _turn = self.live.0.catching_up.acquire().await.ok();
                let is_nothing = match tail.step(&self.live).await {
                    Ok(step) => {
                        let is_nothing = step.told.is_empty() && step.is_end;
                        self.taken.extend(step.told);
                        is_nothing
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a reader cannot catch up yet");
                        true
                    }
                };
                if is_nothing {
                    sleep(AWAY).await;
                }
            }
            (Some(None), Phase::Joining | Phase::Live) => return Err(Ending::Slow),
            (None, _) => self.wait().await,
        }
        Ok(None)
    }

    /// Waits for another state of the ring.
    async fn wait(&mut self) {
        // It ends with the sender, which lives as long as we do.
        let _changed = self.changed.changed().await;
    }

    /// Finds the reader's place once the ring is there, and says it.
    async fn join(&mut self) -> Result<Option<Bytes>, Ending> {
        let end = self.live.ring(|it| it.as_ref().map(super::Ring::end));
        let Some(end) = end else {
            self.wait().await;
            return Ok(None);
        };
        let at = match self.asked.from {
            None => end,
            Some(from) if end.is_behind(from) => from,
            Some(from) => match ends(&self.live).await {
                // Another process was faster than this one.
                Ok(last) if !is_beyond(from, last) => from,
                Ok(_) => {
                    self.at = Some(end);
                    return Err(Ending::Position);
                }
                Err(_) => {
                    sleep(AWAY).await;
                    return Ok(None);
                }
            },
        };
        self.at = Some(at);
        self.phase = Phase::Behind(Tail::behind(at));
        let id = id_line(at);
        Ok(Some(format!("{id}retry: 2000\n: from here on\n\n").into()))
    }

    /// The position goes with it: who wants little is not sent back over all the rest.
    fn heartbeat(&self) -> Bytes {
        let id = self.at.map(id_line).unwrap_or_default();
        format!("{id}: still here\n\n").into()
    }

    fn may_stay(&self) -> bool {
        let Some(needs) = self.asked.needs else {
            return false;
        };
        let access = &self.live.0.access;
        let judged = access.judge(&self.asked.head, needs, clock::now(), Instant::now());
        judged.is_ok()
    }

    /// The last frame, which says why.
    fn drop_out(&mut self, ending: Ending) -> Bytes {
        (self.is_over, self.ended) = (true, Some(ending));
        let id = self.at.map(id_line).unwrap_or_default();
        let document = json!({
            "reason": ending.word(),
            "last_event_id": self.at.map(|it| it.to_string()),
        });
        format!("{id}event: dropped\ndata: {document}\n\n").into()
    }
}

/// Whether a position lies behind the end of a stream that is not empty: of other streams, or of these
/// before they were restored.
fn is_beyond(from: Position, last: Position) -> bool {
    let is_beyond = |from: u64, last: u64| last > 0 && from > last;
    is_beyond(from.events, last.events) || is_beyond(from.receipts, last.receipts)
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.live
            .0
            .n_readers
            .send_modify(|it| *it = it.saturating_sub(1));
        let metrics = &self.live.0.metrics;
        metrics.streams().dec();
        // One that was cut off because its socket took nothing was never asked again.
        let is_overtaken = || {
            let (Phase::Live, Some(at)) = (&self.phase, self.at) else {
                return false;
            };
            let news = self.live.ring(|it| it.as_ref().map(|it| it.behind(at, 1)));
            matches!(news, Some(None))
        };
        match self.ended {
            Some(ending) => metrics.stream_dropped(ending),
            None if is_overtaken() => metrics.stream_dropped(Ending::Slow),
            None => {}
        }
    }
}
