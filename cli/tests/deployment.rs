//! What `deploy/` says exists: every variable, command, flag, port, path and password that the
//! executable is given there. Files that nobody runs rot.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support functions of tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The files that start fanfare.
const FILES: [&str; 5] = [
    "systemd/fanfare@.service",
    "docker/Dockerfile",
    "compose/compose.yaml",
    "kubernetes/fanfare.yaml",
    "kubernetes/keda.yaml",
];

fn text(file: &str) -> String {
    std::fs::read_to_string(deploy().join(file)).unwrap()
}

fn fanfare(arguments: &[&str], environment: &BTreeMap<String, String>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.env_clear().args(arguments).envs(environment);
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(error)
}

/// Words that are made of these characters only.
fn words(text: &str, is_part: impl Fn(char) -> bool) -> Vec<&str> {
    let words = text.split(|it| !is_part(it));
    words.filter(|it| !it.is_empty()).collect()
}

fn is_name(it: char) -> bool {
    it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_'
}

/// `NAME=value`, `NAME: value` and `name: NAME, value: value` of lines that are no comments.
fn settings(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|it| !it.trim_start().starts_with('#'));
    let mut found = Vec::new();
    for line in lines {
        let Some(at) = line.find("FANFARE__") else {
            continue;
        };
        let name = words(&line[at..], is_name)[0].to_owned();
        let rest = &line[at + name.len()..];
        let rest = rest.split_once("value:").map_or(rest, |(_, it)| it);
        let value = rest.trim_matches(|it: char| it.is_whitespace() || "=:{}\"'".contains(it));
        found.push((name, value.to_owned()));
    }
    found
}

#[test]
fn every_variable_is_one_of_the_configuration_and_takes_its_value() {
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (folder.path().join("fanfare.toml"), folder.path().join("p"));
    std::fs::write(&file, "").unwrap();
    std::fs::write(&secret, "secret").unwrap();
    let check = |name: &str, value: &str| {
        let value = match value {
            it if it.contains('/') && name.ends_with("_FILE") => secret.display().to_string(),
            it => it.replace("%i", "notifier"),
        };
        let environment = BTreeMap::from([(name.to_owned(), value)]);
        let output = fanfare(&["check", file.to_str().unwrap()], &environment);
        (output.status.code(), told(&output))
    };
    let mut n = 0;
    for file in FILES {
        for (name, value) in settings(&text(file)) {
            let (code, told) = check(&name, &value);
            assert_eq!(code, Some(0), "{file}: {name}={value}: {told}");
            n += 1;
        }
    }
    assert!(n > 20, "{n}");
    let (code, _) = check("FANFARE__NATS__REPLICA", "3");
    assert_eq!(code, Some(78), "a variable that does not exist is seen");
}

/// `["a", "b"]` behind `command:`, `args:` or `CMD`, and what stands behind `fanfare` in `ExecStart=`.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(line) = line.strip_prefix("ExecStart=/usr/local/bin/fanfare ") {
            commands.push(line.split(' ').map(str::to_owned).collect());
        }
        let list = ["command: [", "args: [", "CMD ["];
        let list = list.into_iter().find_map(|it| line.strip_prefix(it));
        if let Some(list) = list.and_then(|it| it.strip_suffix(']')) {
            let parts = list.split(',').map(|it| it.trim().trim_matches('"'));
            commands.push(parts.map(str::to_owned).collect());
        }
    }
    commands.retain(|it| it[0] != "--config"); // nats-server's.
    commands
}

#[test]
fn every_command_exists_with_its_flags() {
    let is_understood = |command: &[String]| {
        let mut arguments: Vec<_> = command.iter().map(|it| it.replace("%i", "api")).collect();
        // Whatever stands before it was understood by then.
        arguments.push("--help".to_owned());
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = fanfare(&arguments, &BTreeMap::new());
        (output.status.code() == Some(0), told(&output))
    };
    let mut n = 0;
    for file in FILES {
        for command in commands(&text(file)) {
            let (is_understood, told) = is_understood(&command);
            assert!(is_understood, "{file}: {command:?}: {told}");
            n += 1;
        }
    }
    assert_eq!(n, 11);
    let wrong = ["admin", "apply", "--yess"].map(str::to_owned);
    assert!(!is_understood(&wrong).0);
}

#[test]
fn every_password_is_one_that_the_servers_users_have() {
    let printed = fanfare(&["admin", "permissions", "--all"], &BTreeMap::new());
    let printed = told(&printed);
    let is_password = |it: &&str| it.starts_with("FANFARE_") && it.ends_with("_PASSWORD");
    let known: BTreeSet<_> = words(&printed, is_name)
        .into_iter()
        .filter(is_password)
        .collect();
    assert_eq!(known.len(), 6, "{known:?}");
    for file in FILES
        .into_iter()
        .chain(["kubernetes/nats.yaml", "compose/passwords.example"])
    {
        let text = text(file);
        let used: BTreeSet<_> = words(&text, is_name)
            .into_iter()
            .filter(is_password)
            .collect();
        let between_servers = "FANFARE_ROUTE_PASSWORD";
        let strange: Vec<_> = used
            .difference(&known)
            .filter(|it| **it != between_servers)
            .collect();
        assert!(strange.is_empty(), "{file}: {strange:?}");
    }
    let example = text("compose/passwords.example");
    assert!(
        known.iter().all(|it| example.contains(it)),
        "all of them are in the example"
    );
}

#[test]
fn ports_and_probes_are_those_of_the_executable_and_of_the_servers() {
    let ports = ["8480", "9464", "4222", "6222", "8222"];
    let admin = include_str!("../src/admin.rs");
    let mut n_probes = 0;
    for file in FILES.into_iter().chain(["kubernetes/nats.yaml"]) {
        let text = text(file);
        for mark in ["containerPort: ", "port: ", "EXPOSE ", "0.0.0.0:", "4222:"] {
            for part in text.split(mark).skip(1) {
                let first = words(part, |it| it.is_ascii_alphanumeric())[0];
                let is_port = first.chars().all(|it| it.is_ascii_digit()) && first != "80";
                assert!(!is_port || ports.contains(&first), "{file}: {mark}{first}");
            }
        }
        for part in text.split("path: /").skip(1) {
            let path = words(part, |it| it.is_ascii_alphanumeric())[0];
            if path.ends_with('z') {
                assert!(
                    admin.contains(&format!("route(\"/{path}\"")),
                    "{file}: {path}"
                );
                n_probes += 1;
            }
        }
    }
    assert_eq!(n_probes, 9, "three of each role");
}

#[test]
fn whoever_stops_a_role_waits_longer_than_it_drains() {
    let seconds = |file: &str, mark: &str| -> Vec<u32> {
        let text = text(file);
        let found = text
            .split(mark)
            .skip(1)
            .map(|it| words(it, |it| it.is_ascii_digit())[0]);
        found.map(|it| it.parse().unwrap()).collect()
    };
    let all = [
        ("systemd/fanfare@.service", "\nTimeoutStopSec="),
        ("compose/compose.yaml", "stop_grace_period: "),
        ("kubernetes/fanfare.yaml", "terminationGracePeriodSeconds: "),
    ];
    for (file, mark) in all {
        let found = seconds(file, mark);
        assert!(!found.is_empty(), "{file}");
        assert!(found.iter().all(|it| *it >= 40), "{file}: {found:?}");
    }
}

#[test]
fn the_example_of_a_configuration_is_one() {
    let file = deploy().join("compose/fanfare.toml");
    let output = fanfare(&["check", file.to_str().unwrap()], &BTreeMap::new());
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
}
