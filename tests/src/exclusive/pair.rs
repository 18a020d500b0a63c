//! Two fetchers of one source, and what is done to the one that reads.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fanfare_nats_server::process::Signal;
use fanfare_sim::{Sim, Visit};
use tokio::time::sleep;

use crate::clock::now_us;
use crate::eventually::eventually;
use crate::process::{Ended, Process, executable, launch_of};
use crate::proxy::{Proxy, Weather};

/// How long a freeze or a cut lasts: longer than the lease.
const LASTING: Duration = Duration::from_secs(30);

/// What is done to the fetcher that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP for 30 s, then SIGCONT.
    Freeze,
    /// Its connection to the broker is cut for 30 s.
    Cut,
    /// Nothing passes between it and the broker for 30 s; what was held up arrives then.
    Stall,
    /// SIGTERM.
    Stop,
    /// An operator takes its lease away.
    Release,
}

impl Fault {
    const ALL: [(Self, &str); 6] = [
        (Self::Kill, "kill"),
        (Self::Freeze, "freeze"),
        (Self::Cut, "cut"),
        (Self::Stall, "stall"),
        (Self::Stop, "stop"),
        (Self::Release, "release"),
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        let named = Self::ALL.iter().find(|(it, _)| *it == self);
        named.map_or("", |(_, word)| word)
    }

    /// Whether it is done by a proxy before the broker.
    pub fn needs_proxy(self) -> bool {
        matches!(self, Self::Cut | Self::Stall)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.iter().find(|(_, word)| *word == text);
        named
            .map(|(it, _)| *it)
            .ok_or_else(|| format!("there is no kind {text}"))
    }
}

/// What a fault came to. Times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// The source.
    pub source: String,
    /// What was done.
    pub fault: Fault,
    /// From the fault to the open connection of the other fetcher.
    pub takeover_ms: i64,
    /// For how long nobody was connected.
    pub nobody_ms: i64,
    /// For how long both were connected.
    pub double_ms: i64,
    /// For how long the old one still answered its publisher when the new one was connected.
    pub answering_ms: i64,
    /// From the end of a freeze to the old one's disconnection.
    pub woken_ms: i64,
    /// Publishes that the end of a lease overtook, as the processes count them.
    pub late: u64,
}

/// One of the two.
struct Seat {
    name: String,
    process: Option<Process>,
    proxy: Option<Proxy>,
    url: String,
}

/// Two fetchers of one source.
pub(super) struct Pair {
    source: String,
    broker: String,
    folder: PathBuf,
    executable: Option<PathBuf>,
    seats: [Seat; 2],
}

impl Pair {
    /// Writes the configuration and starts both.
    pub(super) async fn start(
        n: usize,
        sim: &Sim,
        broker: &str,
        folder: PathBuf,
        executable: Option<PathBuf>,
    ) -> Self {
        let source = format!("s{n}");
        let is_one = !broker.contains(',');
        let mut seats = Vec::new();
        for letter in ["a", "b"] {
            let name = format!("{source}{letter}");
            let proxy = if is_one {
                let target = broker.trim_start_matches("nats://").parse().unwrap();
                Some(Proxy::start(target).await)
            } else {
                None
            };
            let url = match &proxy {
                Some(proxy) => format!("nats://{}", proxy.address()),
                None => broker.to_owned(),
            };
            let at = sim.whereabouts().http;
            std::fs::write(
                folder.join(format!("{name}.toml")),
                configuration(&source, &name, &at.to_string()),
            )
            .unwrap();
            seats.push(Seat {
                name,
                process: None,
                proxy,
                url,
            });
        }
        let Ok(seats) = <[Seat; 2]>::try_from(seats) else {
            panic!("a pair has two seats");
        };
        let mut pair = Self {
            source,
            broker: broker.to_owned(),
            folder,
            executable,
            seats,
        };
        for seat in 0..2 {
            pair.begin(seat).await;
        }
        pair
    }

    async fn begin(&mut self, seat: usize) {
        let executable = self.executable.as_deref().unwrap_or_else(|| executable());
        let seat = &mut self.seats[seat];
        let launch = launch_of(executable, &self.folder)
            .arg("--config")
            .arg(self.folder.join(format!("{}.toml", seat.name)))
            .args(["up", "fetcher", "--manage", "auto", "--server", &seat.url])
            .env("FANFARE__PROCESS__NODE", &seat.name);
        let process = Process::start(&seat.name, launch);
        process.ready().await;
        seat.process = Some(process);
    }

    /// The connections to this pair's source, in the order of opening, with the seat of each.
    fn visits(&self, sim: &Sim) -> Vec<(usize, Visit)> {
        let path = format!("/{}/ws", self.source);
        let of = |visit: &Visit| {
            let mut seats = self.seats.iter();
            seats.position(|it| visit.agent.contains(&format!("+{}@", it.name)))
        };
        let visits = sim.visits().into_iter().filter(|it| it.path == path);
        visits
            .filter_map(|it| of(&it).map(|seat| (seat, it)))
            .collect()
    }

    /// Waits until exactly one is connected, and says who.
    async fn reader(&self, sim: &Sim) -> (usize, Visit) {
        eventually("one fetcher reads", async || {
            let mut visits = self.visits(sim);
            visits.retain(|(_, it)| it.closed_us.is_none());
            match visits.as_slice() {
                [one] => Ok(one.clone()),
                other => Err(format!("{}: {other:?}", self.source)),
            }
        })
        .await
    }

