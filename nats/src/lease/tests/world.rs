//! A simulated broker that loses and delays what it is told, and stores it late; candidates that are
//! frozen, cut off and stopped, and whose lease is taken away.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::lease::machine::{Answer, Machine, Step, Write};
use crate::lease::record::{BY, Record, Seen};
use crate::lease::{Lost, Times, Vacancy};
use crate::request::header;

const TICK: Duration = Duration::from_millis(50);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const N: usize = 3;

/// What a broker keeps of one key.
#[derive(Default)]
struct Stream {
    seq: u64,
    last: Option<Stored>,
}

struct Stored {
    seq: u64,
    headers: HeaderMap,
    body: Vec<u8>,
    expires: Instant,
}

impl Stream {
    fn expire(&mut self, now: Instant) {
        let Some(last) = self.last.take_if(|it| it.expires <= now) else {
            return;
        };
        if last.headers.is_empty() {
            let mut headers = HeaderMap::new();
            headers.insert(header::MARKER_REASON, "MaxAge");
            self.store(headers, Vec::new(), now + Duration::from_hours(1));
        }
    }

    fn last_seq(&self) -> u64 {
        self.last.as_ref().map_or(0, |it| it.seq)
    }

    fn store(&mut self, headers: HeaderMap, body: Vec<u8>, expires: Instant) -> u64 {
        self.seq += 1;
        let seq = self.seq;
        self.last = Some(Stored {
            seq,
            headers,
            body,
            expires,
        });
        seq
    }

    fn seen(&self) -> Seen {
        self.last.as_ref().map_or(Seen::NOTHING, |it| {
            Seen::read(it.seq, &it.headers, &it.body)
        })
    }

    fn write(&mut self, write: Write, node: usize, ttl: Duration, now: Instant) -> Answer {
        if self.last_seq() != write.expected {
            return Answer::Exists;
        }
        let record = Record {
            node: node.to_string(),
            host: String::new(),
            nonce: node as u64,
            n: write.n,
            number: write.number,
            since: Timestamp::UNIX_EPOCH,
        };
        Answer::Stored(self.store(HeaderMap::new(), record.encode(), now + ttl))
    }

    fn mark(&mut self, by: Option<usize>, now: Instant) {
        let mut headers = HeaderMap::new();
        headers.insert(header::KV_OPERATION, "PURGE");
        if let Some(by) = by {
            headers.insert(BY, by.to_string().as_str());
        }
        self.store(headers, Vec::new(), now + Duration::from_mins(1));
    }
}

#[derive(Clone)]
enum Reply {
    Seen(Option<Seen>),
    Answer(Answer, Instant),
}

/// A candidate's request under way.
struct Asked {
    /// When the broker takes it; `None` if it is lost on the way.
    arrives: Option<Instant>,
    step: Step,
    began: Instant,
    reply_at: Instant,
    reply: Option<Reply>,
}

struct Process {
    machine: Machine,
    asked: Option<Asked>,
    frozen_until: Instant,
    cut_until: Instant,
}

/// A request that was given up and still arrives.
struct Late {
    arrives: Instant,
    from: usize,
    write: Write,
}

pub(super) struct World {
    now: Instant,
    chance: StdRng,
    times: Times,
    stream: Stream,
    processes: Vec<Process>,
    late: Vec<Late>,
    /// The numbers under which the lease was held, and by whom.
    pub(super) held: BTreeMap<u64, usize>,
}

impl World {
    pub(super) fn new(seed: u64, times: Times) -> Self {
        let now = Instant::now();
        let process = |n: usize| Process {
            machine: Machine::new(n as u64, times, now),
            asked: None,
            frozen_until: now,
            cut_until: now,
        };
        Self {
            now,
            chance: StdRng::seed_from_u64(seed),
            times,
            stream: Stream::default(),
            processes: (0..N).map(process).collect(),
            late: Vec::new(),
            held: BTreeMap::new(),
        }
    }

    /// Runs for so long; returns the moments at which there were two holders.
    pub(super) fn run(&mut self, lasting: Duration) -> usize {
        let until = self.now + lasting;
        let mut n_double = 0;
        while self.now < until {
            self.now += TICK;
            self.stream.expire(self.now);
            self.disturb();
            self.arrive();
            for n in 0..N {
                if self.processes[n].frozen_until <= self.now {
                    self.live(n);
                }
            }
            n_double += usize::from(self.holders().len() > 1);
        }
        n_double
    }

    /// Whoever would go on with the source if it were awake: it asks only its own clock.
    fn holders(&self) -> Vec<usize> {
        let now = self.now;
        let processes = self.processes.iter().enumerate();
        processes
            .filter(|(_, it)| it.machine.held().is_some_and(|(_, end)| now < end))
            .map(|(n, _)| n)
            .collect()
    }

