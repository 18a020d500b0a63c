//! The nats-server, or the three, that `up` starts when nobody names one.

mod brokers;

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use fanfare_nats::permissions::{Role, Scope};
use fanfare_nats_server::server::StoreError;
use fanfare_nats_server::{
    Cluster, Download, Environment, Obtained, Options, Server, StartError, Step, Store, obtain,
};

use crate::exit::Failure;
use crate::users::{self, Users};

pub(crate) use brokers::Brokers;

/// Where the running child is; whoever runs it holds a lock on this file.
const URL_FILE: &str = "url";

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
    /// Its port on 127.0.0.1, of a cluster the first of three in a row [default: any]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    nats_port: Option<u16>,
    /// Start so many as a cluster, which goes on when one of them dies: 3
    #[arg(long, value_name = "N", value_parser = cluster_size)]
    cluster: Option<usize>,
}

impl EmbeddedFlags {
    /// How many servers there are to be.
    pub(crate) fn size(&self) -> usize {
        self.cluster.unwrap_or(1)
    }

    /// Whether a cluster of our own was asked for.
    pub(crate) fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }
}

fn cluster_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(3) => Ok(3),
        Ok(2) => Err(
            "two servers are one too few: without one of them the other cannot know \
                      that it may go on; use 3"
                .to_owned(),
        ),
        Ok(1) => Err("one server is no cluster: leave --cluster out".to_owned()),
        Ok(_) | Err(_) => Err("a cluster on one machine has 3 servers".to_owned()),
    }
}

/// Running children and how to get in.
pub(crate) struct Embedded {
    pub(crate) brokers: Brokers,
    /// Where data and passwords are.
    pub(crate) folder: PathBuf,
    pub(crate) users: Users,
    pub(crate) obtained: Obtained,
    /// Tells other commands that the children run, as long as it is open.
    _url_file: Option<File>,
}

/// Finds or fetches a nats-server and starts it, once or three times.
pub(crate) async fn start(
    flags: &EmbeddedFlags,
    environment: &Environment,
    scope: &Scope,
) -> Result<Embedded, Failure> {
    check_ports(flags)?;
    let tell = |step: &Step| eprintln!("fanfare: {step}");
    let download = permission(flags);
    // Before a download: what cannot be kept anywhere need not be fetched.
    let folder = folder(flags, environment)?;
    let obtained = obtain(flags.nats_server.as_deref(), environment, download, &tell).await?;
    let users = match &folder {
        Some(folder) => Users::kept(folder)?,
        None => Users::made(),
    };
    let options = Options {
        port: flags.nats_port,
        extra: users.configuration(scope),
        ..match &folder {
            Some(folder) => Options {
                store: Store::Folder(folder.clone()),
                ..Options::default()
            },
            None => Options::ephemeral(),
        }
    };
    let brokers = match flags.cluster {
        None => Server::start(&obtained.path, options)
            .await
            .map(|it| Brokers::One(Box::new(it))),
        Some(size) => {
            eprintln!(
                "fanfare: {size} nats-servers start and elect leaders, which may take some seconds"
            );
            Cluster::start(&obtained.path, size, &options)
                .await
                .map(Brokers::Cluster)
        }
    };
    let brokers = brokers.map_err(refused)?;
    let first = brokers.servers().first().context("there is no server")?;
    if folder.is_none() {
        users.write(first.store_dir())?;
    }
    for advice in first.advice() {
        eprintln!("fanfare: {advice}");
    }
    let at = folder.as_deref().unwrap_or(first.store_dir());
    let at = at.canonicalize().unwrap_or(at.to_owned());
    let url_file = folder.map(|it| write_url(&it.join(URL_FILE), &brokers.url()));
    Ok(Embedded {
        folder: at,
        brokers,
        users,
        obtained,
        _url_file: url_file.transpose()?,
    })
}

/// Ports end at 65535.
fn check_ports(flags: &EmbeddedFlags) -> Result<(), Failure> {
    let behind = u16::try_from(flags.size() - 1).ok();
    match (flags.nats_port, behind) {
        (Some(port), Some(behind)) if port.checked_add(behind).is_none() => {
            Err(Failure::Usage(format!(
                "--nats-port {port} leaves no room for {} servers",
                flags.size()
            )))
        }
        _ => Ok(()),
    }
}