    async fn late(&self) -> u64 {
        let mut n = 0.0;
        for seat in &self.seats {
            if let Some(process) = &seat.process {
                let late = process
                    .try_metric("fanfare_source_late_publishes_total")
                    .await;
                n += late.unwrap_or_default();
            }
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count"
        )]
        let n = n as u64;
        n
    }

    /// Does `fault` to whoever reads, `after` so long, and measures what follows. Afterwards both
    /// run and one reads.
    pub(super) async fn round(&mut self, sim: &Sim, fault: Fault, after: Duration) -> Round {
        let (old, _) = self.reader(sim).await;
        sleep(after).await;
        let late_before = self.late().await;
        let (_, before) = self.reader(sim).await;
        let began_us = now_us();
        self.strike(old, fault).await;
        let new = self.successor(sim, old, began_us).await;
        let mut woken_us = 0;
        if matches!(fault, Fault::Freeze | Fault::Cut | Fault::Stall) {
            let passed = Duration::from_micros(u64::try_from(now_us() - began_us).unwrap());
            sleep(LASTING.saturating_sub(passed)).await;
            woken_us = now_us();
            self.heal(old, fault);
        }
        let ended = eventually("the old connection ends", async || {
            let visits = self.visits(sim);
            let found = visits.into_iter().find(|(seat, it)| {
                *seat == old && it.opened_us == before.opened_us && it.closed_us.is_some()
            });
            found.map(|(_, it)| it).ok_or("it is open")
        })
        .await;
        let late = self.late().await.saturating_sub(late_before);
        if self.seats[old].process.is_none() {
            self.begin(old).await;
        }
        let (reader, _) = self.reader(sim).await;
        assert_ne!(reader, old, "{}: whoever comes back stands by", self.source);
        let closed_us = ended.closed_us.unwrap_or_default();
        let ms = |us: i64| us.max(0) / 1000;
        Round {
            source: self.source.clone(),
            fault,
            takeover_ms: ms(new.opened_us - began_us),
            nobody_ms: ms(new.opened_us - closed_us),
            double_ms: ms(closed_us - new.opened_us),
            answering_ms: ms(ended.heard_us - new.opened_us),
            woken_ms: if fault == Fault::Freeze {
                ms(closed_us - woken_us)
            } else {
                0
            },
            late,
        }
    }

    async fn successor(&self, sim: &Sim, old: usize, began_us: i64) -> Visit {
        eventually("another one reads", async || {
            let visits = self.visits(sim);
            let found = visits
                .into_iter()
                .find(|(seat, it)| *seat != old && it.opened_us > began_us);
            found.map(|(_, it)| it).ok_or("nobody else")
        })
        .await
    }

    /// Runs a command of the executable as an operator, past the proxies.
    pub(super) async fn command(&self, arguments: &[&str]) -> Ended {
        let executable = self.executable.as_deref().unwrap_or_else(|| executable());
        let launch = launch_of(executable, &self.folder)
            .args(arguments.iter().copied())
            .args(["--server", &self.broker]);
        Process::start("leases", launch).ended().await
    }

    async fn strike(&mut self, seat: usize, fault: Fault) {
        if fault == Fault::Release {
            let ended = self.command(&["leases", "release", &self.source]).await;
            assert_eq!(ended.code, Some(0), "{}", ended.printed);
            return;
        }
        let seat = &mut self.seats[seat];
        let weather = |weather| {
            if let Some(proxy) = &seat.proxy {
                proxy.set(weather);
            }
        };
        match fault {
            Fault::Freeze => seat.process.as_ref().unwrap().signal(Signal::Stop),
            Fault::Cut => weather(Weather::Cut),
            Fault::Stall => weather(Weather::Stalled),
            Fault::Kill => seat.process.take().unwrap().kill().await,
            Fault::Stop => {
                let process = seat.process.take().unwrap();
                process.signal(Signal::Terminate);
                let ended = process.ended().await;
                assert_eq!(ended.code, Some(0), "{}", ended.printed);
            }
            Fault::Release => {} // Done above.
        }
    }

    fn heal(&self, seat: usize, fault: Fault) {
        let seat = &self.seats[seat];
        match fault {
            Fault::Freeze => seat.process.as_ref().unwrap().signal(Signal::Continue),
            Fault::Cut | Fault::Stall => seat.proxy.as_ref().unwrap().set(Weather::Fair),
            Fault::Kill | Fault::Stop | Fault::Release => {}
        }
    }

    /// Ends both, politely.
    pub(super) async fn end(self) {
        for seat in self.seats {
            if let Some(process) = seat.process {
                process.signal(Signal::Terminate);
                let ended = process.ended().await;
                assert_eq!(ended.code, Some(0), "{}", ended.printed);
            }
        }
    }
}

fn configuration(source: &str, name: &str, at: &str) -> String {
    format!(
        r#"
[fetcher]
contact = "{name}@example.com"

[[source]]
name = "{source}"
mode = "exclusive"
id = "{{{{ item.n }}}}"
time = "{{{{ item.at_ms | from_ms }}}}"
topics = ["ticks"]
title = "{{{{ item.n }}}}"

[[source.input]]
http = "http://{at}/{source}"
every = "60s"
items = "$.ticks[*]"
allow_private = true

[[source.input]]
websocket = "ws://{at}/{source}/ws"
items = "$.ticks[*]"
allow_private = true
"#
    )
}
