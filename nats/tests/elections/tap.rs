//! A proxy between one client and one server that holds at a chosen moment of the conversation, or
//! lies about an answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What the proxy does, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Keeps the so-many-th message of a batch, and what follows it, from the server.
    Before(u32),
    /// Passes this message of a batch on, and keeps the answers from the client.
    After(u32),
    /// Turns each 10158 into an acknowledgement, as a client would that takes it for one.
    Lie,
}

#[derive(Debug)]
struct State {
    hold: Hold,
    is_held: watch::Sender<bool>,
    is_released: watch::Sender<bool>,
    n_lies: AtomicU64,
    n_incomplete: AtomicU64,
}

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Tap {
    address: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

impl Tap {
    /// Listens on 127.0.0.1 and passes on to the server at `url`.
    pub(crate) async fn start(url: &str, hold: Hold) -> Self {
        let target: SocketAddr = url.trim_start_matches("nats://").parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            hold,
            is_held: watch::Sender::new(false),
            is_released: watch::Sender::new(false),
            n_lies: AtomicU64::new(0),
            n_incomplete: AtomicU64::new(0),
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let accepting = accept(
            listener,
            target,
            Arc::clone(&state),
            tasks.clone(),
            stop.clone(),
        );
        let token = stop.clone();
        tasks.spawn(async move { token.run_until_cancelled(accepting).await });
        Self {
            address,
            state,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Waits until the chosen moment has come.
    pub(crate) async fn held(&self) {
        let mut is_held = self.state.is_held.subscribe();
        is_held.wait_for(|it| *it).await.unwrap();
    }

    /// Lets everything pass from now on.
    pub(crate) fn release(&self) {
        self.state.is_released.send_replace(true);
    }

    /// Batches that were refused because their leader had changed (10176).
    pub(crate) fn n_incomplete(&self) -> u64 {
        self.state.n_incomplete.load(Ordering::Relaxed)
    }

    /// Answers that were turned into acknowledgements.
    pub(crate) fn n_lies(&self) -> u64 {
        self.state.n_lies.load(Ordering::Relaxed)
    }
}

impl State {
    async fn hold(&self) {
        self.is_held.send_replace(true);
        let mut is_released = self.is_released.subscribe();
        is_released.wait_for(|it| *it).await.unwrap();
    }

    fn is_free(&self) -> bool {
        *self.is_released.borrow()
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    state: Arc<State>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    while let Ok((client, _)) = listener.accept().await {
        let (state, stop) = (Arc::clone(&state), stop.clone());
        tasks.spawn(async move {
            let Ok(server) = TcpStream::connect(target).await else {
                return; // Dropped, and so closed: the client looks for another server.
            };
            for socket in [&client, &server] {
                let _gone = socket.set_nodelay(true);
            }
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = pass(from_client, to_server, |it| ask(&state, it)) => {}
                () = pass(from_server, to_client, |it| answer(&state, it)) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// Passes whole commands on, each after `look` has seen it; two answers of `look` are what goes
/// out instead of it, and whether to wait after it.
async fn pass<F: Future<Output = Option<Vec<u8>>>>(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    look: impl Fn(Vec<u8>) -> F,
) {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut piece).await {
        bytes.extend_from_slice(&piece[..n]);
        while let Some(length) = command(&bytes) {
            let whole: Vec<u8> = bytes.drain(..length).collect();
            let Some(whole) = look(whole).await else {
                continue;
            };
            if to.write_all(&whole).await.is_err() {
                return;
            }
        }
    }
}

/// Length of the first command, if it is complete.
fn command(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|it| it == b"\r\n")? + 2;
    let text = std::str::from_utf8(&bytes[..line]).unwrap_or_default();
    let has_body = ["PUB ", "HPUB ", "MSG ", "HMSG "];
    let length = if has_body.iter().any(|it| text.starts_with(it)) {
        let body: usize = text.split_whitespace().next_back()?.parse().ok()?;
        line + body + 2
    } else {
        line
    };
    (bytes.len() >= length).then_some(length)
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|it| it == text.as_bytes())
}

async fn ask(state: &State, command: Vec<u8>) -> Option<Vec<u8>> {
    let is_message = |n: u32| has(&command, &format!("Nats-Batch-Sequence: {n}\r\n"));
    match state.hold {
        Hold::Before(n) if !state.is_free() && is_message(n) => state.hold().await,
        Hold::After(n) if !state.is_free() && is_message(n) => {
            state.is_held.send_replace(true);
        }
        Hold::Before(_) | Hold::After(_) | Hold::Lie => {}
    }
    Some(command)
}

async fn answer(state: &State, command: Vec<u8>) -> Option<Vec<u8>> {
    if has(&command, "\"err_code\":10176") {
        state.n_incomplete.fetch_add(1, Ordering::Relaxed);
    }
    match state.hold {
        // Answers to the messages before do not come while one is held, so none is held too early.
        Hold::After(_) if !state.is_free() && *state.is_held.borrow() => state.hold().await,
        Hold::Lie if has(&command, "\"err_code\":10158") => {
            state.n_lies.fetch_add(1, Ordering::Relaxed);
            let line = command.windows(2).position(|it| it == b"\r\n")? + 2;
            let body = command.len() - line - 2;
            let words = r#"{"stream":"FANFARE_EVENTS","seq":1,"duplicate":true}"#;
            let mut answer = command[..line].to_vec();
            answer.extend(format!("{words:body$}\r\n").into_bytes());
            return Some(answer);
        }
        Hold::Before(_) | Hold::After(_) | Hold::Lie => {}
    }
    Some(command)
}
