//! A broker, doubles of the providers, publishers that never answer, and roles as processes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "support functions of tests"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats_server::process::{Child, Launch, Line, Output, Signal};
use fanfare_nats_server::{Download, Environment, Options, Server, obtain};
use fanfare_sim::ledger::{self, Entry, ProviderKind};
use fanfare_sim::{Latency, Sim, SimConfig};
use reqwest::Client;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Longer than anything here takes, shorter than anybody waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything outside the roles.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) sim: Sim,
    pub(crate) client: Client,
    folder: tempfile::TempDir,
    user: Option<&'static str>,
}

async fn start_server(options: Options) -> Server {
    let environment = Environment::of_process();
    let tell = |step: &_| eprintln!("{step}");
    let obtained = obtain(None, &environment, Download::Allowed, &tell).await;
    Server::start(&obtained.unwrap().path, options)
        .await
        .unwrap()
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::with(Options::ephemeral(), None).await
    }

    /// `user`: whom the roles connect as, where the broker knows several.
    pub(crate) async fn with(options: Options, user: Option<&'static str>) -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let server = start_server(options).await;
        let folder = tempfile::tempdir().unwrap();
        let mut config = SimConfig::in_folder(folder.path().join("sim"));
        config.fcm = None;
        Self {
            server,
            sim: Sim::start(config).await.unwrap(),
            client: Client::builder().no_proxy().build().unwrap(),
            folder,
            user,
        }
    }

    /// Whom the roles started from now on connect as.
    pub(crate) fn user(&mut self, user: &'static str) {
        self.user = Some(user);
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        self.sim
            .set_latency(ProviderKind::Apns, Latency::fixed(latency));
    }

    /// Replaces the broker by one that has nothing.
    pub(crate) async fn lose_the_broker(&mut self) {
        self.server.kill9().await.unwrap();
        self.server = start_server(Options::ephemeral()).await;
    }

    /// Runs a command to its end: exit code, and everything that was printed.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let command = self.start_command(arguments, "");
        let Some(status) = command.child.wait(PATIENCE).await else {
            panic!("{arguments:?} does not end: {}", command.printed());
        };
        (status.code(), command.printed())
    }

    /// Asks the broker itself, as its own command line would.
    pub(crate) async fn ask_broker(&self, subject: &str, payload: &str) -> serde_json::Value {
        let url = self.server.url();
        let mut stream = TcpStream::connect(url.trim_start_matches("nats://")).await;
        let stream = stream.as_mut().unwrap();
        let length = payload.len();
        let text = format!(
            "CONNECT {{\"verbose\": false}}\r\nSUB answer 1\r\n\
             PUB {subject} answer {length}\r\n{payload}\r\n"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("MSG ") {
                let answer = lines.next_line().await.unwrap().unwrap();
                return serde_json::from_str(&answer).unwrap();
            }
        }
        panic!("no answer to {subject}");
    }

    /// A path below this stage's folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn configuration(&self, sources: &str) -> PathBuf {
        let at = self.sim.whereabouts();
        let mut text = String::new();
        write!(
            text,
            "[notifier]\nconcurrency = 32\nwindow = 64\nstride = 16\n\
             [[app]]\nname = \"ios\"\nprovider = \"apns\"\nendpoint = \"https://{}\"\n\
             ca_file = \"{}\"\nkey_file = \"{}\"\nkey_id = \"{}\"\nteam_id = \"{}\"\n\
             bundle_id = \"org.example.app\"\n{sources}",
            at.apns.unwrap(),
            at.ca.display(),
            at.apns_key.display(),
            at.apns_key_id,
            at.apns_team_id
        )
        .unwrap();
        let file = self.folder.path().join("fanfare.toml");
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Starts roles as one process and waits until they are ready.
    pub(crate) async fn roles(&self, roles: &[&str], sources: &str) -> Roles {
        let roles = self.launch(roles, sources);
        roles.ready(&self.client).await;
        roles
    }

    /// Starts roles as one process.
    pub(crate) fn launch(&self, roles: &[&str], sources: &str) -> Roles {
        let mut arguments = vec!["up", "--manage", "auto"];
        arguments.extend(roles);
        self.start_command(&arguments, sources)
    }

    /// Starts a command that is told the broker and the configuration.
    fn start_command(&self, arguments: &[&str], sources: &str) -> Roles {
        let file = self.configuration(sources);
        let mut launch = Launch::new(env!("CARGO_BIN_EXE_fanfare"))
            .folder(self.folder.path())
            .args(arguments.iter().copied())
            .args(["--server", &self.server.url()])
            .arg("--config")
            .arg(file)
            .env("FANFARE__ADMIN__LISTEN", "127.0.0.1:0")
            .env("FANFARE__API__LISTEN", "127.0.0.1:0")
            .env("FANFARE__API__KEYS", "until_first")
            .env("FANFARE__LOG__FORMAT", "json")
            .env("FANFARE__NATS__ACK_WAIT_MS", "2000");
        if let Some(user) = self.user {
            launch = launch.args(["--user", user, "--password", user]);
        }
        for name in ["NATS_URL", "NATS_CONTEXT", "FANFARE_CONFIG", "RUST_LOG"] {
            launch = launch.env_remove(name);
        }
        let printed = Arc::<Mutex<Vec<String>>>::default();
        let record = Arc::clone(&printed);
        let listen = move |line: &Line| record.lock().unwrap().push(line.text().to_owned());
        let launch = launch.output(Output::Lines(Arc::new(listen)));
        let child = launch.start().unwrap();
        Roles { child, printed }
    }

    /// Registers so many devices for the topic `all`.
    pub(crate) async fn register(&self, api: SocketAddr, n: usize) {
        for device in 0..n {
            let document =
                format!(r#"{{"app": "ios", "token": "{device:064x}", "topics": ["all"]}}"#);
            let address = format!("http://{api}/v1/devices/d-{device}");
            let request = self.client.put(address).body(document);
            let request = request.header("content-type", "application/json");
            let answer = request.send().await.unwrap();
            let status = answer.status();
            assert!(status.is_success(), "{status}: {:?}", answer.text().await);
        }
    }

    /// Posts an event for the topic `all`; returns its event id.
    pub(crate) async fn post(&self, api: SocketAddr, id: &str) -> String {
        let request = self.client.post(format!("http://{api}/v1/events"));
        let request = request.header("content-type", "application/json");
        let answer = request.body(event(id)).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
        let answer = answer.text().await.unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["event"].as_str().unwrap().to_owned()
    }

    /// How often each device was sent each event: event id, token, count.
    pub(crate) fn sent(&self) -> BTreeMap<(String, String), usize> {
        self.sim.ledger().flush().unwrap();
        let path = self.sim.whereabouts().ledger.clone().unwrap();
        let mut sent = BTreeMap::new();
        for entry in ledger::read(&path).unwrap() {
            if let Entry::Request(request) = entry.unwrap() {
                let event = request.event.unwrap_or_default();
                *sent.entry((event, request.token)).or_default() += 1;
            }
        }
        sent
    }

    /// Requests that the double decided.
    pub(crate) fn deliveries(&self) -> u64 {
        self.sim.counts().deliveries
    }
}

