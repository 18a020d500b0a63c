//! A process among all, in one of its roles: says that it lives for as long as it does, reads who
//! else does where that is wanted, and says goodbye when it drains.
//!
//! Architecture invariant: nothing that must be right depends on it. Whoever cannot be written or
//! read goes on with its work; the others count it for [`TTL`](crate::members::TTL) or not at all.

use std::error::Error;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::connect::Broker;
use crate::members::{Member, MembersError, RENEW_EVERY};

/// How often the others are read, and how soon a renewal that failed is tried again. A new member is
/// known to all after this.
const TURN: Duration = Duration::from_secs(2);

/// Who was there, and when that was asked, by this process's own clock.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// All members of the role; this one is among them unless it was cut off for long.
    pub members: Vec<Member>,
    /// When the reading began; `None` before the first.
    pub read_at: Option<Instant>,
}

/// A process in one of its roles: to be [run](Self::run) beside the role.
#[derive(Debug)]
pub struct Membership {
    broker: Broker,
    role: &'static str,
    view: watch::Sender<View>,
    renewed_at: Option<Instant>,
    is_unheard: bool,
}

impl Broker {
    /// A member of `role` that is not registered yet. Whoever drops the receiver has the others not
    /// read at all, which also needs no right to.
    pub fn membership(&self, role: &'static str) -> (Membership, watch::Receiver<View>) {
        let (view, views) = watch::channel(View::default());
        let membership = Membership {
            broker: self.clone(),
            role,
            view,
            renewed_at: None,
            is_unheard: false,
        };
        (membership, views)
    }
}

impl Membership {
    /// Renews, and reads, until `stop`; then says goodbye.
    ///
    /// Dropping the future leaves a member that is forgotten by itself.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TURN);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.turn() => {}
            }
        }
        if !self.broker.is_connected() {
            return; // It would wait for a connection, and be forgotten meanwhile.
        }
        // The others need not wait: its part of what is divided is free at once.
        if let Err(error) = self.broker.remove_member(self.role).await {
            tracing::debug!(error = &error as &dyn Error, "no goodbye");
        }
    }

    /// First says that it lives, then reads who does: whoever reads later counts this one too.
    async fn turn(&mut self) {
        let now = Instant::now();
        if self.renewed_at.is_none_or(|it| it + RENEW_EVERY <= now) {
            let member = self.broker.member(self.role);
            let said = self.broker.put_member(&member).await;
            let is_said = said.is_ok();
            self.tell(said);
            if !is_said {
                return;
            }
            self.renewed_at = Some(now);
        }
        if self.view.is_closed() {
            return;
        }
        let read_at = Some(Instant::now());
        match self.broker.members(self.role).await {
            Ok(members) => {
                self.view.send_replace(View { members, read_at });
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "the members are not known");
            }
        }
    }

    /// One line when it begins and one when it ends, not one for each try.
    fn tell(&mut self, said: Result<(), MembersError>) {
        let role = self.role;
        match said {
            Ok(()) if self.is_unheard => {
                self.is_unheard = false;
                tracing::info!(role, "others are told again that this process lives");
            }
            Err(error) if !self.is_unheard => {
                self.is_unheard = true;
                let error = &error as &dyn Error;
                tracing::info!(role, error, "others are not told that this process lives");
            }
            Ok(()) | Err(_) => {}
        }
    }
}
