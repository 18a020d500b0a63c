//! Findings for people, and as JSON.

use std::fmt::Write;

use fanfare_nats::survey::{Finding, Severity};
use serde_json::json;

/// The worst last, where the eye is when the command has ended.
pub(super) fn findings(findings: &[Finding], is_json: bool) -> String {
    let mut findings: Vec<_> = findings.iter().collect();
    findings.sort_by_key(|it| it.severity);
    if is_json {
        return as_json(&findings);
    }
    let mut text = String::new();
    for finding in &findings {
        let Finding {
            severity,
            about,
            text: seen,
            advice,
        } = finding;
        // Writing to a String cannot fail, here and below.
        let _ok = writeln!(text, "{:8} {about:12} {seen}", severity.word());
        if !advice.is_empty() {
            let _ok = writeln!(text, "{:21} → {advice}", "");
        }
    }
    let n = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let (troubles, warnings) = (n(Severity::Trouble), n(Severity::Warning));
    let _ok = writeln!(
        text,
        "{} looked at: {troubles} trouble, {warnings} warnings, {} notes",
        findings.len(),
        n(Severity::Note)
    );
    text
}

fn as_json(findings: &[&Finding]) -> String {
    let all: Vec<_> = findings
        .iter()
        .map(|it| {
            json!({
                "severity": it.severity.word(),
                "about": it.about,
                "text": it.text,
                "advice": it.advice,
            })
        })
        .collect();
    let is_well = findings.iter().all(|it| it.severity < Severity::Trouble);
    format!("{:#}\n", json!({ "is_well": is_well, "findings": all }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_stands_last_and_each_says_what_to_do() {
        let seen = [
            Finding::new(Severity::Trouble, "clocks", "off", "set them"),
            Finding::fine("servers", "three"),
        ];
        let expected = "\
ok       servers      three
trouble  clocks       off
                      → set them
2 looked at: 1 trouble, 0 warnings, 0 notes
";
        assert_eq!(findings(&seen, false), expected);
        let json: serde_json::Value = serde_json::from_str(&findings(&seen, true)).unwrap();
        assert_eq!(json["is_well"], false);
        assert_eq!(json["findings"][1]["advice"], "set them");
    }
}