pub(crate) fn event(id: &str) -> String {
    format!(r#"{{"id": "{id}", "topics": ["all"], "title": "{id}"}}"#)
}

/// Roles in one process.
pub(crate) struct Roles {
    pub(crate) child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Roles {
    pub(crate) fn printed(&self) -> String {
        self.printed.lock().unwrap().join("\n")
    }

    /// A field of the first log line with this message.
    async fn told(&self, message: &str, field: &str) -> String {
        eventually(message, async || {
            assert_eq!(self.child.status(), None, "{}", self.printed());
            let lines = self.printed.lock().unwrap().clone();
            lines.iter().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                let fields = &line["fields"];
                let text = fields["message"].as_str().or(line["message"].as_str())?;
                let value = fields[field].as_str().or(line[field].as_str())?;
                (text == message).then(|| value.to_owned())
            })
        })
        .await
    }

    pub(crate) async fn api(&self) -> SocketAddr {
        let address = self.told("the API listens", "address").await;
        address.parse().unwrap()
    }

    async fn ready(&self, client: &Client) {
        let admin = self.told("starting", "admin").await;
        let ready = format!("http://{admin}/readyz");
        eventually("ready", async || {
            assert_eq!(self.child.status(), None, "{}", self.printed());
            let answer = client.get(&ready).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// The sum of a metric's values.
    pub(crate) async fn metric(&self, client: &Client, name: &str) -> f64 {
        let admin = self.told("starting", "admin").await;
        let answer = client.get(format!("http://{admin}/metrics")).send().await;
        let text = answer.unwrap().text().await.unwrap();
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        let values = lines.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// Waits until a metric has reached a value.
    pub(crate) async fn reaches(&self, client: &Client, name: &str, least: f64) {
        eventually(name, async || {
            (self.metric(client, name).await >= least).then_some(())
        })
        .await;
    }

    /// Sends a signal; how long until the end, and the exit code.
    pub(crate) async fn ends(&self, signal: Signal) -> (Duration, Option<i32>) {
        let begun = Instant::now();
        self.child.signal(signal).unwrap();
        let Some(status) = self.child.wait(PATIENCE).await else {
            panic!("still running: {}", self.printed());
        };
        (begun.elapsed(), status.code())
    }

    /// Checks that a signal drains the process, and how soon.
    #[track_caller]
    pub(crate) fn drains(&self, signal: Signal, within: Duration) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let (took, code) = self.ends(signal).await;
            println!("{caller}: ended after {took:?}");
            assert_eq!(code, Some(0), "{caller}: {}", self.printed());
            assert!(took < within, "{caller}: {took:?}: {}", self.printed());
        }
    }
}

/// A publisher that takes connections and requests, and never says a word.
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    asked: tokio::sync::watch::Receiver<usize>,
    _serving: JoinSet<()>,
}

impl Silent {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, asked) = tokio::sync::watch::channel(0);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _n_bytes = stream.read(&mut head).await;
                connections.push(stream);
                told.send_modify(|n| *n += 1);
            }
        });
        Self {
            address,
            asked,
            _serving: serving,
        }
    }

    pub(crate) async fn asked(&self) {
        let mut asked = self.asked.clone();
        let waiting = asked.wait_for(|n| *n > 0);
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "nobody asked");
    }
}

/// A client of the API that sends byte by byte.
pub(crate) struct Slow(TcpStream);

impl Slow {
    pub(crate) async fn connect(api: SocketAddr) -> Self {
        Self(TcpStream::connect(api).await.unwrap())
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// What comes until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = String::new();
        let read = self.0.read_to_string(&mut text);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        text
    }

    /// One answer on a connection that stays open.
    pub(crate) async fn answer(&mut self) -> String {
        let mut bytes = vec![0; 4096];
        let n = self.0.read(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    }
}
