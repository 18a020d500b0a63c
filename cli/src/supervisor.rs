//! What a service manager is told, as `sd_notify(3)` has it: that the process is ready, why it is not
//! yet, that it stops, and that it lives.

use std::convert::Infallible;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use fanfare_nats::Readiness;
use fanfare_nats_server::Environment;

/// How often the conditions are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The service manager that started this process.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: UnixDatagram,
    look_every: Duration,
}

impl Supervisor {
    /// The one that the environment names. Without one, or if it cannot be reached, nobody is told.
    pub(crate) fn of(environment: &Environment) -> Option<Self> {
        let name = environment.text("NOTIFY_SOCKET")?;
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect_addr(&address(name).ok()?).ok()?;
        // A manager that does not read must not hold this process.
        socket.set_nonblocking(true).ok()?;
        let watchdog = environment.text("WATCHDOG_USEC");
        let watchdog = watchdog.and_then(|it| it.parse().ok());
        let watchdog = watchdog.map(|it| Duration::from_micros(it) / 2);
        Some(Self {
            socket,
            look_every: watchdog.map_or(LOOK_EVERY, |it| it.min(LOOK_EVERY)),
        })
    }

    /// Tells what is told until it is dropped. That it runs at all says that the process lives.
    pub(crate) async fn follow(&self, readiness: &Readiness) -> Infallible {
        let mut last = String::new();
        let mut was_ready = false;
        loop {
            let mut text = "WATCHDOG=1\n".to_owned();
            let (status, is_draining) = status(readiness);
            if !was_ready && readiness.is_ready() {
                was_ready = true;
                text.push_str("READY=1\n");
            }
            if status != last {
                if is_draining {
                    text.push_str("STOPPING=1\n");
                }
                text.push_str("STATUS=");
                text.push_str(&status);
                last = status;
            }
            // Whoever does not listen cannot be told.
            let _told = self.socket.send(text.as_bytes());
            tokio::time::sleep(self.look_every).await;
        }
    }
}

/// A path, or on Linux a name that is in no folder.
fn address(name: &str) -> std::io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    SocketAddr::from_pathname(name)
}

/// In one line: what is waited for.
fn status(readiness: &Readiness) -> (String, bool) {
    let is_draining = readiness.conditions().iter().any(|(name, state)| {
        let why = state.as_ref().err();
        *name == "running" && why.is_some_and(|it| it.starts_with("draining"))
    });
    let waits_for = readiness.waits_for().map(|it| it.replace('\n', " "));
    (waits_for.unwrap_or_else(|| "ready".to_owned()), is_draining)
}

/// Tells a supervisor, if there is one, for as long as this is waited for.
pub(crate) async fn tell(supervisor: Option<&Supervisor>, readiness: &Readiness) -> Infallible {
    match supervisor {
        Some(supervisor) => supervisor.follow(readiness).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_manager_hears_what_is_waited_for_then_ready_once_then_the_stop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = tokio::net::UnixDatagram::bind(&path).unwrap();
        let environment = Environment::default()
            .with("NOTIFY_SOCKET", &path)
            .with("WATCHDOG_USEC", "20000");
        let supervisor = Supervisor::of(&environment).unwrap();
        let readiness = Readiness::new();
        readiness.unmet("nats", "not connected yet");
        let until = async |part: &str| {
            let mut bytes = [0; 1024];
            loop {
                let n = manager.recv(&mut bytes).await.unwrap();
                let text = String::from_utf8_lossy(bytes.get(..n).unwrap()).into_owned();
                assert!(text.starts_with("WATCHDOG=1\n"), "{text}");
                if text.contains(part) {
                    return text;
                }
                assert!(!text.contains("READY"), "{text}");
            }
        };
        let told = async {
            until("STATUS=nats: not connected yet").await;
            readiness.met("nats");
            assert!(until("READY=1").await.contains("STATUS=ready"));
            readiness.unmet("running", "draining");
            until("STOPPING=1").await;
        };
        tokio::select! {
            () = told => {}
            never = supervisor.follow(&readiness) => match never {},
        }
        assert!(Supervisor::of(&Environment::default()).is_none());
    }
}
