//! The processes of the demo: who runs, who was killed, and the end of all of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use fanfare_nats::permissions::Role;
use fanfare_nats_server::Environment;
use tempfile::TempDir;

use super::actor::{self, Actor};
use super::broker::{Broker, Held};
use super::configuration;
use super::outside::Outside;
use super::screen::Screen;
use super::{Demo, Sabotage};
use crate::config::Config;
use crate::exit::Failure;
use crate::users;

/// The roles' configuration, in the demo's folder.
const CONFIGURATION: &str = "fanfare.toml";
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that runs. Dropping it kills all of it.
pub(super) struct Stage {
    // In this order they are killed if nobody stopped them.
    roles: Mutex<Vec<Arc<Actor>>>,
    killed: Mutex<Vec<Arc<Actor>>>,
    outside: Outside,
    connection: fanfare_nats::Broker,
    broker: Broker,
    folder: TempDir,
    environment: Environment,
    client: reqwest::Client,
    sabotage: Option<Sabotage>,
}

impl Stage {
    /// Starts broker, sim and roles. The roles may still be loading.
    pub(super) async fn set(
        demo: &Demo,
        screen: &Screen,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("fanfare-demo-").tempdir();
        let folder = folder.context("cannot make a temporary folder")?;
        let at = folder.path();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build();
        let client = client.context("cannot make an HTTP client")?;
        let outside = async {
            let started = Outside::start(environment, at, client.clone()).await;
            started.map_err(Failure::from)
        };
        let binary = demo.nats_server.as_deref();
        let broker = Broker::start(binary, demo.cluster, environment, at, screen);
        let (outside, broker) = tokio::try_join!(outside, broker)?;
        let config = configure(at, &broker, &outside)?;
        let connection = broker.furnish(&config, environment).await?;
        let stage = Self {
            roles: Mutex::default(),
            killed: Mutex::default(),
            outside,
            connection,
            broker,
            folder,
            environment: environment.clone(),
            client,
            sabotage: demo.sabotage,
        };
        for (role, name) in [
            ("api", "api"),
            ("notifier", "notifier-1"),
            ("notifier", "notifier-2"),
            ("fetcher", "fetcher-1"),
            ("fetcher", "fetcher-2"),
        ] {
            stage.start(role, name)?;
        }
        Ok(stage)
    }

    /// Starts a role as a process of its own.
    pub(super) fn start(&self, role: &str, name: &str) -> anyhow::Result<Arc<Actor>> {
        let file = self.folder.path().join(CONFIGURATION);
        let launch = actor::launch(&self.environment)?
            .arg("--config")
            .arg(file)
            .env("FANFARE__PROCESS__NODE", name)
            .env("FANFARE__NATS__USER", role)
            .env("FANFARE__NATS__PASSWORD_FILE", self.password_file(role)?);
        let launch = match self.sabotage {
            Some(Sabotage::AckEarly) if role == "notifier" => {
                launch.args(["demo", "--sabotage", "ack-early", "--part", "notifier"])
            }
            Some(Sabotage::AckEarly) | None => launch.args(["up", role]),
        };
        let actor = Arc::new(Actor::start(name, launch, self.folder.path())?);
        locked(&self.roles).push(Arc::clone(&actor));
        Ok(actor)
    }

    /// Each role has a user of its own at the broker.
    fn password_file(&self, role: &str) -> anyhow::Result<PathBuf> {
        let user = Role::parse(role).with_context(|| format!("there is no role {role}"))?;
        Ok(users::password_file(self.folder.path(), user))
    }

    /// The roles that run, or should.
    pub(super) fn roles(&self) -> Vec<Arc<Actor>> {
        locked(&self.roles).clone()
    }

    /// The role of this name.
    pub(super) fn role(&self, name: &str) -> anyhow::Result<Arc<Actor>> {
        let found = self.roles().into_iter().find(|it| it.name() == name);
        found.with_context(|| format!("there is no {name}"))
    }

    /// Kills a role with SIGKILL. It is missed from now on, not mourned.
    pub(super) fn kill(&self, actor: &Arc<Actor>) -> anyhow::Result<()> {
        locked(&self.roles).retain(|it| !Arc::ptr_eq(it, actor));
        locked(&self.killed).push(Arc::clone(actor));
        actor.kill()
    }

    /// Who has ended although nobody wanted that.
    pub(super) fn casualty(&self) -> Option<String> {
        let roles = self.roles();
        let dead = roles.iter().find(|it| !it.is_running());
        if let Some(dead) = dead {
            return Some(dead.name().to_owned());
        }
        let sim = (!self.outside.actor().is_running()).then(|| "sim".to_owned());
        sim.or_else(|| self.broker.casualty())
    }

    /// Says whether warnings are to be expected from now on, because a server was killed.
    pub(super) fn expect_warnings(&self, are_expected: bool) {
        for role in self.roles() {
            role.expect_warnings(are_expected);
        }
    }

    /// Warnings that were expected.
    pub(super) fn n_expected_warnings(&self) -> usize {
        self.roles().iter().map(|it| it.n_expected_warnings()).sum()
    }

    /// The sim.
    pub(super) fn outside(&self) -> &Outside {
        &self.outside
    }

    /// The broker.
    pub(super) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// For requests to our own processes.
    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// What the broker holds now.
    pub(super) async fn held(&self) -> anyhow::Result<Held> {
        self.broker.held(&self.client, &self.connection).await
    }

    /// Where logs and ledger are.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder for whoever wants to look into it.
    pub(super) fn keep(&mut self) {
        self.folder.disable_cleanup(true);
    }

    /// Ends everything in order: roles drain, then the sim, the broker last. Returns what was wrong
    /// with that, and what the processes warned of.
    pub(super) async fn strike(&self) -> Vec<String> {
        let roles = self.roles();
        let ended = futures::future::join_all(roles.iter().map(|it| it.stop())).await;
        let mut complaints: Vec<String> = ended.into_iter().flatten().collect();
        complaints.extend(self.outside.actor().stop().await);
        if self.broker.stop().await {
            complaints.push("nats-server: did not end in time".to_owned());
        }
        let killed = locked(&self.killed).clone();
        let spoke = roles.iter().chain(&killed).map(AsRef::as_ref);
        for actor in spoke.chain([self.outside.actor()]) {
            complaints.extend(actor.warnings());
        }
        complaints
    }
}

/// Writes the roles' file, and reads it as they will.
fn configure(folder: &Path, broker: &Broker, outside: &Outside) -> Result<Config, Failure> {
    let text = configuration::roles(&broker.url(), broker.size(), outside.at());
    let text = text.context("the sim plays no providers")?;
    let file = folder.join(CONFIGURATION);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Config::load(Some(&file), &Environment::default(), &[])?)
}

/// No invariant spans a panic here, so a poisoned lock is as good as another.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
