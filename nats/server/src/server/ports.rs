//! Ports of a cluster: chosen before its servers run, because each has to know all the others'.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};

use serde::{Deserialize, Serialize};

/// Outside of what systems give to outgoing connections (Linux: 32768 to 60999), one of which could
/// take a port between our choice and the server's start, and while a server is away.
const FIRST: u16 = 20_000;
const N_CHOICES: u16 = 12_000;
/// More tries than it takes unless all are taken.
const TRIES: usize = 1000;

/// Where one server of a cluster listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ports {
    pub(super) client: u16,
    pub(super) route: u16,
    pub(super) monitoring: u16,
}

/// Ports that are free now, for `size` servers; the clients' are `first` and those behind it, if
/// somebody wants to know them beforehand.
pub(super) fn choose(size: usize, first: Option<u16>) -> io::Result<Vec<Ports>> {
    let mut chosen = free(size * 3)?.into_iter();
    let mut next = || {
        chosen
            .next()
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
    };
    let servers = (0..size).map(|_| {
        Ok(Ports {
            client: next()?,
            route: next()?,
            monitoring: next()?,
        })
    });
    let mut servers: Vec<_> = servers.collect::<io::Result<_>>()?;
    if let Some(first) = first {
        in_a_row(&mut servers, first)?;
    }
    Ok(servers)
}

/// Gives the clients the port `first` and those behind it.
pub(super) fn in_a_row(servers: &mut [Ports], first: u16) -> io::Result<()> {
    for (server, place) in servers.iter_mut().zip(0..) {
        let port = first.checked_add(place);
        server.client = port.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    }
    Ok(())
}

/// Ports of 127.0.0.1 that are free now, and that no outgoing connection gets.
///
/// # Errors
/// If there are not so many.
pub fn free(n: usize) -> io::Result<Vec<u16>> {
    // Held until all are chosen, so that they differ.
    let mut held = Vec::new();
    for _ in 0..TRIES {
        if held.len() == n {
            break;
        }
        let port = FIRST + u16::from_le_bytes(random()?) % N_CHOICES;
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    if held.len() < n {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    held.iter().map(|it| Ok(it.local_addr()?.port())).collect()
}

/// A password that nobody guesses: 32 hexadecimal digits.
pub(super) fn password() -> io::Result<String> {
    Ok(format!("{:032x}", u128::from_le_bytes(random()?)))
}

/// Bytes from the system.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_differ_and_lie_where_no_outgoing_connection_gets_one() {
        let servers = choose(3, None).unwrap();
        let ports = servers
            .iter()
            .flat_map(|it| [it.client, it.route, it.monitoring]);
        let ports: BTreeSet<_> = ports.collect();
        assert_eq!(ports.len(), 9);
        assert!(
            ports.iter().all(|it| (20_000..32_000).contains(it)),
            "{ports:?}"
        );
    }

    #[test]
    fn named_ports_are_in_a_row_and_end_where_ports_end() {
        let servers = choose(3, Some(4000)).unwrap();
        let clients: Vec<_> = servers.iter().map(|it| it.client).collect();
        assert_eq!(clients, [4000, 4001, 4002]);
        assert!(choose(3, Some(65_534)).is_err());
    }

    #[test]
    fn two_passwords_differ() {
        assert_ne!(password().unwrap(), password().unwrap());
    }
}
