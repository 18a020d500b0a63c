//! This process among all: its host and its node, as the broker and other people see them.

use fanfare_nats::ConnectOptions;
use fanfare_nats_server::Environment;
use jiff::Timestamp;
use rand::Rng;

use crate::config::Config;
use crate::supervisor::Supervisor;

/// This process among all.
pub(crate) struct Process {
    host: String,
    node: String,
    weight: u32,
    started: Timestamp,
    supervisor: Option<Supervisor>,
}

impl Process {
    /// The configured node, or one that no other process has.
    pub(crate) fn new(config: &Config, environment: &Environment) -> Self {
        let node = config.own.process.node.clone();
        let node = node.unwrap_or_else(|| format!("{:08x}", rand::rng().random::<u32>()));
        // A name in lists; any will do.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = host.or_else(|| environment.text("HOSTNAME").map(str::to_owned));
        let host = host
            .map(|it| it.trim().to_owned())
            .filter(|it| !it.is_empty());
        Self {
            host: host.unwrap_or_else(|| "host".to_owned()),
            node,
            weight: config.own.process.weight.unwrap_or(1),
            started: crate::clock::now(),
            supervisor: Supervisor::of(environment),
        }
    }

    /// Its name among its kind.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// The service manager that started it.
    pub(super) fn supervisor(&self) -> Option<&Supervisor> {
        self.supervisor.as_ref()
    }

    /// The options as `role` connects with them.
    pub(super) fn introduce(&self, options: &ConnectOptions, role: &str) -> ConnectOptions {
        let mut options = options.clone();
        options.name = format!("fanfare-{role}/{}/{}", self.host, self.node);
        options.node.clone_from(&self.node);
        options.host.clone_from(&self.host);
        options.version = crate::telemetry::version();
        options.weight = self.weight;
        options.started = Some(self.started);
        if options.inbox_prefix.is_empty() {
            options.inbox_prefix = crate::users::inbox_prefix(&options, role);
        }
        options
    }
}
