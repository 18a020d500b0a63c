//! The lists in the forms that operators use: a server's configuration, or JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::lists::service_subjects;
use super::{Allowed, Permissions, Role, Scope};

impl Permissions {
    /// One entry of `users` in a server's configuration. `password` is written as it stands: a
    /// quoted text, or the name of a variable.
    pub fn conf(&self, password: &str) -> String {
        let (user, purpose) = (self.role.name(), self.role.purpose());
        let mut text = format!("# {user}: {purpose}\n");
        // Writing to a String cannot fail, here and below.
        let _ok = writeln!(
            text,
            "{{ user: {user}, password: {password}, permissions: {{"
        );
        list(&mut text, "publish", &self.publish);
        list(&mut text, "subscribe", &self.subscribe);
        text.push_str("} }\n");
        text
    }

    /// The same as JSON, for tools that make users, such as `nsc`.
    pub fn json(&self) -> Value {
        let subjects = |list: &[Allowed]| -> Vec<String> {
            list.iter().map(|it| it.subject.clone()).collect()
        };
        json!({
            "role": self.role.name(),
            "inbox_prefix": self.role.inbox_prefix(),
            "publish": { "allow": subjects(&self.publish) },
            "subscribe": { "allow": subjects(&self.subscribe) },
        })
    }
}

/// Quoted, because the server takes a bare `$` for a variable.
fn list(text: &mut String, what: &str, list: &[Allowed]) {
    let _ok = writeln!(text, "  {what}: {{ allow: [");
    let quoted = |it: &Allowed| format!("\"{}\"", it.subject);
    let width = list.iter().map(|it| quoted(it).len()).max().unwrap_or(0);
    for allowed in list {
        let _ok = writeln!(text, "    {:width$}  # {}", quoted(allowed), allowed.why);
    }
    text.push_str("  ] }\n");
}

fn indented(text: &str, by: usize) -> String {
    let pad = " ".repeat(by);
    text.lines().fold(String::new(), |mut indented, line| {
        let _ok = writeln!(indented, "{pad}{line}");
        indented
    })
}

/// All users, as the value of `users`; each with the password that it is given.
pub fn users(scope: &Scope, password: impl FnMut(Role) -> String) -> String {
    users_of(&Role::ALL, scope, password)
}

fn users_of(roles: &[Role], scope: &Scope, mut password: impl FnMut(Role) -> String) -> String {
    let mut text = "[\n".to_owned();
    for role in roles {
        let user = Permissions::of(*role, scope).conf(&password(*role));
        text.push_str(&indented(&user, 2));
    }
    text.push_str("]\n");
    text
}

/// The variable that a server's configuration takes a role's password from.
pub fn password_variable(role: Role) -> String {
    format!("FANFARE_{}_PASSWORD", role.name().to_uppercase())
}

/// A whole `accounts` block, with the passwords in variables of the server's environment.
pub fn accounts(scope: &Scope) -> String {
    accounts_with(scope, variable)
}

/// As [`accounts`], each user with the password that it is given.
pub fn accounts_with(scope: &Scope, password: impl FnMut(Role) -> String) -> String {
    let users = indented(&users(scope, password), 4);
    let account = account(scope);
    format!(
        "accounts {{\n  {account} {{\n    jetstream: enabled\n    users: {}  }}\n}}\n",
        users.trim_start()
    )
}

/// As [`accounts`], with fetchers in an account of their own.
pub fn isolated(scope: &Scope) -> String {
    isolated_with(scope, variable)
}

/// As [`isolated`], each user with the password that it is given.
///
/// The other account offers fetchers exactly what is on their list, as services. Where they have
/// answers sent is a subject of their own account, so nothing can be stored by an answer. They ask
/// `JetStream` under [`isolated_api`], because the usual subjects of its API would ask about their
/// own account, which has none. What operators ask them is offered the other way round; the server
/// gives them a subject of its own (`_R_`) to answer to.
pub fn isolated_with(scope: &Scope, mut password: impl FnMut(Role) -> String) -> String {
    let inner = Scope {
        api: isolated_api(scope),
        ..scope.clone()
    };
    let account = account(scope);
    let asked = |scope: &Scope| -> Vec<Allowed> {
        let list = Permissions::of(Role::Fetcher, scope).publish;
        list.into_iter().filter(|it| !is_answer(it)).collect()
    };
    let (list, imported) = (asked(scope), asked(&inner));
    let (mut exports, mut imports) = (String::new(), String::new());
    for (offered, asked) in list.iter().zip(&imported) {
        let (offered, asked) = (&offered.subject, &asked.subject);
        let to = if offered == asked {
            String::new()
        } else {
            format!(", to: \"{asked}\"")
        };
        // Writing to a String cannot fail.
        let _ok = writeln!(
            exports,
            "      {{ service: \"{offered}\", accounts: [{account}_FETCHERS] }}"
        );
        let _ok = writeln!(
            imports,
            "      {{ service: {{ account: {account}, subject: \"{offered}\" }}{to} }}"
        );
    }
    let (mut offered, mut heard) = (String::new(), String::new());
    for subject in service_subjects(&scope.names, Role::Fetcher) {
        let _ok = writeln!(
            offered,
            "      {{ service: \"{subject}\", response: stream, accounts: [{account}] }}"
        );
        let _ok = writeln!(
            heard,
            "      {{ service: {{ account: {account}_FETCHERS, subject: \"{subject}\" }} }}"
        );
    }
    let others: Vec<Role> = Role::ALL.into_iter().skip(1).collect();
    let users = indented(&users_of(&others, scope, &mut password), 4);
    let mut fetcher = Permissions::of(Role::Fetcher, &inner);
    for answers in fetcher.publish.iter_mut().filter(|it| is_answer(it)) {
        "_R_.>".clone_into(&mut answers.subject);
    }
    let fetcher = indented(&fetcher.conf(&password(Role::Fetcher)), 2);
    let fetchers = indented(&format!("[\n{fetcher}]\n"), 4);
    let (users, fetchers) = (users.trim_start(), fetchers.trim_start());
    format!(
        "accounts {{\n  {account} {{\n    jetstream: enabled\n    users: {users}    exports: [\n\
         {exports}    ]\n    # Operators ask fetchers, too.\n    imports: [\n{heard}    ]\n  }}\n  # Its clients have jetstream_api_prefix = \"{api}\".\n  \
         {account}_FETCHERS {{\n    users: {fetchers}    imports: [\n{imports}    ]\n    \
         exports: [\n{offered}    ]\n  }}\n}}\n",
        api = inner.api
    )
}

/// Whether it is where a service's answers go.
fn is_answer(allowed: &Allowed) -> bool {
    allowed.subject.starts_with("_INBOX")
}

/// How fetchers in an account of their own begin the subjects of `JetStream`'s API.
pub fn isolated_api(scope: &Scope) -> String {
    format!("{}.API", account(scope))
}

fn account(scope: &Scope) -> String {
    scope.names.prefix().to_uppercase()
}

fn variable(role: Role) -> String {
    format!("${}", password_variable(role))
}
