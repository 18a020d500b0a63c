//! Live progress: what the processes and the doubles say, once a second.

use std::sync::{Mutex, PoisonError};

use anyhow::bail;

use super::figures::{Figures, Tally};
use super::report::grouped;
use super::screen::Screen;
use super::stage::Stage;

/// Looks at everything, again and again.
pub(super) struct Watch<'a> {
    stage: &'a Stage,
    screen: &'a Screen,
    tally: Mutex<Tally>,
}

impl<'a> Watch<'a> {
    /// Sees nothing yet.
    pub(super) fn new(stage: &'a Stage, screen: &'a Screen) -> Self {
        Self {
            stage,
            screen,
            tally: Mutex::default(),
        }
    }

    /// Reads the metrics of every role that runs, and adds up.
    pub(super) async fn look(&self) -> Figures {
        let pages = self.stage.roles().into_iter().map(async |actor| {
            let url = format!("http://{}/metrics", actor.admin().await.ok()?);
            // One that was just killed does not answer; its last figures stand.
            let answer = self.stage.client().get(url).send().await.ok()?;
            Some((actor.pid(), answer.text().await.ok()?))
        });
        let pages = futures::future::join_all(pages).await;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        for (pid, page) in pages.into_iter().flatten() {
            tally.note(pid, &page);
        }
        tally.total()
    }

    /// Shows progress until dropped.
    ///
    /// # Errors
    /// A process has ended that should run.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(self.screen.pace());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Some(dead) = self.stage.casualty() {
                bail!("{dead} ended by itself");
            }
            self.show().await?;
        }
    }

    async fn show(&self) -> anyhow::Result<()> {
        let figures = self.look().await;
        let counts = self.stage.outside().stats().await?.ledger;
        let duplicates = figures.news.saturating_sub(figures.stored);
        let numbers = [
            ("items", figures.items),
            ("events", figures.stored),
            ("duplicates", duplicates),
            ("pushes", counts.accepted),
            ("in flight", counts.in_flight),
            ("repeated", counts.repeated),
        ];
        let status = numbers.map(|(name, n)| format!("{name} {}", grouped(n)));
        self.screen.status(&status.join("   "));
        Ok(())
    }
}
