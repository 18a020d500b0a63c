//! The users of a nats-server of our own: one for each role, as in production, each with a password
//! that only the connections of its role get.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use fanfare_nats::ConnectOptions;
use fanfare_nats::event::SourceName;
use fanfare_nats::permissions::{self, Role, Scope};
use rand::Rng;

use crate::config::Config;

/// The folder of the passwords, in the server's folder.
const FOLDER: &str = "passwords";

/// Passwords by role.
#[derive(Clone)]
pub(crate) struct Users(BTreeMap<Role, String>);

impl Users {
    /// New passwords for everyone.
    pub(crate) fn made() -> Self {
        let made = Role::ALL.map(|role| (role, format!("{:032x}", rand::rng().random::<u128>())));
        Self(made.into())
    }

    /// The passwords of an earlier start, so that a `nats` context stays good; those that are
    /// missing are made.
    pub(crate) fn kept(folder: &Path) -> anyhow::Result<Self> {
        let mut users = Self::made();
        for (role, password) in &mut users.0 {
            if let Some((_, kept)) = user(folder, *role) {
                *password = kept;
            }
        }
        users.write(folder)?;
        Ok(users)
    }

    /// Writes each password into a file of its own that nobody else can read.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let at = folder.join(FOLDER);
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&at);
        made.with_context(|| format!("cannot make {}", at.display()))?;
        for (role, password) in &self.0 {
            let file = password_file(folder, *role);
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let written = options
                .open(&file)
                .and_then(|mut open| writeln!(open, "{password}"));
            written.with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }

    /// The user of a role and its password.
    pub(crate) fn of(&self, role: Role) -> (String, String) {
        let password = self.0.get(&role).cloned().unwrap_or_default();
        (role.name().to_owned(), password)
    }

    /// The options as a role connects with them.
    pub(crate) fn admit(&self, options: &ConnectOptions, role: Role) -> ConnectOptions {
        let mut options = options.clone();
        options.user = Some(self.of(role));
        options.inbox_prefix = role.inbox_prefix();
        options
    }

    /// The lines of the server's configuration. Not an account: a server of ours has one pipeline,
    /// and what an older version stored lies in the account without a name.
    pub(crate) fn configuration(&self, scope: &Scope) -> String {
        // Hexadecimal digits cannot leave their quotes.
        let users = permissions::users(scope, |role| format!("\"{}\"", self.of(role).1));
        format!("authorization {{ users: {users} }}\n")
    }
}

/// Where the password of a role is.
pub(crate) fn password_file(folder: &Path, role: Role) -> PathBuf {
    folder.join(FOLDER).join(role.name())
}

/// The user of a role, if it has a password in this folder.
pub(crate) fn user(folder: &Path, role: Role) -> Option<(String, String)> {
    let password = fs::read_to_string(password_file(folder, role)).ok()?;
    let password = password.trim().to_owned();
    (!password.is_empty()).then(|| (role.name().to_owned(), password))
}

/// As whom a command connects where nothing says otherwise; `connection` is what it calls its
/// connection.
pub(crate) fn of_connection(connection: &str) -> Role {
    match connection {
        "admin" | "demo" | "keys" => Role::Owner,
        "verify" | "why" | "members" | "audit" => Role::Auditor,
        role => Role::parse(role).unwrap_or(Role::Ops),
    }
}

/// The prefix of inboxes that the lists of whoever connects allow. A user that is named like a
/// role says who that is; behind other credentials is whoever should do this.
pub(crate) fn inbox_prefix(options: &ConnectOptions, connection: &str) -> String {
    let user = options.user.as_ref();
    let named = user.and_then(|(user, _)| Role::parse(user));
    named
        .unwrap_or_else(|| of_connection(connection))
        .inbox_prefix()
}

/// What the lists of permissions are made from.
pub(crate) fn scope(config: &Config, options: &ConnectOptions) -> anyhow::Result<Scope> {
    let lanes = fanfare_notifier::lanes(&config.notifier).context("an app has a wrong name")?;
    let sources = config.fetcher.source.iter();
    let sources: Result<_, _> = sources.map(|it| SourceName::parse(&it.name)).collect();
    let any = Scope::any(options.names.clone());
    let domain = options.domain.as_ref();
    let api = domain.map(|it| format!("$JS.{it}.API"));
    Ok(Scope {
        lanes,
        sources: sources.context("a source has a wrong name")?,
        api: api
            .or_else(|| options.api_prefix.clone())
            .unwrap_or(any.api),
        names: any.names,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn passwords_differ_stay_and_are_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let first = Users::kept(folder.path()).unwrap();
        let again = Users::kept(folder.path()).unwrap();
        let mut passwords = std::collections::BTreeSet::new();
        for role in Role::ALL {
            assert_eq!(first.of(role), again.of(role));
            assert_eq!(user(folder.path(), role), Some(first.of(role)));
            let file = password_file(folder.path(), role);
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
            passwords.insert(first.of(role).1);
        }
        assert_eq!(passwords.len(), Role::ALL.len());
    }

    #[test]
    fn the_inbox_is_that_of_the_user_else_of_whoever_should_do_this() {
        let mut options = ConnectOptions::default();
        assert_eq!(inbox_prefix(&options, "dead-letters"), "_INBOX_ops");
        assert_eq!(inbox_prefix(&options, "verify"), "_INBOX_auditor");
        assert_eq!(inbox_prefix(&options, "notifier"), "_INBOX_notifier");
        assert_eq!(inbox_prefix(&options, "admin"), "_INBOX_owner");
        options.user = Some(("auditor".to_owned(), "x".to_owned()));
        assert_eq!(inbox_prefix(&options, "admin"), "_INBOX_auditor");
    }
}
