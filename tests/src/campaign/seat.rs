//! A place that is always taken by a process: whoever dies in it is followed by the next.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fanfare_nats_server::process::Signal;
use rand::rngs::StdRng;

use crate::fault::{Clock, CrashAt};
use crate::now_us;
use crate::pipeline::{Ground, Pipeline};
use crate::process::Process;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sources to events.
    Fetcher,
    /// Events to pushes.
    Notifier,
    /// HTTP.
    Api,
}

impl Role {
    /// Its word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetcher => "fetcher",
            Self::Notifier => "notifier",
            Self::Api => "api",
        }
    }
}

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It still runs.
    Alive,
    /// By its own hand at a named place.
    Point(&'static str),
    /// By ours, whenever.
    Killed,
    /// It was asked to, and ended in order.
    Drained,
    /// By itself, which nobody asked for.
    Unasked(String),
}

/// One process from its start to its end. Times in Unix microseconds.
#[derive(Clone, Debug)]
pub struct Life {
    /// In which seat.
    pub seat: usize,
    /// What it was.
    pub role: Role,
    /// When it was started.
    pub since_us: i64,
    /// When it was ready, if it ever was.
    pub ready_us: Option<i64>,
    /// When it was gone.
    pub until_us: Option<i64>,
    /// How often it was hit by a fault that kills nobody: frozen, cut off, its clock stepped.
    pub n_hits: u64,
    /// How it ended.
    pub how: How,
}

/// The process in a seat.
#[derive(Default)]
struct Sitting {
    process: Option<Process>,
}

/// A place for a process, and everyone who sat there.
pub struct Seat {
    /// Its number.
    pub number: usize,
    /// What sits there.
    pub role: Role,
    /// The clock of whoever sits there.
    pub clock: Clock,
    /// On which host of a network, and with which executable.
    ground: Mutex<Option<Ground>>,
    sitting: tokio::sync::Mutex<Sitting>,
    address: Mutex<Option<SocketAddr>>,
    lives: Mutex<Vec<Life>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    /// An empty seat.
    pub fn new(pipeline: &Pipeline, number: usize, role: Role) -> Self {
        let name = format!("seat-{number}");
        Self {
            number,
            role,
            clock: Clock::new(pipeline.folder(), &name),
            ground: Mutex::default(),
            sitting: tokio::sync::Mutex::default(),
            address: Mutex::default(),
            lives: Mutex::default(),
        }
    }

    /// Whoever sits down from now on does so on this host of a network.
    pub fn place(&self, ground: Ground) {
        *lock(&self.ground) = Some(ground);
    }

    /// On which host it is.
    pub fn ground(&self) -> Option<Ground> {
        lock(&self.ground).clone()
    }

    /// Everyone who sat there, in order.
    pub fn lives(&self) -> Vec<Life> {
        lock(&self.lives).clone()
    }

    /// Where its API listens, if that is what it is and it does.
    pub fn address(&self) -> Option<SocketAddr> {
        *lock(&self.address)
    }

    fn change(&self, change: impl FnOnce(&mut Life)) {
        if let Some(life) = lock(&self.lives).last_mut() {
            change(life);
        }
    }

    /// Starts the next process here and waits until it is ready (`true`) or ended before.
    ///
    /// # Panics
    /// If somebody sits there.
    pub async fn start(&self, pipeline: &Pipeline, crash: Option<&CrashAt>) -> bool {
        let mut sitting = self.sitting.lock().await;
        assert!(sitting.process.is_none(), "seat {} is taken", self.number);
        let n = lock(&self.lives).len();
        let node = format!("{}-{}-{n}", self.role.as_str(), self.number);
        let mut variables = vec![self.clock.variable()];
        variables.extend(crash.map(CrashAt::variable));
        lock(&self.lives).push(Life {
            seat: self.number,
            role: self.role,
            since_us: now_us(),
            ready_us: None,
            until_us: None,
            n_hits: 0,
            how: How::Alive,
        });
        let process = match self.ground() {
            None => pipeline.begin(self.role.as_str(), &node, &variables),
            Some(ground) => pipeline.begin_on(&ground, self.role.as_str(), &node, &variables),
        };
        let is_ready = process.ready_or_ended().await;
        if is_ready {
            self.change(|it| it.ready_us = Some(now_us()));
            let at = process.logged("the API listens", "address");
            *lock(&self.address) = at.and_then(|it| it.parse().ok());
        }
        sitting.process = Some(process);
        is_ready
    }

