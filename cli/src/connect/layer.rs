//! One layer of connection options, and how layers lie over one another.

use std::path::Path;

use fanfare_nats::ConnectOptions;
use fanfare_nats_server::Environment;

use super::{NatsFlags, USUAL_URL, expanded};
use crate::config::{ConfigError, NatsConfig};

/// How a client proves who it is. Taken from one layer as a whole: a flag's user and a context's
/// credentials file do not belong together.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) token: Option<String>,
    pub(super) creds: Option<String>,
    pub(super) nkey: Option<String>,
    pub(super) jwt: Option<String>,
    pub(super) seed: Option<String>,
}

/// What one place says about the connection.
#[derive(Clone, Default)]
pub(super) struct Layer {
    pub(super) url: Option<String>,
    pub(super) identity: Identity,
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) ca: Option<String>,
    pub(super) tls_first: bool,
    pub(super) domain: Option<String>,
    pub(super) api_prefix: Option<String>,
    pub(super) inbox_prefix: Option<String>,
}

impl Layer {
    pub(super) fn of_flags(flags: &NatsFlags) -> Self {
        let flags = flags.clone();
        Self {
            url: flags.server,
            identity: Identity {
                user: flags.user,
                password: flags.password,
                token: flags.token,
                creds: flags.creds,
                nkey: flags.nkey,
                jwt: flags.jwt,
                seed: flags.seed,
            },
            cert: flags.tlscert,
            key: flags.tlskey,
            ca: flags.tlsca,
            tls_first: flags.tlsfirst,
            domain: flags.js_domain,
            api_prefix: flags.js_api_prefix,
            inbox_prefix: flags.inbox_prefix,
        }
    }

    pub(super) fn of_config(config: &NatsConfig) -> Result<Self, ConfigError> {
        let config = config.clone();
        let or_file = |text: Option<String>, file: Option<&Path>, key: &str| match file {
            Some(file) => read(file, key).map(Some),
            None => Ok(text),
        };
        let password_file = config.password_file.as_deref();
        let seed_file = config.user_seed_file.as_deref();
        Ok(Self {
            url: config.url,
            identity: Identity {
                user: config.user,
                password: or_file(config.password, password_file, "nats.password_file")?,
                token: or_file(
                    config.token,
                    config.token_file.as_deref(),
                    "nats.token_file",
                )?,
                creds: config.creds,
                nkey: config.nkey,
                jwt: config.user_jwt,
                seed: or_file(config.user_seed, seed_file, "nats.user_seed_file")?,
            },
            cert: config.cert,
            key: config.key,
            ca: config.ca,
            tls_first: config.tls_first.unwrap_or(false),
            domain: config.jetstream_domain,
            api_prefix: config.jetstream_api_prefix,
            inbox_prefix: config.inbox_prefix,
        })
    }

    pub(super) fn of_environment(environment: &Environment) -> Self {
        let text = |name: &str| environment.text(name).map(str::to_owned);
        Self {
            url: text("NATS_URL"),
            identity: Identity {
                user: text("NATS_USER"),
                password: text("NATS_PASSWORD"),
                token: text("NATS_TOKEN"),
                creds: text("NATS_CREDS"),
                nkey: text("NATS_NKEY"),
                jwt: text("NATS_JWT"),
                seed: text("NATS_SEED"),
            },
            cert: text("NATS_CERT"),
            key: text("NATS_KEY"),
            ca: text("NATS_CA"),
            ..Self::default()
        }
    }

    /// This layer, with `under` where it says nothing.
    pub(super) fn over(self, under: Self) -> Self {
        let is_known = self.identity != Identity::default();
        Self {
            url: self.url.or(under.url),
            identity: if is_known {
                self.identity
            } else {
                under.identity
            },
            cert: self.cert.or(under.cert),
            key: self.key.or(under.key),
            ca: self.ca.or(under.ca),
            tls_first: self.tls_first || under.tls_first,
            domain: self.domain.or(under.domain),
            api_prefix: self.api_prefix.or(under.api_prefix),
            inbox_prefix: self.inbox_prefix.or(under.inbox_prefix),
        }
    }

