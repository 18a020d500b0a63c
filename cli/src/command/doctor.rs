//! `fanfare doctor`: looks at everything that an operator can get wrong, changes nothing, and says
//! what to do about each finding.

mod monitoring;
mod plan;
mod show;

use clap::Args;
use fanfare_nats::connect::ConnectError;
use fanfare_nats::permissions::Role;
use fanfare_nats::survey::{self, Expected, Finding, Severity};
use fanfare_nats::{Broker, ConnectOptions};
use fanfare_nats_server::Environment;

use super::{Common, reach};
use crate::config::Config;
use crate::connect::{NatsFlags, UserFlags};
use crate::exit::Failure;
use crate::roles::{self, Process};
use crate::users;

#[derive(Args)]
pub(crate) struct Doctor {
    /// Exercises the permissions of this role, without effect: fetcher, notifier, api, ops, auditor
    /// or owner [default: whom the user is named after]
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<Role>,
    /// Estimates disk and memory before anything is installed, without a connection, for example
    /// devices=1e6,events/day=100; also audience (devices an event concerns), apps, replicas
    #[arg(long, value_name = "LOAD")]
    plan: Option<String>,
    /// Monitoring addresses of the nats-servers, for what clients cannot see: sync_interval,
    /// max_pending, disk; for example http://nats-1:8222,http://nats-2:8222
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    monitoring: Vec<String>,
    /// One object of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    nats: NatsFlags,
    #[command(flatten)]
    user: UserFlags,
}

fn role(word: &str) -> Result<Role, String> {
    Role::parse(word).ok_or_else(|| {
        let words = Role::ALL.map(Role::name).join(", ");
        format!("there is {words}")
    })
}

impl Doctor {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let config = common.load(environment)?;
        if let Some(load) = &self.plan {
            return plan::run(load, &config, self.json);
        }
        let connection = self.role.map_or("doctor", Role::name);
        let nats = self.nats.with_user(self.user.user, self.user.password);
        let mut options = reach::options(&nats, &config, environment, connection)?;
        let user = options.user.as_ref();
        let named = user.and_then(|(user, _)| Role::parse(user));
        let process = Process::new(&config, environment);
        if options.inbox_prefix.is_empty() {
            options.inbox_prefix = users::inbox_prefix(&options, connection);
        }
        let patient = Patient {
            config: &config,
            options,
            role: self.role.or(named),
        };
        let mut findings = match roles::connect(patient.options.clone(), "doctor", &process).await {
            Ok(broker) => patient.examine(&broker).await?,
            Err(refused) => vec![refusal(refused)?],
        };
        findings.extend(monitoring::findings(&self.monitoring).await);
        print!("{}", show::findings(&findings, self.json));
        match findings
            .iter()
            .filter(|it| it.severity == Severity::Trouble)
            .count()
        {
            0 => Ok(()),
            1 => Err(anyhow::anyhow!("one of the findings is trouble").into()),
            n => Err(anyhow::anyhow!("{n} of the findings are trouble").into()),
        }
    }
}

/// Why there is no connection, as a finding; other failures stay failures.
fn refusal(failure: Failure) -> Result<Finding, Failure> {
    match failure {
        Failure::Failed(error) | Failure::NoServer(error) => {
            match error.downcast_ref::<ConnectError>() {
                Some(cause) => Ok(survey::of_refusal(cause)),
                None => Err(Failure::Failed(error)),
            }
        }
        other @ (Failure::Usage(_) | Failure::Configuration(_) | Failure::Code { .. }) => {
            Err(other)
        }
    }
}

/// What is examined.
struct Patient<'a> {
    config: &'a Config,
    options: ConnectOptions,
    role: Option<Role>,
}

impl Patient<'_> {
    async fn examine(&self, broker: &Broker) -> Result<Vec<Finding>, Failure> {
        let options = &self.options;
        let mut topology = roles::topology(self.config, options.replicas)?;
        topology.seen_by = self.role;
        let servers = survey::servers(broker, options).await;
        let seen = broker.survey(&topology, self.role, crate::clock::now).await;
        let differences = broker.verify(&topology).await;
        let expected = expected(self.config, options.replicas);
        let mut findings = survey::findings(&seen, &servers, &differences, &expected);
        match self.role {
            Some(role) => findings.extend(self.exercise(role).await?),
            None => findings.push(Finding::new(
                Severity::Note,
                "permissions",
                "not tried: the user is not named after a role",
                "name what it is for: --role notifier",
            )),
        }
        Ok(findings)
    }

    async fn exercise(&self, role: Role) -> Result<Vec<Finding>, Failure> {
        let scope = users::scope(self.config, &self.options)?;
        Ok(match survey::exercise(&self.options, role, &scope).await {
            Ok(exercise) => survey::of_exercise(role, &exercise),
            Err(error) => vec![survey::of_refusal(&error)],
        })
    }
}

fn expected(config: &Config, replicas: usize) -> Expected {
    let sources = &config.fetcher.source;
    let exclusive = sources.iter().filter(|it| it.is_exclusive());
    Expected {
        replicas,
        tasks: config.notifier.tasks,
        planners: config.notifier.planners,
        n_sources: sources.len(),
        n_exclusive: exclusive.count(),
    }
}
