//! Hosts as network namespaces, with a router in the middle.
//!
//! A host is held by a process `unshare --net sleep infinity`, which the kernel kills with us: no
//! name is left behind, whatever ends the test. `ip`, `unshare` and `nsenter` do the work; where one
//! is missing or not permitted there are no namespaces.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use fanfare_nats_server::process::{Child, Launch, Output};

use super::{Host, Way};

/// Where the test stands.
pub(super) const OUTSIDE: Ipv4Addr = address(0);

/// A packet that is to be lost finds its way cut, for so long out of so long.
const LOSS_PERIOD: Duration = Duration::from_millis(100);

const fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, number, 2)
}

/// A namespace and the process that holds it.
struct Space {
    holder: Child,
}

impl Space {
    fn make() -> Result<Self, String> {
        let launch = Launch::new("unshare").args(["--net", "--", "sleep", "infinity"]);
        let started = launch.output(Output::Keep).start();
        let holder = started.map_err(|error| format!("unshare: {error}"))?;
        let ours = fs::read_link("/proc/self/ns/net").map_err(|error| error.to_string())?;
        for _ in 0..500 {
            if holder.status().is_some() {
                return Err(format!("unshare: {}", holder.last_lines().join(" ")));
            }
            let holds = fs::read_link(file(&holder));
            if holds.is_ok_and(|it| it != ours) {
                return Ok(Self { holder });
            }
            sleep(Duration::from_millis(2));
        }
        Err("unshare makes no network namespace".to_owned())
    }

    /// What stands before a command that is to run in it.
    fn before(&self) -> Vec<OsString> {
        let net = format!("--net={}", file(&self.holder).display());
        ["nsenter", &net, "--"].map(OsString::from).into()
    }

    fn command(&self, words: &str) -> Result<(), String> {
        let mut all = self.before();
        all.extend(words.split_whitespace().map(OsString::from));
        let Some((first, rest)) = all.split_first() else {
            return Err("no command".to_owned());
        };
        let done = Command::new(first).args(rest).output();
        let done = done.map_err(|error| format!("{words}: {error}"))?;
        if done.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr);
        Err(format!("{words}: {}", said.trim()))
    }

    fn enter(&self) -> Result<(), String> {
        let file = fs::File::open(file(&self.holder)).map_err(|error| error.to_string())?;
        let net = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), net)
            .map_err(|error| format!("setns: {error}"))
    }
}

fn file(holder: &Child) -> PathBuf {
    PathBuf::from(format!("/proc/{}/ns/net", holder.pid()))
}

/// The namespaces of one network.
pub(super) struct Namespaces {
    router: Space,
    /// The test's own host, then the others.
    hosts: Vec<Space>,
    has_netem: bool,
    ways: Mutex<Vec<(usize, usize, Way)>>,
    /// Who makes short cuts, by the way that it does that to.
    lossy: Mutex<Vec<(usize, usize, Child)>>,
}