    fn disturb(&mut self) {
        let n = self.chance.random_range(0..N);
        let lasting = Duration::from_millis(self.chance.random_range(100..40_000));
        let until = self.now + lasting;
        match self.chance.random_range(0..4000) {
            0..=3 => self.processes[n].frozen_until = until,
            4..=7 => self.processes[n].cut_until = until,
            8 | 9 if matches!(self.stream.seen(), Seen::Held { .. }) => {
                self.stream.mark(None, self.now);
            }
            // A clean stop and a new start.
            10..=12 => {
                let process = &mut self.processes[n];
                if process.frozen_until <= self.now {
                    let seq = process.machine.ours_to_release();
                    process.machine.let_go(self.now);
                    if seq == Some(self.stream.last_seq()) {
                        self.stream.mark(Some(n), self.now);
                    }
                }
            }
            _ => {}
        }
    }

    fn arrive(&mut self) {
        let now = self.now;
        let (due, late) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|it: &Late| it.arrives <= now);
        self.late = late;
        for it in due {
            let _nobody_hears = self.stream.write(it.write, it.from, self.times.ttl, now);
        }
        for (n, process) in self.processes.iter_mut().enumerate() {
            let Some(asked) = &mut process.asked else {
                continue;
            };
            if asked.reply.is_some() || asked.arrives.is_none_or(|it| now < it) {
                continue;
            }
            asked.reply = Some(match &asked.step {
                Step::Read | Step::Wait(_) => Reply::Seen(Some(self.stream.seen())),
                Step::Write(write) => {
                    let answer = self.stream.write(*write, n, self.times.ttl, now);
                    Reply::Answer(answer, asked.began)
                }
            });
        }
    }

    #[expect(clippy::too_many_lines, reason = "one process's turn, in its order")]
    fn live(&mut self, n: usize) {
        let now = self.now;
        let process = &mut self.processes[n];
        process.machine.expire(now);
        if let Some(asked) = &process.asked {
            let is_timed_out = asked.began + REQUEST_TIMEOUT <= now;
            let reply = asked.reply.clone().filter(|_| asked.reply_at <= now);
            let reply = match (reply, is_timed_out) {
                (Some(reply), _) => reply,
                (None, false) => return,
                (None, true) => {
                    if let (Step::Write(write), Some(arrives), None) =
                        (&asked.step, asked.arrives, &asked.reply)
                    {
                        let (from, write) = (n, *write);
                        self.late.push(Late {
                            arrives,
                            from,
                            write,
                        });
                    }
                    match &asked.step {
                        Step::Write(_) => Reply::Answer(Answer::Unknown, asked.began),
                        Step::Read | Step::Wait(_) => Reply::Seen(None),
                    }
                }
            };
            process.asked = None;
            match reply {
                Reply::Seen(seen) => process.machine.read(seen, now),
                Reply::Answer(answer, began) => process.machine.wrote(answer, began, now),
            }
            process.machine.expire(now);
            if process.machine.lost() == Some(Lost::Withdrawn)
                && let Some(seq) = process.machine.ours_to_release()
            {
                process.machine.let_go(now);
                if seq == self.stream.last_seq() {
                    self.stream.mark(Some(n), now);
                }
                return;
            }
            if let Some((number, _)) = process.machine.held() {
                let by = self.held.insert(number, n);
                assert!(by.is_none_or(|it| it == n), "a number has one holder");
            }
        }
        let stop_after = self.times.stop_after;
        let step = process.machine.step(now, |why| match why {
            Vacancy::Withdrawn => stop_after,
            Vacancy::Released { by, .. } if *by == n.to_string() => Duration::from_secs(5),
            Vacancy::Never | Vacancy::Expired | Vacancy::Released { .. } => Duration::ZERO,
        });
        if matches!(step, Step::Wait(_)) {
            return;
        }
        let is_cut = now < process.cut_until;
        let travel = Duration::from_millis(self.chance.random_range(0..300));
        let kept = Duration::from_millis(self.chance.random_range(0..30_000));
        let arrives = match self.chance.random_range(0..100) {
            _ if is_cut && kept.as_millis().is_multiple_of(3) => Some(process.cut_until + travel),
            _ if is_cut => None,
            0..=2 => None,
            3..=5 => Some(now + kept),
            _ => Some(now + travel),
        };
        let back = Duration::from_millis(self.chance.random_range(0..300));
        let is_answer_lost = self.chance.random_range(0..100) < 3;
        let reply_at = match arrives {
            Some(arrives) if !is_answer_lost => arrives + back,
            _ => now + Duration::from_hours(1),
        };
        process.asked = Some(Asked {
            arrives,
            step,
            began: now,
            reply_at,
            reply: None,
        });
    }
}
