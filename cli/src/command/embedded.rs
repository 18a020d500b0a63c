//! The nats-server that `up` starts when nobody names one.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use fanfare_nats_server::server::StoreError;
use fanfare_nats_server::{
    Download, Environment, Obtained, Options, Server, StartError, Step, Store, obtain,
};
use rand::Rng;

use crate::exit::Failure;

/// The user of the child; its password is made at the first start and kept beside the data.
const USER: &str = "fanfare";
const PASSWORD_FILE: &str = "password";

#[derive(Args, Clone)]
#[command(next_help_heading = "The nats-server that is started if no server is named")]
pub(crate) struct EmbeddedFlags {
    /// The binary to start
    #[arg(long, value_name = "PATH")]
    nats_server: Option<PathBuf>,
    /// Fetch a pinned one without asking if there is none
    #[arg(long)]
    download: bool,
    /// Where it keeps its data [default: fanfare/nats in the user's data folder]
    #[arg(long, value_name = "FOLDER", conflicts_with = "ephemeral")]
    data_dir: Option<PathBuf>,
    /// Keep the data in a temporary folder that goes away at the end
    #[arg(long)]
    ephemeral: bool,
    /// Its port on 127.0.0.1 [default: any]
    #[arg(long, value_name = "PORT")]
    nats_port: Option<u16>,
}

/// A running child and how to get in.
pub(crate) struct Embedded {
    pub(crate) server: Server,
    pub(crate) user: (String, String),
    pub(crate) password_file: PathBuf,
    pub(crate) obtained: Obtained,
}

/// Finds or fetches a nats-server and starts it.
pub(crate) async fn start(
    flags: &EmbeddedFlags,
    environment: &Environment,
) -> Result<Embedded, Failure> {
    let tell = |step: &Step| eprintln!("fanfare: {step}");
    let download = permission(flags);
    let obtained = obtain(flags.nats_server.as_deref(), environment, download, &tell).await?;
    let folder = folder(flags, environment)?;
    let password = match &folder {
        Some(folder) => kept_password(folder)?,
        None => new_password(),
    };
    let user = (USER.to_owned(), password);
    let options = Options {
        port: flags.nats_port,
        credentials: Some(user.clone()),
        ..match &folder {
            Some(folder) => Options {
                store: Store::Folder(folder.clone()),
                ..Options::default()
            },
            None => Options::ephemeral(),
        }
    };
    let server = Server::start(&obtained.path, options)
        .await
        .map_err(|error| match error {
            // A folder in use is nobody's crash: the other one is to be stopped.
            StartError::Store(StoreError::Taken { .. }) => Failure::NoServer(error.into()),
            StartError::Store(StoreError::Unusable { .. })
            | StartError::Run { .. }
            | StartError::Ended { .. }
            | StartError::NotReady { .. } => Failure::NoServer(anyhow::Error::from(error)),
        })?;
    let password_file = server.store_dir().join(PASSWORD_FILE);
    if folder.is_none() {
        write_secret(&password_file, &user.1)?;
    }
    for advice in server.advice() {
        eprintln!("fanfare: {advice}");
    }
    Ok(Embedded {
        server,
        user,
        password_file,
        obtained,
    })
}

/// A terminal can be asked; anything else needs the flag.
fn permission(flags: &EmbeddedFlags) -> Download {
    use std::io::IsTerminal;

    if flags.download {
        Download::Allowed
    } else if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        Download::Ask(Arc::new(|question| {
            eprint!("fanfare: {question} [y/N] ");
            let mut answer = String::new();
            let read = std::io::stdin().read_line(&mut answer);
            read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
        }))
    } else {
        Download::Denied
    }
}

fn folder(flags: &EmbeddedFlags, environment: &Environment) -> Result<Option<PathBuf>, Failure> {
    if flags.ephemeral {
        return Ok(None);
    }
    let home = || environment.folder("HOME").map(|it| it.join(".local/share"));
    let data = environment.folder("XDG_DATA_HOME").or_else(home);
    let usual = data.map(|it| it.join("fanfare/nats"));
    flags.data_dir.clone().or(usual).map(Some).ok_or_else(|| {
        Failure::Usage(
            "there is no home folder: name one with --data-dir, or try --ephemeral".into(),
        )
    })
}

/// The password of an earlier start, so that a `nats` context stays good.
fn kept_password(folder: &Path) -> Result<String, Failure> {
    let file = folder.join(PASSWORD_FILE);
    match fs::read_to_string(&file) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) | Err(_) => {
            let password = new_password();
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder);
            made.with_context(|| format!("cannot make {}", folder.display()))?;
            write_secret(&file, &password)?;
            Ok(password)
        }
    }
}

fn new_password() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

fn write_secret(file: &Path, text: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let open = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file);
    let written = open.and_then(|mut open| writeln!(open, "{text}"));
    Ok(written.with_context(|| format!("cannot write {}", file.display()))?)
}