    /// Starts a process here if nobody sits here.
    pub async fn take(&self, pipeline: &Pipeline) {
        if self.sitting.lock().await.process.is_none() {
            self.start(pipeline, None).await;
        }
    }

    /// Waits until whoever sits here has ended, and notes how. Cancel-safe.
    pub async fn ended(&self) {
        let exited = {
            let sitting = self.sitting.lock().await;
            sitting.process.as_ref().map(Process::exited)
        };
        let Some(exited) = exited else {
            return;
        };
        let status = exited.await;
        let mut sitting = self.sitting.lock().await;
        let Some(process) = sitting.process.take() else {
            return;
        };
        *lock(&self.address) = None;
        let lines = process.lines();
        let said = lines.iter().find_map(|it| {
            it.strip_prefix("fanfare fail point kills here: ")
                .and_then(|it| {
                    fanfare_nats::fail::POINTS
                        .iter()
                        .find(|point| *point == &it)
                })
        });
        let how = if let Some(point) = said {
            How::Point(point)
        } else {
            let last: Vec<_> = lines.iter().rev().take(5).rev().cloned().collect();
            How::Unasked(format!("{status}: {}", last.join(" | ")))
        };
        self.change(|it| {
            it.until_us = Some(now_us());
            // Killed and drained are known before the end is seen.
            if it.how == How::Alive {
                it.how = how;
            }
        });
    }

    /// Kills whoever sits here (SIGKILL).
    pub async fn kill(&self) {
        self.end(Signal::Kill, How::Killed).await;
    }

    /// Asks whoever sits here to end (SIGTERM) and waits for it.
    pub async fn drain(&self) {
        self.end(Signal::Terminate, How::Drained).await;
    }

    async fn end(&self, signal: Signal, how: How) {
        {
            let sitting = self.sitting.lock().await;
            let Some(process) = &sitting.process else {
                return;
            };
            self.change(|it| it.how = how);
            // It may have ended at this moment by its own fail point: then that is noted as ours.
            if !process.try_signal(signal) {
                self.change(|it| it.how = How::Alive);
            }
        }
        self.ended().await;
    }

    /// Freezes or thaws whoever sits here.
    pub async fn freeze(&self, is_frozen: bool) {
        let sitting = self.sitting.lock().await;
        if let Some(process) = &sitting.process {
            let signal = if is_frozen {
                Signal::Stop
            } else {
                Signal::Continue
            };
            let _gone = process.try_signal(signal);
            if is_frozen {
                self.hit();
            }
        }
    }

    /// Notes that whoever sits here was hit by a fault.
    pub fn hit(&self) {
        self.change(|it| it.n_hits += 1);
    }

    /// Waits until whoever sits here is ready again; says who is not in time.
    ///
    /// # Errors
    /// Who is not ready.
    pub async fn ready_again(&self, limit: Duration) -> Result<(), String> {
        let sitting = self.sitting.lock().await;
        let Some(process) = &sitting.process else {
            return Ok(());
        };
        match tokio::time::timeout(limit, process.ready_or_ended()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{} ended", process.name())),
            Err(_) => {
                let why = process.unready().await;
                Err(format!(
                    "{} is not ready after {limit:?}: {why}",
                    process.name()
                ))
            }
        }
    }

    /// The sum of a metric of whoever sits here; 0 if nobody does or it does not answer.
    pub async fn metric(&self, name: &str) -> f64 {
        let sitting = self.sitting.lock().await;
        match &sitting.process {
            Some(process) => process.try_metric(name).await.unwrap_or_default(),
            None => 0.0,
        }
    }

    /// What whoever sits here printed.
    pub async fn lines(&self) -> Vec<String> {
        let sitting = self.sitting.lock().await;
        sitting
            .process
            .as_ref()
            .map(Process::lines)
            .unwrap_or_default()
    }
}

/// Chance of one seat or actor, of its own and repeatable.
pub(super) fn chance(seed: u64, number: usize) -> StdRng {
    use rand::SeedableRng as _;
    StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number as u64))
}
