//! `fanfare keys`: who may call the API. A secret is printed once, alone on standard output, and kept
//! nowhere.

mod table;

use clap::{Args, Subcommand};
use fanfare_nats::Broker;
use fanfare_nats::key::{Key, KeyId, NewSecret, Scope, Tenant};
use fanfare_nats::keys::{KeysError, StoredKey};
use fanfare_nats::permissions::Role as User;
use fanfare_nats_server::Environment;
use jiff::{SignedDuration, Timestamp};

use super::reach::Reach;
use super::{Common, audit};
use crate::exit::Failure;

/// How long the secret before a rotation stays good that says nothing else.
const USUAL_OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// The longest that a secret lives or overlaps.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 3660);

#[derive(Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Makes a key and prints its secret, this once
    Create {
        /// What people call it, for example backend
        #[arg(value_name = "NAME")]
        name: String,
        /// Whose it is: what it registers and posts is apart from every other tenant's
        #[arg(long, value_name = "TENANT", default_value = "main", value_parser = tenant)]
        tenant: Tenant,
        /// What it may do: devices:write, devices:write:self, events:publish:PATTERN, read, operate,
        /// admin; as often as needed
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = scope)]
        scopes: Vec<Scope>,
        /// After this it opens nothing, for example 12h, 2160h [default: never]
        #[arg(long, value_name = "TIME", value_parser = span)]
        expires_in: Option<SignedDuration>,
        /// One object of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Shows all keys: what they may do, until when, when they were last used (to the hour)
    List {
        /// One object of JSON a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Takes a key back for good; every API refuses it within seconds
    Revoke {
        /// The key's id, as `list` shows it
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// Gives a key another secret and prints it, this once; the one before stays good for a while
    Rotate {
        /// The key's id, as `list` shows it
        #[arg(value_name = "ID")]
        id: String,
        /// How long the secret before stays good, for example 0s, 1h [default: 24h]
        #[arg(long, value_name = "TIME", value_parser = overlap)]
        overlap: Option<SignedDuration>,
        /// One object of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
}

impl Keys {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let config = common.load(environment)?;
        let now = crate::clock::now();
        match self.what {
            What::Create {
                name,
                tenant,
                scopes,
                expires_in,
                json,
                reach,
            } => {
                let end = expires_in.and_then(|it| now.checked_add(it).ok());
                let made = Key::create(tenant, &name, scopes, end, now);
                let (key, secret) = made.map_err(|error| Failure::Usage(error.to_string()))?;
                let broker = reach.broker(&config, environment, "keys").await?;
                stored(broker.create_key(&key).await)?;
                hand_over(&key, &secret, json);
                note(&broker, "createKey", &key).await
            }
            What::List { json, reach } => {
                let broker = reach.broker(&config, environment, "keys").await?;
                let keys = stored(broker.keys().await)?;
                let uses = stored(broker.key_uses().await)?;
                let text = if json {
                    table::as_json(&keys, &uses)
                } else {
                    table::as_table(&keys, &uses, now)
                };
                print!("{text}");
                Ok(())
            }
            What::Revoke { id, reach } => {
                let id = read(&id)?;
                let broker = reach.broker(&config, environment, "keys").await?;
                revoke(&broker, &id, now).await
            }
            What::Rotate {
                id,
                overlap,
                json,
                reach,
            } => {
                let id = read(&id)?;
                let broker = reach.broker(&config, environment, "keys").await?;
                let StoredKey { revision, mut key } = find(&broker, &id).await?;
                if key.revoked_at.is_some() {
                    return Err(anyhow::anyhow!("the key {id} was taken back: make another").into());
                }
                let secret = key.rotate(overlap.unwrap_or(USUAL_OVERLAP), now);
                stored(broker.replace_key(&key, revision).await)?;
                hand_over(&key, &secret, json);
                note(&broker, "rotateKey", &key).await
            }
        }
    }
}

async fn revoke(broker: &Broker, id: &KeyId, now: Timestamp) -> Result<(), Failure> {
    let StoredKey { revision, mut key } = find(broker, id).await?;
    let is_news = key.revoked_at.is_none();
    if is_news {
        key.revoked_at = Some(now);
        stored(broker.replace_key(&key, revision).await)?;
    }
    println!("the key {id} ({}) is taken back", key.name);
    if is_news {
        note(broker, "revokeKey", &key).await?;
    }
    Ok(())
}

/// Who may come is what an audit is asked for first. Whoever may do everything for the key's tenant
/// reads it there.
async fn note(broker: &Broker, what: &str, key: &Key) -> Result<(), Failure> {
    let of = [("key", key.id.to_string())];
    audit::note(broker, User::Owner, &key.tenant, what, of).await
}

async fn find(broker: &Broker, id: &KeyId) -> Result<StoredKey, Failure> {
    let keys = stored(broker.keys().await)?;
    let found = keys.into_iter().find(|it| it.key.id == *id);
    Ok(found.ok_or_else(|| anyhow::anyhow!("there is no key {id}"))?)
}

/// The secret alone on standard output, for a file or a pipe; what people want to know beside it.
fn hand_over(key: &Key, secret: &NewSecret, json: bool) {
    if json {
        println!("{}", table::made(key, secret));
        return;
    }
    eprintln!(
        "fanfare: key {} ({}): {}. This is its secret; it is shown this once and kept nowhere:",
        key.id,
        key.name,
        table::scopes(key)
    );
    println!("{}", secret.reveal());
}

fn stored<T>(done: Result<T, KeysError>) -> anyhow::Result<T> {
    use anyhow::Context;

    match &done {
        Err(KeysError::Read(_) | KeysError::Unknown | KeysError::Refused(_)) => done.context(
            "the server does not answer, or its user may not: keys are the owner's \
             (`fanfare admin permissions --role owner`)",
        ),
        Ok(_) | Err(KeysError::Conflict) => Ok(done?),
    }
}

fn read(id: &str) -> Result<KeyId, Failure> {
    // Not repeated: somebody may have pasted the secret.
    let text = "a key's id has ten letters and digits, as `fanfare keys list` shows it";
    KeyId::parse(id).ok_or_else(|| Failure::Usage(text.to_owned()))
}

fn scope(text: &str) -> Result<Scope, String> {
    text.parse()
        .map_err(|error: fanfare_nats::key::ScopeError| error.to_string())
}

pub(super) fn tenant(text: &str) -> Result<Tenant, String> {
    Tenant::parse(text).ok_or_else(|| "a tenant has 1 to 20 of a-z, 0-9 and `-`".to_owned())
}

fn span(text: &str) -> Result<SignedDuration, String> {
    overlap(text).and_then(|it| match it {
        SignedDuration::ZERO => Err("must be a second or more".to_owned()),
        it => Ok(it),
    })
}

fn overlap(text: &str) -> Result<SignedDuration, String> {
    let span: SignedDuration = text.parse().map_err(|_| "is no time such as 12h")?;
    if (SignedDuration::ZERO..=LONGEST).contains(&span) {
        Ok(span)
    } else {
        Err("must be at most ten years".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them_and_a_pasted_secret_is_not_repeated() {
        assert_eq!(span("8h"), Ok(SignedDuration::from_hours(8)));
        assert_eq!(overlap("0s"), Ok(SignedDuration::ZERO));
        for wrong in ["0s", "-1h", "soon", "999999h"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        let secret = NewSecret::of_device(&Tenant::main());
        let refused = read(secret.reveal()).unwrap_err();
        assert!(!format!("{refused:?}").contains(secret.reveal()));
        assert!(tenant("acme-2").is_ok() && tenant("Acme=").is_err());
        assert!(scope("read").is_ok() && scope("everything").is_err());
    }
}
