//! Values that must not stand in the configuration file: from the environment or from a file.

use std::fmt;

use serde::Deserialize;

/// A text, or where it is read from when the process starts. Its `Debug` never shows it.
#[derive(Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a text, `{ env = \"NAME\" }` or `{ file = \"/path\" }`, each optionally with `prefix`"
)]
pub enum SecretText {
    /// Written out, or resolved.
    Plain(String),
    /// From an environment variable.
    Env(EnvSecret),
    /// From a file, without the line break at its end.
    File(FileSecret),
}

/// `{ env = "NAME" }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvSecret {
    /// Name of the variable.
    pub env: String,
    /// Put before its value, for example `Bearer `.
    #[serde(default)]
    pub prefix: String,
}

/// `{ file = "/path" }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSecret {
    /// Path of the file.
    pub file: String,
    /// Put before its content, for example `Bearer `.
    #[serde(default)]
    pub prefix: String,
}

impl SecretText {
    /// The text, once it is resolved.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Env(_) | Self::File(_) => None,
        }
    }

    /// Reads the value from where it is.
    ///
    /// # Errors
    /// What is missing, in words without the value.
    pub fn resolve(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
        let text = match self {
            Self::Plain(_) => return Ok(()),
            Self::Env(EnvSecret { env: name, prefix }) => {
                let value =
                    env(name).ok_or_else(|| format!("the environment has no variable `{name}`"))?;
                format!("{prefix}{value}")
            }
            Self::File(FileSecret { file, prefix }) => {
                let value = std::fs::read_to_string(&*file)
                    .map_err(|error| format!("the file `{file}` is not readable: {error}"))?;
                format!("{prefix}{}", value.trim_end())
            }
        };
        *self = Self::Plain(text);
        Ok(())
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self::Plain(text.to_owned())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(…)"),
            Self::Env(it) => write!(f, "Env({})", it.env),
            Self::File(it) => write!(f, "File({})", it.file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_the_environment_and_is_never_shown() {
        let mut secret = SecretText::Env(EnvSecret {
            env: "TOKEN".to_owned(),
            prefix: "Bearer ".to_owned(),
        });
        assert_eq!(secret.text(), None);
        let env = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
        secret.resolve(&env).unwrap();
        assert_eq!(secret.text(), Some("Bearer s3cret"));
        assert!(!format!("{secret:?}").contains("s3cret"));
    }

    #[test]
    fn a_missing_variable_is_named() {
        let mut secret = SecretText::Env(EnvSecret {
            env: "NOPE".to_owned(),
            prefix: String::new(),
        });
        let why = secret.resolve(&|_| None).unwrap_err();
        assert!(why.contains("`NOPE`"), "{why}");
    }
}