/// The child of a `fanfare up` that runs now, in the usual folder: its URL, and how a command gets
/// in that calls its connection so.
pub(crate) fn running(
    environment: &Environment,
    connection: &str,
) -> Option<(String, (String, String))> {
    let role = users::of_connection(connection);
    let mut folders = usual_folders(environment).into_iter().flatten();
    folders.find_map(|it| is_ours(&it).then(|| running_in(&it, role)).flatten())
}

fn running_in(folder: &Path, role: Role) -> Option<(String, (String, String))> {
    let mut file = File::open(folder.join(URL_FILE)).ok()?;
    // Nobody holds the lock: the file was left by one that was killed.
    let Err(TryLockError::WouldBlock) = file.try_lock_shared() else {
        return None;
    };
    let mut url = String::new();
    file.read_to_string(&mut url).ok()?;
    Some((url.trim().to_owned(), users::user(folder, role)?))
}

fn write_url(path: &Path, url: &str) -> Result<File, Failure> {
    let write = || {
        let mut file = File::create(path)?;
        file.lock()?;
        writeln!(file, "{url}")?;
        Ok::<_, std::io::Error>(file)
    };
    Ok(write().with_context(|| format!("cannot write {}", path.display()))?)
}

fn refused(error: StartError) -> Failure {
    let joined = match &error {
        StartError::Store(StoreError::Taken { folder, .. }) => running_in(folder, Role::Notifier).map(|it| {
            let (url, (user, _)) = it;
            let password = quoted(&users::password_file(folder, Role::Notifier));
            format!(
                "to run more roles on that one: fanfare up notifier --server {url} --user {user} \
                 --password \"$(cat {password})\""
            )
        }),
        StartError::Store(
            StoreError::Unusable { .. }
            | StoreError::OfOneServer { .. }
            | StoreError::OfCluster { .. },
        )
        | StartError::Run { .. }
        | StartError::Ended { .. }
        | StartError::NotReady { .. } => None,
    };
    let error = anyhow::Error::from(error);
    Failure::NoServer(match joined {
        Some(joined) => anyhow::anyhow!("{error:#};\n  {joined}"),
        None => error,
    })
}

/// A path for a shell.
pub(super) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
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

/// Where the data are; `None` for a temporary folder of the server's own.
fn folder(flags: &EmbeddedFlags, environment: &Environment) -> Result<Option<PathBuf>, Failure> {
    if flags.ephemeral {
        return Ok(None);
    }
    if let Some(folder) = &flags.data_dir {
        make(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        return Ok(Some(folder.clone()));
    }
    let [home, temporary] = usual_folders(environment);
    if let Some(folder) = home.filter(|it| make(it).is_ok()) {
        return Ok(Some(folder));
    }
    let Some(folder) = temporary.filter(|it| make(it).is_ok() && is_ours(it)) else {
        let text = "there is no folder to keep data in: name one with --data-dir";
        return Err(Failure::Usage(text.into()));
    };
    eprintln!(
        "fanfare: there is no home folder to write to: the data are kept in {}, which may not \
         outlive a restart of the machine; name a folder with --data-dir",
        folder.display()
    );
    Ok(Some(folder))
}

/// In the home folder, and, without one, where temporary files are.
fn usual_folders(environment: &Environment) -> [Option<PathBuf>; 2] {
    let home = || environment.folder("HOME").map(|it| it.join(".local/share"));
    let data = environment.folder("XDG_DATA_HOME").or_else(home);
    let temporary = environment.folder("TMPDIR");
    let temporary = temporary.unwrap_or_else(|| PathBuf::from("/tmp"));
    let own = format!("fanfare-{}/nats", rustix::process::getuid().as_raw());
    [
        data.map(|it| it.join("fanfare/nats")),
        Some(temporary.join(own)),
    ]
}

/// Makes a folder for us alone, and makes sure that it can be written to.
fn make(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)?;
    tempfile::NamedTempFile::new_in(folder).map(drop)
}

/// Where everyone may write, somebody else may have made the folder.
fn is_ours(folder: &Path) -> bool {
    let own = rustix::process::getuid().as_raw();
    let is_own = |it: &Path| {
        fs::symlink_metadata(it)
            .is_ok_and(|it| it.is_dir() && it.uid() == own && it.mode() & 0o022 == 0)
    };
    is_own(folder) && folder.parent().is_some_and(is_own)
}
