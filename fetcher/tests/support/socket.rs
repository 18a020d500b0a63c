//! A WebSocket server whose frames a test sends, and which remembers what it was sent.

use std::sync::{Arc, Mutex};

use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

/// What a test makes the server do to every open socket.
#[derive(Clone, Debug)]
pub enum Act {
    Send(Message),
    /// Ends the connection without a goodbye.
    Cut,
}

/// The server; it ends when it is dropped.
pub struct Socket {
    pub url: String,
    acts: broadcast::Sender<Act>,
    heard: Arc<Mutex<Vec<Message>>>,
    _task: JoinSet<()>,
}

impl Socket {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let (acts, _) = broadcast::channel(4096);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        let (to_all, seen) = (acts.clone(), Arc::clone(&heard));
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, to_all.clone(), Arc::clone(&seen)));
            }
        });
        Self {
            url,
            acts,
            heard,
            _task: task,
        }
    }

    /// How many sockets are open.
    pub fn n_open(&self) -> usize {
        self.acts.receiver_count()
    }

    pub fn send(&self, frame: impl Into<Message>) {
        self.acts.send(Act::Send(frame.into())).unwrap();
    }

    pub fn cut(&self) {
        self.acts.send(Act::Cut).unwrap();
    }

    pub fn heard(&self) -> Vec<Message> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, acts: broadcast::Sender<Act>, heard: Arc<Mutex<Vec<Message>>>) {
    let Ok(mut socket) = accept_async(stream).await else {
        return;
    };
    let mut acts = acts.subscribe();
    loop {
        tokio::select! {
            act = acts.recv() => match act {
                Ok(Act::Send(message)) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                Ok(Act::Cut) | Err(_) => return,
            },
            message = socket.next() => match message {
                Some(Ok(message)) => heard.lock().unwrap().push(message),
                Some(Err(_)) | None => return,
            },
        }
    }
}
