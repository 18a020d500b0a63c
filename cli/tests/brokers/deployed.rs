//! The configurations of `deploy/nats`, started by a real nats-server with real TLS, with fanfare's
//! streams on them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support functions of tests"
)]

use std::time::Duration;

use fanfare_nats_server::{Cluster, Options, Server};
use serde_json::Value;

use crate::fanfare::{Fanfare, binary, command, eventually, pushes, ran};
use crate::shipped::{Machine, Shipped, password};

#[tokio::test]
async fn every_file_passes_the_servers_own_check() {
    let shipped = Shipped::new(binary().await);
    for file in ["single.conf", "node.conf", "witness.conf"] {
        let (is_valid, said) = shipped.check(file).await;
        assert!(is_valid, "{file}: {said:#?}");
    }
}

/// What a server says of itself that may not differ between development and production.
fn settings(page: &Value) -> Value {
    serde_json::json!({
        "max_pending": page["max_pending"],
        "ping_interval": page["ping_interval"],
        "ping_max": page["ping_max"],
        "max_payload": page["max_payload"],
        "write_deadline": page["write_deadline"],
        "max_control_line": page["max_control_line"],
        "sync_always": page["jetstream"]["config"]["sync_always"],
        "sync_interval": page["jetstream"]["config"]["sync_interval"],
        "strict": page["jetstream"]["config"]["strict"],
        "cluster": page["cluster"]["name"],
        "auth_required": page["auth_required"],
        "lame_duck": LAME_DUCK,
    })
}

/// No page tells it: it is looked for in the text.
const LAME_DUCK: &str = "lame_duck_duration: \"30s\"";

/// The page of a server that fanfare starts itself.
async fn own(server: &Server) -> Value {
    let text = std::fs::read_to_string(server.store_dir().join("nats-server.conf")).unwrap();
    assert!(text.contains(LAME_DUCK), "{text}");
    let url = format!("{}/varz", server.monitoring_url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let text = client.get(url).send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn what_is_shipped_runs_with_the_settings_of_what_up_starts() {
    let binary = binary().await;
    let options = Options {
        extra: "authorization { user: a, password: b }\n".into(),
        ..Options::default()
    };
    let shipped = Shipped::new(binary.clone());
    let one = Server::start(&binary, options.clone()).await.unwrap();
    let single = shipped.single(&[]).await;
    assert_eq!(
        settings(&single.page("varz").await),
        settings(&own(&one).await)
    );
    drop((one, single));

    let cluster = Cluster::start(&binary, 3, &options).await.unwrap();
    let machines = shipped
        .three(["node.conf", "node.conf", "witness.conf"])
        .await;
    let expected = settings(&own(&cluster.servers()[0]).await);
    for machine in &machines {
        assert_eq!(settings(&machine.page("varz").await), expected);
    }
    assert_eq!(expected["sync_always"], true, "{expected:#}");
    for file in ["single.conf", "node.conf", "witness.conf"] {
        let text = std::fs::read_to_string(shipped.path().join("nats-1").join(file)).unwrap();
        assert!(text.contains(LAME_DUCK), "{file}");
    }
}

#[tokio::test]
async fn a_single_server_takes_the_streams_with_fetchers_apart() {
    let shipped = Shipped::new(binary().await);
    let edits = [("include accounts.conf", "include accounts-isolated.conf")];
    let single = shipped.single(&edits).await;
    let url = format!("nats://127.0.0.1:{}", single.client_port);
    let owner = [
        "--server",
        &url,
        "--user",
        "owner",
        "--password",
        &password("owner"),
    ];
    for action in ["apply", "verify"] {
        let arguments = [&["admin", action], &owner[..]].concat();
        let (code, printed) = ran(command(shipped.path(), &arguments)).await;
        assert_eq!(code, Some(0), "{printed}");
    }
    let wrong = [
        "admin",
        "verify",
        "--server",
        &url,
        "--user",
        "owner",
        "--password",
        "wrong",
    ];
    let (code, printed) = ran(command(shipped.path(), &wrong)).await;
    assert!(
        code != Some(0) && printed.contains("authorization violation"),
        "{printed}"
    );
}

struct Room<'a> {
    shipped: &'a Shipped,
    url: String,
}

impl Room<'_> {
    fn arguments(&self, words: &[&str], role: &str) -> Vec<String> {
        let (ca, password) = (self.shipped.ca(), password(role));
        let connection = [
            "--server",
            &self.url,
            "--tlsca",
            &ca,
            "--user",
            role,
            "--password",
            &password,
        ];
        words
            .iter()
            .chain(&connection)
            .map(|it| (*it).to_owned())
            .collect()
    }

    async fn ran(&self, words: &[&str], role: &str) -> (Option<i32>, String) {
        let arguments = self.arguments(words, role);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        ran(command(self.shipped.path(), &arguments).env("FANFARE__NATS__REPLICAS", "3")).await
    }

    fn role(&self, role: &str) -> Fanfare {
        let arguments = self.arguments(&["up", role], role);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let launch = command(self.shipped.path(), &arguments);
        Fanfare::start(launch.env("FANFARE__NATS__REPLICAS", "3"))
    }
}

/// The fewest copies of a stream, as a machine knows it that may hear of them a moment later.
async fn replicas(machine: &Machine) -> Option<u64> {
    let page = machine.page("jsz?streams=true&config=true").await;
    let streams = page["account_details"][0]["stream_detail"].as_array()?;
    let of = |it: &Value| it["config"]["num_replicas"].as_u64().unwrap();
    streams.iter().map(of).min()
}

#[tokio::test]
async fn two_machines_and_a_witness_lose_a_machine_and_carry_on_over_tls() {
    let shipped = Shipped::new(binary().await);
    let machines = shipped
        .three(["node.conf", "node.conf", "witness.conf"])
        .await;
    let url = |it: &Machine| format!("tls://127.0.0.1:{}", it.client_port);
    // The witness serves no clients, and is not named.
    let room = Room {
        shipped: &shipped,
        url: format!("{},{}", url(&machines[0]), url(&machines[1])),
    };
    let (code, printed) = room.ran(&["admin", "apply"], "owner").await;
    assert_eq!(code, Some(0), "{printed}");
    eventually("the witness holds everything", async || {
        let fewest = replicas(&machines[2]).await;
        (fewest == Some(3)).then_some(())
    })
    .await;
    let strangers = shipped.intruder(&machines, &[]).await;
    eventually(
        "a server with another password is turned away",
        async || {
            let log = machines[0].log() + &machines[1].log() + &machines[2].log();
            log.to_lowercase()
                .contains("authentication error")
                .then_some(())
        },
    )
    .await;
    drop(strangers);

    let (api, notifier) = (room.role("api"), room.role("notifier"));
    api.register("d-1").await;
    notifier.says("notifier takes events and tasks").await;
    api.post("before").await;
    eventually("a push", async || {
        (pushes(shipped.path(), "before") == 1).then_some(())
    })
    .await;

    let [one, two, witness] = machines;
    drop(one);
    api.post("after").await;
    eventually("a push", async || {
        (pushes(shipped.path(), "after") == 1).then_some(())
    })
    .await;
    drop(two);
    // One of three is left: nothing is accepted, and nothing is lost.
    let left = witness.page("healthz").await;
    assert!(
        left["status"] == "ok" || left["error"].is_string(),
        "{left}"
    );
    drop((api, notifier));
    tokio::time::timeout(
        Duration::from_secs(20),
        witness.child.stop(Duration::from_secs(10)),
    )
    .await
    .unwrap();
}