impl Namespaces {
    /// Makes the hosts and moves the calling thread outside of them, for good.
    pub(super) fn make(names: &[&'static str]) -> Result<(Vec<Host>, Self), String> {
        let router = Space::make()?;
        router.command("ip link set lo up")?;
        router.command("sysctl -q -w net.ipv4.ip_forward=1")?;
        let mut spaces = Vec::new();
        for number in 0..=names.len() {
            let space = Space::make()?;
            let pid = space.holder.pid();
            let n = u8::try_from(number).map_err(|error| error.to_string())?;
            router.command(&format!(
                "ip link add h{n} type veth peer name eth0 netns {pid}"
            ))?;
            router.command(&format!("ip addr add 10.77.{n}.1/24 dev h{n}"))?;
            router.command(&format!("ip link set h{n} up"))?;
            space.command("ip link set lo up")?;
            space.command(&format!("ip addr add {}/24 dev eth0", address(n)))?;
            space.command("ip link set eth0 up")?;
            space.command(&format!("ip route add default via 10.77.{n}.1"))?;
            spaces.push(space);
        }
        let made = Self {
            has_netem: router
                .command("tc qdisc add dev h0 root netem delay 0ms")
                .is_ok(),
            router,
            hosts: spaces,
            ways: Mutex::default(),
            lossy: Mutex::default(),
        };
        // That rules cut, and that the rest arrives, is seen before anything rests on it.
        made.hosts[0].enter()?;
        let at = SocketAddr::from((address(1), 1));
        let knock = || TcpStream::connect_timeout(&at, Duration::from_millis(300));
        let is_refused = |it: std::io::Result<TcpStream>| {
            it.is_err_and(|it| it.kind() == std::io::ErrorKind::ConnectionRefused)
        };
        if !is_refused(knock()) {
            return Err("the router does not pass anything on".to_owned());
        }
        let rule = format!("from {} to {} blackhole", address(1), address(0));
        made.router.command(&format!("ip rule add {rule}"))?;
        let passed = is_refused(knock());
        made.router.command(&format!("ip rule del {rule}"))?;
        if passed {
            return Err("the router's rules do not cut".to_owned());
        }
        let host = |(number, name): (usize, &&'static str)| Host {
            name,
            address: address(u8::try_from(number + 1).unwrap_or(u8::MAX)),
            before: made.hosts[number + 1].before(),
        };
        let hosts = names.iter().enumerate().map(host).collect();
        Ok((hosts, made))
    }

    pub(super) fn has_netem(&self) -> bool {
        self.has_netem
    }

    /// Segments that a host sent again, since it was made.
    pub(super) fn sent_again(&self, host: usize) -> Option<u64> {
        let pid = self.hosts.get(host + 1)?.holder.pid();
        let text = fs::read_to_string(format!("/proc/{pid}/net/snmp")).ok()?;
        // A line of names, then one of figures.
        let mut lines = text.lines().filter(|it| it.starts_with("Tcp:"));
        let (names, figures) = (lines.next()?, lines.next()?);
        let column = names.split(' ').position(|it| it == "RetransSegs")?;
        figures.split(' ').nth(column)?.parse().ok()
    }

    pub(super) fn set(&self, from: usize, to: usize, way: Way) -> bool {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let before = ways.iter().position(|it| (it.0, it.1) == (from, to));
        if let Some(before) = before {
            let (.., former) = ways.remove(before);
            self.end(from, to, former);
        }
        let is_possible = self.begin(from, to, way);
        if is_possible && way != Way::Open {
            ways.push((from, to, way));
        }
        is_possible
    }

    fn rule(from: usize, to: usize) -> String {
        let at = |it: usize| address(u8::try_from(it + 1).unwrap_or(u8::MAX));
        format!("from {} to {} blackhole", at(from), at(to))
    }

    fn begin(&self, from: usize, to: usize, way: Way) -> bool {
        let rule = Self::rule(from, to);
        match way {
            Way::Open => true,
            Way::Cut => {
                self.router.command(&format!("ip rule add {rule}")).unwrap();
                true
            }
            Way::Lossy(percent) => {
                let lost = LOSS_PERIOD.mul_f64(f64::from(percent.min(90)) / 100.0);
                let rest = LOSS_PERIOD.saturating_sub(lost).as_secs_f64();
                let lost = lost.as_secs_f64();
                let script = format!(
                    "while ip rule add {rule}; do sleep {lost}; ip rule del {rule}; sleep {rest}; done"
                );
                let mut before = self.router.before().into_iter();
                let cutting = Launch::new(before.next().unwrap_or_default())
                    .args(before)
                    .args(["sh", "-c", &script])
                    .output(Output::Discard)
                    .start();
                let mut lossy = self.lossy.lock().unwrap_or_else(PoisonError::into_inner);
                lossy.push((from, to, cutting.unwrap()));
                true
            }
            Way::Late(by) if self.has_netem => {
                let (n, ms) = (to + 1, by.as_millis());
                let change = format!("tc qdisc replace dev h{n} root netem delay {ms}ms");
                self.router.command(&change).unwrap();
                true
            }
            Way::Late(_) => false,
        }
    }

    fn end(&self, from: usize, to: usize, way: Way) {
        let rule = Self::rule(from, to);
        match way {
            Way::Open => {}
            Way::Cut => self.router.command(&format!("ip rule del {rule}")).unwrap(),
            Way::Lossy(_) => {
                let mut lossy = self.lossy.lock().unwrap_or_else(PoisonError::into_inner);
                lossy.retain(|it| (it.0, it.1) != (from, to)); // Dropped, and so killed.
                // It may have been killed between its two steps.
                let _none = self.router.command(&format!("ip rule del {rule}"));
            }
            Way::Late(_) => {
                let change = format!("tc qdisc del dev h{} root", to + 1);
                self.router.command(&change).unwrap();
            }
        }
    }
}
