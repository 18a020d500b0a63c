//! Contexts of the `nats` command: JSON files that name a server and how to get in.

use std::path::PathBuf;

use fanfare_nats_server::Environment;
use serde::Deserialize;

use super::layer::{Identity, Layer};
use super::{ConfigError, expanded};

/// The keys of a context that are about the connection; the `nats` command has more.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Context {
    url: String,
    user: String,
    password: String,
    token: String,
    creds: String,
    nkey: String,
    user_jwt: String,
    user_seed: String,
    cert: String,
    key: String,
    ca: String,
    tls_first: bool,
    nsc: String,
    socks_proxy: String,
    jetstream_domain: String,
    jetstream_api_prefix: String,
    inbox_prefix: String,
}

/// The context of that name, or in the file of that path.
pub(super) fn named(name: &str, environment: &Environment) -> Result<Layer, ConfigError> {
    let is_path = name.contains('/') || name.starts_with('~');
    let file = if is_path {
        Some(expanded(name, environment))
    } else {
        folder(environment).map(|it| it.join("context").join(format!("{name}.json")))
    };
    let Some(file) = file else {
        return Err(problem(name, "there is no home folder to look for it in"));
    };
    let text = std::fs::read(&file)
        .map_err(|error| problem(name, &format!("{}: {error}", file.display())))?;
    // The parser's words could quote a secret; where it stumbled is enough.
    let context = serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        problem(
            name,
            &format!(
                "{} is not a context: line {line}, column {column}",
                file.display()
            ),
        )
    })?;
    layer(name, context)
}

/// The context that `nats context select` chose, if there is one.
pub(super) fn selected(environment: &Environment) -> Result<Option<Layer>, ConfigError> {
    let chosen = folder(environment).map(|it| it.join("context.txt"));
    let name = chosen
        .and_then(|file| std::fs::read_to_string(file).ok())
        .unwrap_or_default();
    match name.trim() {
        "" => Ok(None),
        name => named(name, environment).map(Some),
    }
}

fn folder(environment: &Environment) -> Option<PathBuf> {
    let home = || environment.folder("HOME").map(|it| it.join(".config"));
    environment
        .folder("XDG_CONFIG_HOME")
        .or_else(home)
        .map(|it| it.join("nats"))
}

fn layer(name: &str, context: Context) -> Result<Layer, ConfigError> {
    if !context.nsc.is_empty() {
        let why = "it is kept by nsc (key `nsc`), which fanfare does not run; \
                   write a credentials file with `nsc generate creds` and name it with --creds";
        return Err(problem(name, why));
    }
    if !context.socks_proxy.is_empty() {
        let why = "it goes through a SOCKS proxy (key `socks_proxy`), which fanfare cannot";
        return Err(problem(name, why));
    }
    let some = |text: String| Some(text).filter(|it| !it.is_empty());
    Ok(Layer {
        url: some(context.url),
        identity: Identity {
            user: some(context.user),
            password: some(context.password),
            token: some(context.token),
            creds: some(context.creds),
            nkey: some(context.nkey),
            jwt: some(context.user_jwt),
            seed: some(context.user_seed),
        },
        cert: some(context.cert),
        key: some(context.key),
        ca: some(context.ca),
        tls_first: context.tls_first,
        domain: some(context.jetstream_domain),
        api_prefix: some(context.jetstream_api_prefix),
        inbox_prefix: some(context.inbox_prefix),
    })
}

fn problem(name: &str, why: &str) -> ConfigError {
    ConfigError::one(&format!("NATS context `{name}`"), why)
}
