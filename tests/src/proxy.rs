//! A TCP proxy in front of the broker that cuts, stalls and slows what passes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What the proxy does to everything that passes, open connections included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Fair,
    /// Connections stay open and nothing arrives; it arrives later, in order, if it clears up.
    Stalled,
    /// Each piece is late by so much, in both directions.
    Slow(Duration),
    /// Open connections are cut, new ones are cut at once.
    Cut,
}

/// Which way something passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From who connected to the target.
    There,
    /// Answers.
    Back,
}

/// There and back.
type Both = [Weather; 2];

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Both>,
    _stop: DropGuard,
}

impl Proxy {
    /// Listens on 127.0.0.1 and passes on to `target`.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn start(target: SocketAddr) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), target).await
    }

    /// Listens there and passes on to `target`.
    ///
    /// # Panics
    /// If it cannot listen there.
    pub async fn at(listen: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let weather = watch::Sender::new([Weather::Fair; 2]);
        let stop = CancellationToken::new();
        let (tasks, seen, token) = (TaskTracker::new(), weather.subscribe(), stop.clone());
        let accepting = accept(listener, target, seen, tasks.clone());
        tasks.spawn(async move { token.run_until_cancelled(accepting).await });
        Self {
            address,
            weather,
            _stop: stop.drop_guard(),
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather, at once.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace([weather; 2]);
    }

    /// Changes the weather of one direction, at once.
    pub fn set_one(&self, direction: Direction, weather: Weather) {
        self.weather
            .send_modify(|it| it[direction as usize] = weather);
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    weather: watch::Receiver<Both>,
    tasks: TaskTracker,
) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if weather.borrow().contains(&Weather::Cut) {
            continue; // Dropped, and so closed.
        }
        let mut seen = weather.clone();
        let pass = pass(client, target, weather.clone());
        // The end of the proxy closes the weather's sender, which ends this too.
        tasks.spawn(async move {
            tokio::select! {
                () = pass => {}
                _ = seen.wait_for(|it| it.contains(&Weather::Cut)) => {}
            }
        });
    }
}

async fn pass(client: TcpStream, target: SocketAddr, weather: watch::Receiver<Both>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    for socket in [&client, &server] {
        // Fails for a connection that is gone, which the copying finds out.
        let _gone = socket.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = copy(from_client, to_server, weather.clone(), Direction::There) => {}
        () = copy(from_server, to_client, weather, Direction::Back) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Both>,
    direction: Direction,
) {
    let its = |it: &Both| it[direction as usize];
    let mut piece = vec![0; 64 * 1024];
    loop {
        let Ok(n @ 1..) = from.read(&mut piece).await else {
            return;
        };
        let now = its(&weather.borrow());
        match now {
            Weather::Fair | Weather::Cut => {}
            Weather::Slow(late) => tokio::time::sleep(late).await,
            Weather::Stalled => {
                if weather
                    .wait_for(|it| its(it) != Weather::Stalled)
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
        if to.write_all(&piece[..n]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(100);

    /// A server that says everything back, behind a proxy, and a connection to it.
    async fn echo() -> (Proxy, TcpStream, TaskTracker) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let tasks = TaskTracker::new();
        tasks.spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (mut read, mut write) = socket.split();
            let _end = tokio::io::copy(&mut read, &mut write).await;
        });
        let proxy = Proxy::start(at).await;
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        (proxy, client, tasks)
    }

    #[tokio::test]
    async fn what_is_stalled_arrives_when_it_clears_up() {
        let (proxy, mut client, _server) = echo().await;
        proxy.set(Weather::Stalled);
        client.write_all(b"a").await.unwrap();
        let mut answer = [0];
        assert!(timeout(SOON, client.read_exact(&mut answer)).await.is_err());
        proxy.set(Weather::Fair);
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"a");
    }

    #[tokio::test]
    async fn a_cut_closes_what_is_open() {
        let (proxy, mut client, _server) = echo().await;
        client.write_all(b"a").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
        proxy.set(Weather::Cut);
        assert!(!matches!(client.read(&mut [0]).await, Ok(1..)));
        let mut again = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(!matches!(again.read(&mut [0]).await, Ok(1..)));
    }
}
