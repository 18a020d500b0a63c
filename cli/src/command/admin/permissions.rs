//! `fanfare admin permissions`: what each role may say to the broker, for its operator to set up.
use clap::{Args, ValueEnum};
use fanfare_nats::permissions::{self, Permissions, Role, Scope, password_variable};
use serde_json::json;

#[derive(Args)]
#[group(id = "whose", required = true, multiple = false)]
pub(super) struct Whose {
    /// fetcher, notifier, api, ops, auditor or owner
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<Role>,
    /// Everyone: a whole block `accounts`, with the passwords in variables
    #[arg(long)]
    all: bool,
    /// As --all, with fetchers in an account of their own, which cannot make the server store
    /// anything else
    #[arg(long)]
    isolated: bool,
}

/// The form of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// As a server's configuration has it
    Conf,
    /// One object
    Json,
}

fn role(word: &str) -> Result<Role, String> {
    Role::parse(word).ok_or_else(|| {
        let words = Role::ALL.map(Role::name).join(", ");
        format!("there is {words}")
    })
}

/// The lists, made from the configured names, lanes and sources.
pub(super) fn text(whose: &Whose, format: Format, scope: &Scope) -> String {
    match (whose.role, format) {
        (Some(role), Format::Conf) => {
            Permissions::of(role, scope).conf(&format!("${}", password_variable(role)))
        }
        (Some(role), Format::Json) => format!("{:#}\n", Permissions::of(role, scope).json()),
        (None, Format::Conf) if whose.isolated => permissions::isolated(scope),
        (None, Format::Conf) => permissions::accounts(scope),
        (None, Format::Json) => {
            let roles = Role::ALL.map(|it| Permissions::of(it, scope).json());
            format!("{:#}\n", json!(roles))
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_nats::subject::Names;

    use super::*;

    #[test]
    fn each_form_is_of_who_was_asked_for() {
        let scope = Scope::any(Names::default());
        let of = |role: Option<Role>, isolated: bool, format| {
            let whose = Whose {
                role,
                all: role.is_none() && !isolated,
                isolated,
            };
            text(&whose, format, &scope)
        };
        let one = of(Some(Role::Api), false, Format::Conf);
        assert!(one.contains("user: api, password: $FANFARE_API_PASSWORD"));
        assert!(!one.contains("user: ops"));
        let all = of(None, false, Format::Conf);
        assert!(all.starts_with("accounts {") && all.contains("user: ops"));
        assert!(of(None, true, Format::Conf).contains("FANFARE_FETCHERS {"));
        let json: serde_json::Value = serde_json::from_str(&of(None, false, Format::Json)).unwrap();
        assert_eq!(json.as_array().map(Vec::len), Some(Role::ALL.len()));
        let json: serde_json::Value =
            serde_json::from_str(&of(Some(Role::Ops), false, Format::Json)).unwrap();
        assert_eq!(json["role"], "ops");
    }
}
