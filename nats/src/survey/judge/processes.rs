//! Who is there, and whether they can get at the work.

use std::collections::BTreeSet;

use super::super::{Consumer, Finding, Severity, Survey};
use super::Expected;
use crate::members::Member;
use crate::stream::{AHEAD_CONSUMER, EVENTS_CONSUMER};

fn of_role<'a>(survey: &'a Survey, role: &str) -> Vec<&'a Member> {
    let members = survey.members.iter().flatten();
    members.filter(|it| it.role == role).collect()
}

pub(super) fn lanes(survey: &Survey, expected: &Expected) -> Vec<Finding> {
    let n_notifiers = of_role(survey, "notifier").len();
    let mut findings = Vec::new();
    let holds_work = |it: &&Consumer| it.name != AHEAD_CONSUMER; // The other only tells.
    for consumer in survey.consumers.iter().filter(holds_work) {
        let Consumer {
            name,
            n_pending,
            n_in_hand,
            ..
        } = consumer;
        let each = if name == EVENTS_CONSUMER {
            expected.planners
        } else {
            expected.tasks
        };
        // One more: each takes a message ahead.
        let needed = i64::try_from(n_notifiers * (each + 1)).unwrap_or(i64::MAX);
        let limit = consumer.max_ack_pending;
        if consumer.is_paused {
            let text = format!("{name} is paused by an operator: {n_pending} wait");
            let advice = "`fanfare lanes resume`, when it is to go on";
            findings.push(Finding::new(Severity::Note, "lanes", text, advice));
        } else if *n_pending > 0 && survey.members.is_some() && n_notifiers == 0 {
            let text = format!("{n_pending} wait in {name}, and there is no notifier");
            let advice = "start one: `fanfare up notifier`";
            findings.push(Finding::new(Severity::Trouble, "lanes", text, advice));
        }
        if limit > 0 && needed > limit {
            let text = format!(
                "{name} hands out {limit} at once; {n_notifiers} notifiers can work on {needed}"
            );
            let advice = format!(
                "raise its max_ack_pending to {needed} or more, or the last \
                                  notifiers get nothing"
            );
            findings.push(Finding::new(Severity::Warning, "lanes", text, advice));
        } else if limit > 0 && i64::try_from(*n_in_hand).is_ok_and(|it| it >= limit) {
            let text = format!("{name} has handed out all that it may: {limit}");
            let advice = "somebody holds them: a provider that is away, or handed-back messages \
                          that wait";
            findings.push(Finding::new(Severity::Warning, "lanes", text, advice));
        }
    }
    if findings.is_empty() && !survey.consumers.is_empty() {
        let holding = survey.consumers.iter().filter(holds_work);
        let n: u64 = holding.map(|it| it.n_pending).sum();
        let text = format!("{} consumers, {n} messages wait", survey.consumers.len());
        findings.push(Finding::fine("lanes", text));
    }
    findings
}

pub(super) fn members(survey: &Survey, expected: &Expected) -> Vec<Finding> {
    let Some(all) = &survey.members else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (role, is_needed, what) in [
        ("notifier", true, "nothing is sent"),
        ("fetcher", expected.n_sources > 0, "no source is read"),
        ("api", false, "nobody can register or post"),
    ] {
        let found = of_role(survey, role);
        let hosts: BTreeSet<_> = found.iter().map(|it| &it.host).collect();
        let text = format!("{} {role}s on {} machines", found.len(), hosts.len());
        findings.push(match found.len() {
            0 => {
                let severity = if is_needed {
                    Severity::Trouble
                } else {
                    Severity::Note
                };
                let text = format!("there is no {role}: {what}");
                Finding::new(severity, "members", text, format!("fanfare up {role}"))
            }
            1 => {
                let text = format!("there is one {role}");
                let advice = "a second one carries on at once when it dies";
                Finding::new(Severity::Note, "members", text, advice)
            }
            _ if hosts.len() == 1 => {
                let advice = "the loss of that machine stops them all: put one elsewhere";
                Finding::new(Severity::Note, "members", text, advice)
            }
            _ => Finding::fine("members", text),
        });
    }
    for member in all {
        if let Some(waits_for) = &member.waits_for {
            let Member {
                role, node, host, ..
            } = member;
            let text = format!("{role} {node} on {host} is not ready: {waits_for}");
            let advice = "its /readyz says which condition is unmet";
            findings.push(Finding::new(Severity::Warning, "members", text, advice));
        }
    }
    let versions: BTreeSet<_> = all.iter().map(|it| it.version.as_str()).collect();
    if versions.len() > 1 {
        let versions: Vec<_> = versions.into_iter().collect();
        let text = format!("several versions of fanfare run: {}", versions.join(", "));
        let advice = "fine during a rolling upgrade; finish it";
        findings.push(Finding::new(Severity::Note, "members", text, advice));
    }
    findings
}

pub(super) fn leases(survey: &Survey, expected: &Expected) -> Vec<Finding> {
    let Some(leases) = survey.leases.as_ref().filter(|_| expected.n_exclusive > 0) else {
        return Vec::new();
    };
    let (held, vacant): (Vec<_>, Vec<_>) = leases.iter().partition(|it| it.holder.is_some());
    let mut findings: Vec<_> = vacant
        .iter()
        .map(|it| {
            let text = format!("nobody holds the lease of {}", it.source);
            let advice = "a fetcher with this source takes it within seconds: is one there?";
            Finding::new(Severity::Warning, "leases", text, advice)
        })
        .collect();
    if findings.is_empty() {
        let text = format!(
            "{} of {} exclusive sources are held",
            held.len(),
            expected.n_exclusive
        );
        let is_all = held.len() >= expected.n_exclusive;
        findings.push(if is_all {
            Finding::fine("leases", text)
        } else {
            let advice = "start a fetcher that has the others in its configuration";
            Finding::new(Severity::Warning, "leases", text, advice)
        });
    }
    findings
}
