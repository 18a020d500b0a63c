//! Google's access token: an RS256 assertion of a service account, exchanged at its token address.
//!
//! One keeper per app asks, 5 minutes before the end of the last token and when a push was refused
//! with 401. Everybody else reads what it has; nobody else ever asks.

mod account;
mod answer;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use http::uri::PathAndQuery;
use rand::Rng as _;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::account::ServiceAccount;
pub use self::account::ServiceAccountError;
use self::account::Signer;
use self::answer::{Denial, judge};
use crate::outcome::{Backoff, Outcome, Reason};
use crate::pool::Way;
use crate::pool::once::post_form;

/// A token is replaced so long before its end.
const EARLY: Duration = Duration::from_mins(5);

/// One exchange takes no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A token in the first part of its life (a minute of an hour) is not replaced because of a 401:
/// Google has just given it to us.
const YOUTH: u32 = 60;

/// An access token; valid until `ends_at` by our monotonic clock.
struct Issued {
    header: HeaderValue,
    since: Instant,
    ends_at: Instant,
}

/// The access token of one service account.
pub(crate) struct AccessToken {
    current: ArcSwapOption<Issued>,
    wanted: Notify,
    /// The number of exchanges that ended, and how the last one failed.
    ended: watch::Sender<(u64, Option<Denial>)>,
}

/// Asks for tokens; [`Keeper::run`] belongs on the app's task tracker.
pub(crate) struct Keeper {
    signer: Signer,
    way: Way,
    path: PathAndQuery,
    token: Arc<AccessToken>,
}

impl Keeper {
    /// Prepares a keeper; `way` must lead to the origin of the account's `token_uri`, `path` is
    /// the rest of it.
    pub(crate) fn new(
        account: ServiceAccount,
        way: Way,
        path: PathAndQuery,
    ) -> Result<(Self, Arc<AccessToken>), ServiceAccountError> {
        let token = Arc::new(AccessToken {
            current: ArcSwapOption::empty(),
            wanted: Notify::new(),
            ended: watch::Sender::new((0, None)),
        });
        let signer = Signer::new(account)?;
        Ok((
            Self {
                signer,
                way,
                path,
                token: Arc::clone(&token),
            },
            token,
        ))
    }

    /// Keeps the token fresh until `stop`. The first is asked for at once, so that it is there
    /// before a burst.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut n_failures = 0;
        loop {
            let wait = match self.exchange().await {
                Ok(issued) => {
                    let lifetime = issued.ends_at.duration_since(issued.since);
                    self.token.current.store(Some(Arc::new(issued)));
                    self.end(None);
                    n_failures = 0;
                    // A token shorter than the margin is renewed half-way, never in a tight loop.
                    lifetime
                        .checked_sub(EARLY)
                        .filter(|it| *it > EARLY)
                        .unwrap_or(lifetime / 2)
                }
                Err(denial) => {
                    tracing::warn!(
                        account = %self.signer.email(), reason = ?denial,
                        "no access token from Google",
                    );
                    self.end(Some(denial));
                    n_failures += 1;
                    pause(n_failures)
                }
            };
            let until = Instant::now() + wait.max(Duration::from_millis(100));
            self.rest(until, n_failures == 0).await;
        }
    }

    /// Waits until the next exchange: at `until`, or earlier when a push was refused with 401.
    /// A denied account is not asked before its pause is over.
    async fn rest(&self, until: Instant, may_be_woken: bool) {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = self.token.wanted.notified(), if may_be_woken => {}
            }
            // Several pushes refused together wake us several times for one new token.
            if !self.token.is_young() {
                return;
            }
        }
    }

    fn end(&self, denial: Option<Denial>) {
        self.token.ended.send_modify(|(n, last)| {
            *n += 1;
            *last = denial;
        });
    }

    async fn exchange(&self) -> Result<Issued, Denial> {
        let since = Instant::now();
        let form = self
            .signer
            .form(crate::clock::now())
            .map_err(|_| Denial::Refused(Reason::Borrowed("assertion not signed")))?;
        let posted = post_form(&self.way, &self.path, form, since + TIMEOUT).await;
        let (status, body) = posted.map_err(|fault| {
            let reason = fault.into_outcome().reason().unwrap_or_default().to_owned();
            Denial::Unavailable(Reason::Owned(format!("access token: {reason}")))
        })?;
        judge(status.as_u16(), &body).map(|(header, lifetime)| Issued {
            header,
            since,
            ends_at: since + lifetime,
        })
    }
}

fn pause(n_failures: u32) -> Duration {
    let backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(1));
    let random = rand::rng().random_range(0.5..1.0);
    backoff.map_or(Duration::from_mins(1), |it| it.delay(n_failures, random))
}

impl AccessToken {
    /// The value of `authorization`, waiting for the first token if need be.
    ///
    /// # Errors
    ///
    /// The outcome of an attempt that cannot be made without a token.
    pub(crate) async fn header(&self, deadline: Instant) -> Result<HeaderValue, Outcome> {
        if let Some(header) = self.valid() {
            return Ok(header);
        }
        self.next(deadline, || self.valid()).await
    }

    /// A push was refused with 401: the newer token, if `used` was not the newest or can be
    /// replaced; `None` when the token is too young to be the reason.
    ///
    /// # Errors
    ///
    /// The outcome of an attempt that cannot be made without a token.
    pub(crate) async fn refused(
        &self,
        used: &HeaderValue,
        deadline: Instant,
    ) -> Result<Option<HeaderValue>, Outcome> {
        let newer = || self.valid().filter(|header| header != used);
        if let Some(header) = newer() {
            return Ok(Some(header));
        }
        if self.is_young() {
            return Ok(None);
        }
        self.wanted.notify_one();
        self.next(deadline, newer).await.map(Some)
    }

    fn valid(&self) -> Option<HeaderValue> {
        let current = self.current.load();
        let issued = current.as_ref()?;
        (Instant::now() < issued.ends_at).then(|| issued.header.clone())
    }

    fn is_young(&self) -> bool {
        let current = self.current.load();
        current
            .as_ref()
            .is_some_and(|it| it.since.elapsed() < it.ends_at.duration_since(it.since) / YOUTH)
    }

    /// Waits for what `look` finds, through the end of the exchange under way or of the next.
    async fn next(
        &self,
        deadline: Instant,
        look: impl Fn() -> Option<HeaderValue>,
    ) -> Result<HeaderValue, Outcome> {
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(header) = look() {
                return Ok(header);
            }
            if let (_, Some(denial)) = &*ended.borrow_and_update() {
                return Err(denial.clone().outcome());
            }
            match tokio::time::timeout_at(deadline, ended.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(unavailable("shutting down")),
                Err(_) => return Err(unavailable("no access token in time")),
            }
        }
    }
}

fn unavailable(reason: &'static str) -> Outcome {
    Denial::Unavailable(Reason::Borrowed(reason)).outcome()
}