    /// What is known already, with this layer over it. An identity is taken as a whole, and so is the
    /// prefix of inboxes, which belongs to it.
    pub(super) fn lay_over(
        self,
        under: &ConnectOptions,
        environment: &Environment,
    ) -> Result<ConnectOptions, ConfigError> {
        let names_a_server = self.url.is_some();
        let is_known = self.identity != Identity::default();
        let over = self.resolve(environment)?;
        let mut options = under.clone();
        if names_a_server {
            options.servers = over.servers;
        }
        if is_known {
            options.user = over.user;
            options.token = over.token;
            options.creds = over.creds;
            options.nkey = over.nkey;
        }
        options.inbox_prefix = over.inbox_prefix;
        options.tls_cert = over.tls_cert.or(options.tls_cert);
        options.tls_ca = over.tls_ca.or(options.tls_ca);
        options.tls_first |= over.tls_first;
        options.domain = over.domain.or(options.domain);
        options.api_prefix = over.api_prefix.or(options.api_prefix);
        Ok(options)
    }

    /// Reads the files it names.
    pub(super) fn resolve(self, environment: &Environment) -> Result<ConnectOptions, ConfigError> {
        let url = self.url.unwrap_or_else(|| USUAL_URL.to_owned());
        let path = |text: &str| expanded(text, environment);
        let Identity {
            user,
            password,
            token,
            creds,
            nkey,
            jwt,
            seed,
        } = self.identity;
        let (user, token) = match (user, password) {
            (Some(user), Some(password)) => (Some((user, password)), token),
            // As the nats command has it: a user without a password is a token.
            (Some(user), None) => (None, token.or(Some(user))),
            (None, _) => (None, token),
        };
        let creds = match (creds, jwt, seed) {
            (Some(file), _, _) => Some(read(&path(&file), "nats.creds")?),
            (None, Some(jwt), Some(seed)) => {
                let jwt = inline_or_file(&jwt, "eyJ", "nats.user_jwt", environment)?;
                let seed = inline_or_file(&seed, "SU", "nats.user_seed", environment)?;
                Some(credentials(jwt.trim(), seed.trim()))
            }
            (None, Some(_), None) => {
                return Err(ConfigError::one("nats.user_jwt", "needs a seed as well"));
            }
            (None, None, _) => None,
        };
        let tls_cert = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some((path(&cert), path(&key))),
            (None, None) => None,
            _ => {
                return Err(ConfigError::one(
                    "nats.cert",
                    "needs its key, and the key needs it",
                ));
            }
        };
        Ok(ConnectOptions {
            servers: url.split(',').map(|it| it.trim().to_owned()).collect(),
            inbox_prefix: self.inbox_prefix.unwrap_or_default(),
            user,
            token,
            creds,
            nkey: nkey
                .map(|file| read(&path(&file), "nats.nkey"))
                .transpose()?,
            tls_cert,
            tls_ca: self.ca.map(|file| path(&file)),
            tls_first: self.tls_first,
            domain: self.domain,
            api_prefix: self.api_prefix,
            ..ConnectOptions::default()
        })
    }
}

/// The text of a credentials file (ADR-14 of nats-architecture-and-design names its two parts).
fn credentials(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

fn inline_or_file(
    text: &str,
    inline: &str,
    key: &str,
    environment: &Environment,
) -> Result<String, ConfigError> {
    if text.starts_with(inline) {
        return Ok(text.to_owned());
    }
    read(&expanded(text, environment), key)
}

/// Reads a secret; the error names the file and never what is in it.
fn read(file: &Path, key: &str) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| ConfigError::one(key, format!("{}: {error}", file.display())))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
