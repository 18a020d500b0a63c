//! What was seen, judged; pure.

mod brokers;
mod processes;
mod stores;

pub use self::stores::bytes;

use std::error::Error;

use super::servers::told;
use super::{Exercise, Finding, Server, Severity, Survey};
use crate::connect::ConnectError;
use crate::permissions::{Allowed, Role};
use crate::stream::{Difference, Remedy, Weight};

/// What the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Copies of everything.
    pub replicas: usize,
    /// Tasks that one notifier works on at once.
    pub tasks: usize,
    /// Events that one notifier plans at once.
    pub planners: usize,
    /// Sources that fetchers read.
    pub n_sources: usize,
    /// Those that one fetcher at a time reads.
    pub n_exclusive: usize,
}

/// Everything that a connection can tell.
pub fn findings(
    survey: &Survey,
    servers: &[Server],
    differences: &[Difference],
    expected: &Expected,
) -> Vec<Finding> {
    let mut findings = brokers::versions(servers, expected.replicas);
    let places = brokers::places(servers, &survey.streams, expected.replicas);
    findings.extend(places);
    findings.extend(brokers::clocks(&survey.clocks));
    findings.extend(stores::account(survey.account.as_ref()));
    findings.extend(differences.iter().map(difference));
    if differences.is_empty() {
        findings.push(Finding::fine("topology", "as the promise needs it"));
    }
    findings.extend(stores::copies(&survey.streams));
    findings.extend(stores::sizes(&survey.streams));
    findings.extend(processes::lanes(survey, expected));
    findings.extend(processes::members(survey, expected));
    findings.extend(processes::leases(survey, expected));
    let unseen = survey.unseen.iter().map(|it| {
        let advice = "to see it, connect as ops, auditor or owner (--user)";
        Finding::new(Severity::Note, "not seen", it.clone(), advice)
    });
    findings.extend(unseen);
    findings
}

fn difference(difference: &Difference) -> Finding {
    let severity = match difference.weight {
        Weight::Breaks => Severity::Trouble,
        Weight::Doubtful => Severity::Warning,
    };
    let advice = match &difference.remedy {
        Remedy::Create | Remedy::Set(_) => "fanfare admin apply".to_owned(),
        Remedy::ByHand(how) => (*how).to_owned(),
    };
    Finding::new(severity, "topology", difference.to_string(), advice)
}

/// Why there is no connection.
pub fn of_refusal(error: &ConnectError) -> Finding {
    let text = told(error);
    let cause = error.source().map(ToString::to_string);
    let says = |word: &str| cause.as_ref().is_some_and(|it| it.contains(word));
    let advice = match error {
        ConnectError::TooOld { .. } => "install a newer nats-server; Debian's package is too old",
        ConnectError::NoJetStream { .. } => "switch JetStream on for this account and this server",
        ConnectError::Credentials(_) => "look at the file that creds, nkey or user_jwt names",
        ConnectError::Connect(_) if says("authorization") => {
            "the server is there and does not know this user: look at --user, --password, --creds"
        }
        ConnectError::Connect(_) if says("TLS") || says("tls") => {
            "name the authority that signed the server's certificate: --tlsca"
        }
        ConnectError::Connect(_) => {
            "is a server there? `fanfare up` brings one of its own; for another look at --server, NATS_URL, \
             `[nats] url`, and at firewalls"
        }
    };
    Finding::new(Severity::Trouble, "connection", text, advice)
}

/// How a user's permissions are.
pub fn of_exercise(role: Role, exercise: &Exercise) -> Vec<Finding> {
    let name = role.name();
    let mut findings = Vec::new();
    let mut add = |verb: &str, allowed: &Allowed| {
        let Allowed { subject, why } = allowed;
        let text = format!("{name} is denied to {verb} {subject} ({why})");
        let advice = format!("add to {verb}.allow of this user: \"{subject}\"");
        let finding = Finding::new(Severity::Trouble, "permissions", text, advice);
        findings.push(finding);
    };
    for allowed in &exercise.denied_publish {
        add("publish", allowed);
    }
    for allowed in &exercise.denied_subscribe {
        add("subscribe", allowed);
    }
    if !exercise.beyond.is_empty() {
        let n = exercise.beyond.len();
        let some: Vec<_> = exercise.beyond.iter().take(3).map(String::as_str).collect();
        let text = format!(
            "this user may say {n} subjects that {name} never needs, such as {}",
            some.join(", ")
        );
        let advice = format!("give it the lists of `fanfare admin permissions --role {name}`");
        findings.push(Finding::new(Severity::Warning, "permissions", text, advice));
    }
    if findings.is_empty() {
        let n = exercise.n_tried;
        let text = format!("{name} may do what it needs and nothing else: {n} subjects tried");
        findings.push(Finding::fine("permissions", text));
    }
    findings
}
