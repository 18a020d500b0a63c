//! Hosts as addresses of the loopback interface, with a TCP proxy for each port of each way.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use rand::Rng;

use super::{Host, PORTS, Way};
use crate::proxy::{Direction, Proxy, Weather};

/// The proxies of one network.
pub(super) struct Proxies {
    net: [u8; 2],
    /// By the host that dials and the one that is dialled.
    ways: BTreeMap<(usize, usize), Vec<Proxy>>,
}

impl Proxies {
    /// Makes the hosts.
    pub(super) async fn make(names: &[&'static str]) -> (Vec<Host>, Self) {
        // Two runs at once must not meet.
        let net = [rand::rng().random_range(64..254), rand::rng().random()];
        let mut made = Self {
            net,
            ways: BTreeMap::new(),
        };
        let host = |(number, name): (usize, &&'static str)| Host {
            name,
            address: at(net, number + 1),
            before: Vec::new(),
        };
        let hosts: Vec<_> = names.iter().enumerate().map(host).collect();
        for from in 0..hosts.len() {
            for to in (0..hosts.len()).filter(|it| *it != from) {
                let mut proxies = Vec::new();
                for port in PORTS {
                    let target = SocketAddr::from((hosts[to].address, port));
                    let listen = SocketAddr::from((made.way(from, to), port));
                    proxies.push(Proxy::at(listen, target).await);
                }
                made.ways.insert((from, to), proxies);
            }
        }
        (hosts, made)
    }

    pub(super) fn way(&self, from: usize, to: usize) -> Ipv4Addr {
        at(self.net, 10 * (from + 1) + to + 1)
    }

    /// What `from` sends passes the proxies that it dials and, as an answer, those that `to` dials.
    pub(super) fn set(&self, from: usize, to: usize, way: Way) -> bool {
        let weather = match way {
            Way::Open => Weather::Fair,
            Way::Cut => Weather::Stalled,
            Way::Late(by) => Weather::Slow(by),
            Way::Lossy(_) => return false,
        };
        let dialled = self.ways.get(&(from, to)).into_iter().flatten();
        dialled.for_each(|it| it.set_one(Direction::There, weather));
        let answered = self.ways.get(&(to, from)).into_iter().flatten();
        answered.for_each(|it| it.set_one(Direction::Back, weather));
        true
    }
}

fn at(net: [u8; 2], number: usize) -> Ipv4Addr {
    let last = u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, net[0], net[1], last)
}
