//! The servers: versions, places, clocks.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::super::{Clock, Finding, Server, Severity, Stream};
use crate::connect::MIN_SERVER;

type Version = (i64, i64, i64);

/// 2.12.1 left a pull that asked for nothing but exhausted messages without an answer (measured).
const BETTER: Version = (2, 12, 8);
/// Three servers that flush always lose most of their rate before this (measured).
const CHEAP_ALWAYS: Version = (2, 15, 0);
/// What processes and servers do not notice.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);
/// Expiry, retries and leases go wrong.
const TOO_FAR: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn versions(servers: &[Server], replicas: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut versions = BTreeSet::new();
    for server in servers {
        let address = &server.address;
        let (name, version) = match &server.told {
            Ok(told) => told,
            Err(why) => {
                let text = format!("the server at {address} cannot be reached from here: {why}");
                let advice = "is it down? If it has another address for clients, set \
                              client_advertise: a client that loses its server goes there";
                findings.push(Finding::new(Severity::Warning, "servers", text, advice));
                continue;
            }
        };
        versions.insert(version.clone());
        let text = format!("{name} ({address}) is nats-server {version}");
        findings.push(match parsed(version) {
            Some(it) if it < MIN_SERVER => {
                let (major, minor, patch) = MIN_SERVER;
                let advice = format!("replace it by {major}.{minor}.{patch} or newer");
                Finding::new(Severity::Trouble, "servers", text, advice)
            }
            Some(it) if it < BETTER => {
                let advice = "2.12.8 or newer answers every pull; this one leaves some waiting";
                Finding::new(Severity::Warning, "servers", text, advice)
            }
            Some(it) if it < CHEAP_ALWAYS && replicas >= 3 => {
                let advice = "from 2.15 on `sync_interval: always` costs next to nothing on three";
                Finding::new(Severity::Note, "servers", text, advice)
            }
            Some(_) | None => Finding::fine("servers", text),
        });
    }
    if versions.len() > 1 {
        let text = "the servers are of different versions";
        let advice = "fine during a rolling upgrade; finish it";
        findings.push(Finding::new(Severity::Note, "servers", text, advice));
    }
    findings
}

/// `2.15.1` and `2.16.0-dev`.
fn parsed(version: &str) -> Option<Version> {
    let release = version.split('-').next()?;
    let mut numbers = release.split('.').map(|it| it.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// Servers that hold copies and give clients no address, as a witness does.
fn n_hidden(servers: &[Server], streams: &[Stream]) -> usize {
    let told = servers.iter().filter_map(|it| it.told.as_ref().ok());
    let told = told.map(|(name, _)| name.as_str());
    let copies = streams.iter().flat_map(|it| {
        let peers = it.peers.iter().map(|it| it.name.as_str());
        it.leader.as_deref().into_iter().chain(peers)
    });
    let names: BTreeSet<&str> = told.chain(copies).collect();
    // One that cannot be reached has an address here and a name there.
    names.len().saturating_sub(servers.len())
}

/// Whether the servers are enough, and apart from each other.
pub(super) fn places(servers: &[Server], streams: &[Stream], replicas: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    let n_hidden = n_hidden(servers, streams);
    let n = servers.len() + n_hidden;
    if replicas > 1 && n < replicas {
        let text = format!("{replicas} replicas are configured and {n} servers are seen");
        let advice = "give the others' addresses, or start them: deploy/nats/node.conf";
        findings.push(Finding::new(Severity::Trouble, "places", text, advice));
    }
    if n == 2 {
        let text = "there are two servers: the loss of either stops everything";
        let advice = "add a third, a small one is enough as a witness";
        findings.push(Finding::new(Severity::Warning, "places", text, advice));
    }
    let hosts: BTreeSet<_> = servers.iter().map(Server::host).collect();
    if n >= 3 && n_hidden > 0 {
        let text = format!(
            "{n} servers; {n_hidden} of them gives clients no address, so where it is cannot be seen"
        );
        findings.push(Finding::fine("places", text));
    } else if n >= 3 && hosts.len() == 1 {
        let text = "all servers are on one machine";
        let advice = "its loss stops everything; for production put each on one of its own";
        findings.push(Finding::new(Severity::Warning, "places", text, advice));
    } else if n >= 3 && hosts.len() == 2 {
        let text = "the servers are on two machines: the loss of the one that has two stops all";
        let advice = "put the third elsewhere, as a witness";
        findings.push(Finding::new(Severity::Warning, "places", text, advice));
    } else if n >= 3 {
        let text = format!("{n} servers on {} machines", hosts.len());
        findings.push(Finding::fine("places", text));
    }
    findings
}

pub(super) fn clocks(clocks: &[Clock]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for clock in clocks {
        let uncertain = SignedDuration::try_from(clock.give_or_take).unwrap_or_default();
        let off = clock.ahead.abs() - uncertain;
        let ms = clock.ahead.as_millis();
        let text = format!(
            "{} is {ms} ms ahead of this machine (± {} ms)",
            clock.server,
            clock.give_or_take.as_millis()
        );
        findings.push(judged(text, off));
    }
    let ahead = |clock: &Clock| clock.ahead;
    let (first, last) = (
        clocks.iter().map(ahead).min(),
        clocks.iter().map(ahead).max(),
    );
    if let (Some(first), Some(last)) = (first, last)
        && clocks.len() > 1
        && last - first > TOLERANCE
    {
        let text = format!(
            "the servers' clocks are {} ms apart",
            (last - first).as_millis()
        );
        findings.push(judged(text, last - first));
    }
    findings
}

fn judged(text: String, off: SignedDuration) -> Finding {
    let advice = "let a time service set the clocks (chrony, systemd-timesyncd): expiry, retries \
                  and ages go by them";
    if off > TOO_FAR {
        Finding::new(Severity::Trouble, "clocks", text, advice)
    } else if off > TOLERANCE {
        Finding::new(Severity::Warning, "clocks", text, advice)
    } else {
        Finding::fine("clocks", text)
    }
}
