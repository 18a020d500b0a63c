//! A connection that speaks the protocol by hand: what the server says to one request is heard
//! before its answer to the next ping, so nothing here waits for a silence.

use std::time::Duration;

use fanfare_nats::permissions::Role;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::super::support::eventually;

/// What the server said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A permissions violation.
    Denied,
    /// An answer, be it an error of JetStream's: somebody listens there.
    Answer,
    /// Neither.
    Nothing,
}

pub(super) struct Line {
    stream: BufReader<TcpStream>,
    inbox: String,
    n: u32,
}

impl Line {
    pub(super) async fn connect(url: &str, role: Role, password: &str) -> Self {
        let address = url.strip_prefix("nats://").unwrap();
        let mut line = Self {
            stream: BufReader::new(TcpStream::connect(address).await.unwrap()),
            inbox: format!("{}.line", role.inbox_prefix()),
            n: 0,
        };
        let user = role.name();
        let connect = format!(
            "CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"verbose\":false,\"pedantic\":false,\
             \"headers\":true,\"no_responders\":true}}\r\nSUB {}.* 1\r\n",
            line.inbox
        );
        line.write(&connect).await;
        assert_eq!(line.until_pong().await, Heard::Nothing, "{user} is let in");
        line
    }

    /// A request, whose answer is waited for unless it is denied.
    pub(super) async fn ask(&mut self, subject: &str, payload: &str) -> Heard {
        self.n += 1;
        let (inbox, n, len) = (self.inbox.clone(), self.n, payload.len());
        let request = format!("PUB {subject} {inbox}.{n} {len}\r\n{payload}\r\n");
        self.write(&request).await;
        match self.until_pong().await {
            Heard::Nothing => self.message().await,
            heard @ (Heard::Denied | Heard::Answer) => heard,
        }
    }

    /// Asks until somebody listens there, who answers.
    pub(super) async fn ask_until_answered(&mut self, subject: &str) {
        let asked = eventually(async || {
            self.n += 1;
            let (inbox, n) = (self.inbox.clone(), self.n);
            self.write(&format!("PUB {subject} {inbox}.{n} 0\r\n\r\n"))
                .await;
            let mut heard = self.until_pong().await;
            if heard == Heard::Nothing {
                let next = tokio::time::timeout(Duration::from_millis(200), self.message()).await;
                heard = next.unwrap_or(Heard::Nothing);
            }
            if heard == Heard::Answer {
                Ok(())
            } else {
                Err(heard)
            }
        });
        asked.await;
    }

    /// A request whose answer is sent to another subject.
    pub(super) async fn ask_for(&mut self, subject: &str, reply: &str) -> Heard {
        self.write(&format!("PUB {subject} {reply} 0\r\n\r\n"))
            .await;
        self.until_pong().await
    }

    /// A message that nobody answers.
    pub(super) async fn tell(&mut self, subject: &str) -> Heard {
        self.write(&format!("PUB {subject} 0\r\n\r\n")).await;
        self.until_pong().await
    }

    /// A subscription, which is given up at once.
    pub(super) async fn subscribe(&mut self, subject: &str) -> Heard {
        self.write(&format!("SUB {subject} 9\r\n")).await;
        let heard = self.until_pong().await;
        self.write("UNSUB 9\r\n").await;
        heard
    }

    async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let n = self.stream.read_line(&mut line).await.unwrap();
        assert!(n > 0, "the server hung up");
        line.trim_end().to_owned()
    }

    async fn until_pong(&mut self) -> Heard {
        self.write("PING\r\n").await;
        let mut heard = Heard::Nothing;
        loop {
            let line = self.line().await;
            if line == "PONG" {
                return heard;
            }
            match self.take(&line).await {
                Heard::Nothing => {}
                told @ (Heard::Denied | Heard::Answer) => heard = told,
            }
        }
    }

    async fn message(&mut self) -> Heard {
        let look = async {
            loop {
                let line = self.line().await;
                let heard = self.take(&line).await;
                if heard != Heard::Nothing {
                    return heard;
                }
            }
        };
        let limit = std::time::Duration::from_secs(10);
        tokio::time::timeout(limit, look)
            .await
            .unwrap_or(Heard::Nothing)
    }

    async fn take(&mut self, line: &str) -> Heard {
        if line.contains("Permissions Violation") {
            return Heard::Denied;
        }
        assert!(!line.starts_with("-ERR"), "{line}");
        if !line.starts_with("MSG ") && !line.starts_with("HMSG ") {
            return Heard::Nothing; // INFO or PING.
        }
        let n: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        let mut body = vec![0; n + 2];
        self.stream.read_exact(&mut body).await.unwrap();
        let is_live_view = line.split(' ').nth(2) == Some("9");
        let is_nobody = body.starts_with(b"NATS/1.0 503");
        if is_live_view || is_nobody {
            Heard::Nothing
        } else {
            Heard::Answer
        }
    }
}
