//! What is stored: limits and copies.

use super::super::{Account, Finding, Severity, Stream};

/// Atomic batches, schedules and times to live of messages (2.12; nats-server's own levels).
const API_LEVEL: u64 = 2;
/// From here on somebody should do something.
const FILLING_PERCENT: u64 = 70;
/// From here on writes are about to be refused.
const FULL_PERCENT: u64 = 95;

pub(super) fn account(account: Option<&Account>) -> Vec<Finding> {
    let Some(account) = account else {
        return Vec::new();
    };
    let level = account.api_level;
    let text = format!("JetStream's interface has level {level}");
    let mut findings = vec![if level < API_LEVEL {
        let advice = format!("{API_LEVEL} is needed: upgrade every server of the cluster");
        Finding::new(Severity::Trouble, "jetstream", text, advice)
    } else {
        Finding::fine("jetstream", text)
    }];
    if let Some(limit) = account.storage_limit {
        findings.push(filled(
            "the account",
            account.storage,
            limit,
            LIMIT_OF_ACCOUNT,
        ));
    }
    findings
}

const LIMIT_OF_ACCOUNT: &str = "raise the account's max_storage, or see what has grown: \
                                `fanfare doctor --plan`";
const LIMIT_OF_STREAM: &str = "raise its max_bytes (`nats stream edit`): a full stream refuses, \
                               and nothing goes on";

pub(super) fn sizes(streams: &[Stream]) -> Vec<Finding> {
    let limited = streams.iter().filter_map(|it| Some((it, it.limit_bytes?)));
    let mut findings: Vec<_> = limited
        .map(|(it, limit)| filled(&it.name, it.bytes, limit, LIMIT_OF_STREAM))
        .collect();
    let unlimited: u64 = streams
        .iter()
        .filter(|it| it.limit_bytes.is_none())
        .map(|it| it.bytes)
        .sum();
    let text = format!(
        "{} in streams and buckets without a limit of their own",
        bytes(unlimited)
    );
    findings.push(Finding::fine("sizes", text));
    findings
}

fn filled(what: &str, used: u64, limit: u64, advice: &str) -> Finding {
    let percent = used.saturating_mul(100) / limit.max(1);
    let text = format!(
        "{what} holds {} of {} ({percent} %)",
        bytes(used),
        bytes(limit)
    );
    if percent >= FULL_PERCENT {
        Finding::new(Severity::Trouble, "sizes", text, advice)
    } else if percent >= FILLING_PERCENT {
        Finding::new(Severity::Warning, "sizes", text, advice)
    } else {
        Finding::fine("sizes", text)
    }
}

pub(super) fn copies(streams: &[Stream]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for stream in streams.iter().filter(|it| it.is_clustered) {
        let name = &stream.name;
        if stream.leader.is_none() {
            let text = format!("{name} has no leader");
            let advice = "a majority of its servers has to run; an election takes up to 11 s";
            findings.push(Finding::new(Severity::Trouble, "copies", text, advice));
        }
        for peer in &stream.peers {
            let (peer, lag) = (
                &peer.name,
                match peer {
                    it if it.is_offline => "is not there".to_owned(),
                    it if !it.is_current => format!("lacks {} operations", it.lag),
                    _ => continue,
                },
            );
            let text = format!("{name}: the copy on {peer} {lag}");
            let advice = "until it is back and current the loss of another server stops the stream";
            findings.push(Finding::new(Severity::Warning, "copies", text, advice));
        }
    }
    let copied = streams.iter().map(|it| it.replicas).min().unwrap_or(0);
    if findings.is_empty() && copied > 1 {
        let text = format!("everything is on {copied} servers, and current");
        findings.push(Finding::fine("copies", text));
    } else if copied == 1 {
        let text = "something is on one server only: its loss stops everything until it is back";
        let advice = "three servers and `[nats] replicas = 3`, then `fanfare admin apply`; \
                      meanwhile `fanfare admin backup`";
        findings.push(Finding::new(Severity::Note, "copies", text, advice));
    }
    findings
}

/// Bytes for people.
pub fn bytes(n: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        if n >> shift > 0 {
            let tenths = (u128::from(n) * 10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{n} B")
}
