//! Hosts and the ways between them, as a test makes and breaks them.
//!
//! Two kinds with one face. *Namespaces*: each host is a network of the kernel's own, with a router
//! in the middle that drops what is cut; nothing of it outlives the test, because a namespace is
//! held by a process that dies with us. *Proxy*: each host is an address of the loopback interface,
//! and what passes between two hosts passes through a TCP proxy that stalls it.
//!
//! The test itself stands outside: on a host of its own that no fault touches.

mod namespaces;
mod proxies;
mod server;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_nats_server::process::Launch;
pub use server::{Leaders, Server};

use namespaces::Namespaces;
use proxies::Proxies;

/// The ports that are reached from another host: a broker's clients, its fellow brokers.
pub const PORTS: [u16; 2] = [4222, 6222];

/// How hosts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Network namespaces and a router.
    Namespaces,
    /// Loopback addresses and TCP proxies.
    Proxy,
}

impl Kind {
    /// Its word, as in `FANFARE_NETWORK`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Proxy => "proxy",
        }
    }
}

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: &'static str,
    /// Its address, for those on it and for the test.
    pub address: Ipv4Addr,
    /// What stands before a program that is to run there.
    before: Vec<OsString>,
}

impl Host {
    /// A program about to be started on this host. Its process id is the program's own.
    pub fn launch(&self, program: &Path) -> Launch {
        match self.before.split_first() {
            None => Launch::new(program),
            Some((first, rest)) => Launch::new(first).args(rest.iter().cloned()).arg(program),
        }
    }
}

/// What happens between two hosts, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What is sent arrives.
    Open,
    /// Nothing arrives, and nobody is told.
    Cut,
    /// It arrives so much later. Where the kernel cannot do that, [`Network::set`] says so.
    Late(Duration),
    /// About so many of a hundred packets are lost.
    Lossy(u8),
}

/// Hosts and the ways between them. Dropping it takes everything away.
pub struct Network {
    hosts: Vec<Host>,
    outside: Ipv4Addr,
    made: Made,
}

enum Made {
    Namespaces(Namespaces),
    Proxies(Proxies),
}

/// Runs `scenario` outside of a new network of these hosts, on a thread of its own. Says which kind
/// of network it is.
///
/// # Panics
/// If the scenario does, or if `FANFARE_NETWORK` asks for what cannot be had.
pub fn run<T, S, F>(names: &[&'static str], scenario: S) -> T
where
    T: Send + 'static,
    S: FnOnce(Network) -> F + Send + 'static,
    F: Future<Output = T>,
{
    match outside(wanted(), names, scenario) {
        Ok(ended) => ended,
        Err(why) => panic!("no such network: {why}"),
    }
}

/// As [`run`], on this kind of network and no other.
///
/// # Errors
/// Why there is none of this kind here.
///
/// # Panics
/// If the scenario does.
pub fn run_on<T, S, F>(kind: Kind, names: &[&'static str], scenario: S) -> Result<T, String>
where
    T: Send + 'static,
    S: FnOnce(Network) -> F + Send + 'static,
    F: Future<Output = T>,
{
    outside(Some(kind), names, scenario)
}

fn outside<T, S, F>(wanted: Option<Kind>, names: &[&'static str], scenario: S) -> Result<T, String>
where
    T: Send + 'static,
    S: FnOnce(Network) -> F + Send + 'static,
    F: Future<Output = T>,
{
    let names = names.to_vec();
    let outside = std::thread::Builder::new().name("outside".into());
    // Every thread that the runtime starts stands where the one that builds it stands.
    let outside = outside.spawn(move || {
        let made = choose(wanted, &names)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let ended = runtime.unwrap().block_on(async move {
            let network = if let Some((hosts, made)) = made {
                Network {
                    hosts,
                    outside: namespaces::OUTSIDE,
                    made: Made::Namespaces(made),
                }
            } else {
                let (hosts, made) = Proxies::make(&names).await;
                Network {
                    hosts,
                    outside: Ipv4Addr::LOCALHOST,
                    made: Made::Proxies(made),
                }
            };
            println!("network: {}", network.told());
            scenario(network).await
        });
        Ok(ended)
    });
    match outside.unwrap().join() {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The nats-server that tests use. To be asked for before there is a network: it may have to be
/// fetched.
///
/// # Panics
/// If there is none to be had.
pub fn nats_server() -> PathBuf {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fanfare_nats::testing::binary())
}

/// Which kind `FANFARE_NETWORK` asks for.
fn wanted() -> Option<Kind> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the harness has no configuration to read it"
    )]
    let wanted = std::env::var("FANFARE_NETWORK").ok()?;
    let kinds = [Kind::Namespaces, Kind::Proxy];
    let found = kinds.into_iter().find(|it| it.as_str() == wanted);
    assert!(
        found.is_some() || wanted.is_empty(),
        "FANFARE_NETWORK is namespaces or proxy, not {wanted}"
    );
    found
}

/// Namespaces if they can be had and nothing else is wanted.
fn choose(
    wanted: Option<Kind>,
    names: &[&'static str],
) -> Result<Option<(Vec<Host>, Namespaces)>, String> {
    if wanted == Some(Kind::Proxy) {
        return Ok(None);
    }
    match Namespaces::make(names) {
        Ok(made) => Ok(Some(made)),
        Err(why) if wanted == Some(Kind::Namespaces) => Err(why),
        Err(why) => {
            println!("no namespaces here: {why}");
            Ok(None)
        }
    }
}

impl Network {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self.made {
            Made::Namespaces(_) => Kind::Namespaces,
            Made::Proxies(_) => Kind::Proxy,
        }
    }

    /// Which kind it is and how it does what, in words.
    pub fn told(&self) -> String {
        match &self.made {
            Made::Namespaces(made) => format!(
                "namespaces, cut by the router's rules, {}",
                if made.has_netem() {
                    "delay and loss by netem"
                } else {
                    "loss by short cuts, no delay (this kernel has no netem)"
                }
            ),
            Made::Proxies(_) => {
                "TCP proxy: cut by stalling, delay in the proxy, no loss".to_owned()
            }
        }
    }

    /// The hosts, in the order in which they were named.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Where the test stands, as the hosts reach it.
    pub fn outside(&self) -> Ipv4Addr {
        self.outside
    }

    /// How the host `from` reaches the ports of `to`, by their places among the hosts.
    pub fn way(&self, from: usize, to: usize) -> Ipv4Addr {
        match &self.made {
            Made::Proxies(made) if from != to => made.way(from, to),
            Made::Proxies(_) | Made::Namespaces(_) => self.hosts[to].address,
        }
    }

    /// Changes what happens to what `from` sends to `to`, at once; `false` if this network cannot do
    /// that.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn set(&self, from: usize, to: usize, way: Way) -> bool {
        match &self.made {
            Made::Namespaces(made) => made.set(from, to, way),
            Made::Proxies(made) => made.set(from, to, way),
        }
    }

    /// Segments of TCP that a host sent again, where the network counts them.
    pub fn sent_again(&self, host: usize) -> Option<u64> {
        match &self.made {
            Made::Namespaces(made) => made.sent_again(host),
            Made::Proxies(_) => None,
        }
    }

    /// Changes both directions.
    pub fn set_both(&self, one: usize, other: usize, way: Way) -> bool {
        self.set(one, other, way) && self.set(other, one, way)
    }

    /// Opens every way.
    pub fn heal(&self) {
        for from in 0..self.hosts.len() {
            for to in (0..self.hosts.len()).filter(|it| *it != from) {
                self.set(from, to, Way::Open);
            }
        }
    }
}
