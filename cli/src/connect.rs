//! How the broker is found and addressed, with the names and the order of the `nats` command.
//!
//! Flags over `FANFARE__NATS__*` over `[nats]` (both are in the configuration already) over
//! `NATS_*` over the named context. A merely *selected* context counts only if nothing names a
//! server, and never for `up`, `demo` and `sim`: it may be production.
#![expect(
    clippy::doc_markdown,
    reason = "comments on flags are help texts, shown as they are"
)]

mod context;
mod layer;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fanfare_nats::ConnectOptions;
use fanfare_nats::subject::Names;
use fanfare_nats_server::Environment;

use crate::config::{ConfigError, NatsConfig};
use layer::Layer;

/// Where a server is when nothing says otherwise.
const USUAL_URL: &str = "nats://127.0.0.1:4222";

/// The connection, as the `nats` command names it.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "NATS connection (as in the nats command)")]
pub(crate) struct NatsFlags {
    /// Servers, separated by commas [env: NATS_URL]
    #[arg(short = 's', long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Context of the nats command, or the path of its file [env: NATS_CONTEXT]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Filled from a command's own flags: `push --user` means somebody else.
    #[arg(skip)]
    user: Option<String>,
    #[arg(skip)]
    password: Option<String>,
    /// Token [env: NATS_TOKEN]
    #[arg(long)]
    token: Option<String>,
    /// Credentials file [env: NATS_CREDS]
    #[arg(long, value_name = "FILE")]
    creds: Option<String>,
    /// File with an nkey seed [env: NATS_NKEY]
    #[arg(long, value_name = "FILE")]
    nkey: Option<String>,
    /// User JWT, or a file with it [env: NATS_JWT]
    #[arg(long)]
    jwt: Option<String>,
    /// Seed of the user JWT, or a file with it [env: NATS_SEED]
    #[arg(long)]
    seed: Option<String>,
    /// Client certificate [env: NATS_CERT]
    #[arg(long, value_name = "FILE")]
    tlscert: Option<String>,
    /// Its key [env: NATS_KEY]
    #[arg(long, value_name = "FILE")]
    tlskey: Option<String>,
    /// Certificate authority [env: NATS_CA]
    #[arg(long, value_name = "FILE")]
    tlsca: Option<String>,
    /// TLS before the server speaks
    #[arg(long)]
    tlsfirst: bool,
    /// JetStream domain
    #[arg(long, value_name = "DOMAIN")]
    js_domain: Option<String>,
    /// JetStream API prefix
    #[arg(long, value_name = "PREFIX")]
    js_api_prefix: Option<String>,
    /// Prefix of inboxes
    #[arg(long, value_name = "PREFIX")]
    inbox_prefix: Option<String>,
}

/// The user of the connection, where the command has no other users.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "NATS connection (as in the nats command)")]
pub(crate) struct UserFlags {
    /// User, or a token if there is no password [env: NATS_USER]
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Password; a variable or a file keeps it out of the process list [env: NATS_PASSWORD]
    #[arg(long)]
    pub(crate) password: Option<String>,
}

impl NatsFlags {
    /// The same connection, as this user.
    pub(crate) fn with_user(self, user: Option<String>, password: Option<String>) -> Self {
        Self {
            user,
            password,
            ..self
        }
    }
}

/// May a context be used that nobody named?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    /// Yes: the command acts on a system that runs.
    Counts,
    /// No: the command would start one.
    IsIgnored,
}

/// Does anything name a server? If not, `up` starts one.
pub(crate) fn names_a_server(
    flags: &NatsFlags,
    config: &NatsConfig,
    environment: &Environment,
) -> bool {
    let named_context = flags.context.is_some()
        || config.context.is_some()
        || environment.get("NATS_CONTEXT").is_some();
    let url =
        flags.server.is_some() || config.url.is_some() || environment.get("NATS_URL").is_some();
    named_context || url
}

/// Puts the layers together. `name` and `node` are left to whoever connects.
///
/// # Errors
/// [`ConfigError`] if a context, a file or a name is not usable.
pub(crate) fn options(
    flags: &NatsFlags,
    config: &NatsConfig,
    environment: &Environment,
    selected: Selected,
) -> Result<ConnectOptions, ConfigError> {
    let mut layer = Layer::of_flags(flags)
        .over(Layer::of_config(config)?)
        .over(Layer::of_environment(environment));
    let text = |name| environment.text(name).map(str::to_owned);
    let context = flags
        .context
        .clone()
        .or(config.context.clone())
        .or_else(|| text("NATS_CONTEXT"));
    if let Some(name) = context {
        layer = layer.over(context::named(&name, environment)?);
    } else if layer.url.is_none() && selected == Selected::Counts {
        layer = layer.over(context::selected(environment)?.unwrap_or_default());
    }
    let prefix = config.prefix.as_deref().unwrap_or("fanfare");
    let names = Names::with_prefix(prefix)
        .map_err(|error| ConfigError::one("nats.prefix", error.to_string()))?;
    let mut options = layer.resolve(environment)?;
    options.names = names;
    options.replicas = config.replicas.unwrap_or(1);
    options.marker_ttl = config.marker_ttl_s.map(Duration::from_secs);
    Ok(options)
}

/// The same pipeline as somebody else: what `second`, the table of that name, says of the connection,
/// over what is known of it.
///
/// # Errors
/// [`ConfigError`] if a context or a file is not usable.
pub(crate) fn as_second(
    options: &ConnectOptions,
    second: &NatsConfig,
    table: &str,
    environment: &Environment,
) -> Result<ConnectOptions, ConfigError> {
    let layered = || {
        let mut layer = Layer::of_config(second)?;
        if let Some(name) = &second.context {
            layer = layer.over(context::named(name, environment)?);
        }
        layer.lay_over(options, environment)
    };
    layered().map_err(|mut error| {
        for it in &mut error.0 {
            if let Some(key) = it.key.strip_prefix("nats.") {
                it.key = format!("{table}.{key}");
            }
        }
        error
    })
}

/// A path as people write it: `~/` is the home folder.
fn expanded(path: &str, environment: &Environment) -> PathBuf {
    match (path.strip_prefix("~/"), environment.folder("HOME")) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests;
