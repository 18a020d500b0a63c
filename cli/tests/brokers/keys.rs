//! `fanfare keys` beside `fanfare up`: made, asked for, taken back, and found nowhere.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "support functions of tests"
)]

use std::path::Path;

use fanfare_nats_server::process::Launch;
use reqwest::Client;

use crate::fanfare::{Fanfare, binary, command, eventually, ran};

/// A command of somebody whose data are in the folder, and who says nothing about keys.
fn own(folder: &Path, arguments: &[&str]) -> Launch {
    let launch = command(folder, arguments).env("XDG_DATA_HOME", folder.join("data"));
    launch.env_remove("FANFARE__API__KEYS")
}

async fn keys(folder: &Path, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = ["keys"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let (code, printed) = ran(own(folder, &arguments)).await;
    assert_eq!(code, Some(0), "{printed}");
    printed
}

fn secret(printed: &str) -> String {
    let line = printed.lines().find(|it| it.starts_with("fanfare_main_"));
    line.unwrap_or_else(|| panic!("{printed}")).to_owned()
}

/// Every file of a folder that holds a text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(text.len()).any(|it| it == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// What the audit says, which has each command about a key once.
async fn recorded(folder: &Path, key: &str) -> String {
    let (code, recorded) = ran(own(folder, &["audit", "--since", "1h"])).await;
    assert_eq!(code, Some(0), "{recorded}");
    let mut left = recorded.as_str();
    for operation in ["putDevice", "createKey", "rotateKey", "revokeKey"] {
        let rest = left.split_once(operation);
        left = rest.unwrap_or_else(|| panic!("{recorded}")).1;
    }
    let n = recorded.matches(&format!("key {key}")).count();
    assert_eq!(n, 3, "of each of the commands, and not twice: {recorded}");
    let (_, none) = ran(own(folder, &["audit", "--tenant", "other", "--json"])).await;
    assert_eq!(none, "");
    recorded
}

#[tokio::test]
async fn a_key_is_made_asked_for_and_taken_back_and_its_secret_is_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let server = binary().await.display().to_string();
    let up = Fanfare::start(own(at, &["up", "--nats-server", &server]));
    up.register("d-1").await;
    assert!(up.printed().contains("asks for no key until there is one"));
    assert!(!keys(at, &["list"]).await.contains("backend"));

    let printed = keys(at, &["create", "backend", "--scope", "devices:write"]).await;
    let first = secret(&printed);
    let id = first.split('_').nth(2).unwrap();
    assert!(keys(at, &["list"]).await.contains(id));
    let address = up
        .says("\"message\":\"the API listens\",\"address\":\"")
        .await;
    let client = Client::builder().no_proxy().build().unwrap();
    let status = async |key: Option<&str>| {
        let mut get = client.get(format!("http://{address}/v1/devices/d-1"));
        if let Some(key) = key {
            get = get.bearer_auth(key);
        }
        get.send().await.unwrap().status().as_u16()
    };
    let becomes = async |key: Option<&str>, code: u16| {
        let what = format!("{code}");
        eventually(&what, async || (status(key).await == code).then_some(())).await;
    };
    becomes(Some(&first), 200).await;
    assert_eq!(status(None).await, 401);

    let second = secret(&keys(at, &["rotate", id, "--overlap", "0s"]).await);
    becomes(Some(&second), 200).await;
    assert_eq!(status(Some(&first)).await, 401);
    keys(at, &["revoke", id]).await;
    becomes(Some(&second), 401).await;
    assert!(keys(at, &["list"]).await.contains("taken back"));
    let (code, _) = ran(own(at, &["keys", "rotate", id])).await;
    assert_eq!(
        code,
        Some(1),
        "what was taken back is not given another secret"
    );
    assert_eq!(status(None).await, 401, "nor is the time without keys back");

    let recorded = recorded(at, id).await;
    for secret in [&first, &second] {
        assert!(!recorded.contains(secret.rsplit('_').next().unwrap()));
        let letters = secret.rsplit('_').next().unwrap();
        assert!(!up.printed().contains(letters));
        assert_eq!(holding(at, letters), Vec::<String>::new());
    }
    // What is looked for would be found: the list shows the id, and the bucket has it.
    assert_ne!(holding(at, id), Vec::<String>::new());
}
