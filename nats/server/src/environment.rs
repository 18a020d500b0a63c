//! One snapshot of the environment variables, taken by whoever composes the program.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

/// The environment variables as they were at one moment.
///
/// `Debug` shows names only: values may be secrets.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Reads the variables of this process. Meant to be called once, where the program is composed.
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// Returns the value of `name`; an empty value counts as absent, as shells treat `NAME=`.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|it| !it.is_empty())
    }

    /// Returns the value of `name` if it is there and valid UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// Returns the value of `name` as a folder, if it is an absolute path (a relative one means
    /// nothing here).
    pub fn folder(&self, name: &str) -> Option<PathBuf> {
        self.get(name)
            .map(PathBuf::from)
            .filter(|it| it.is_absolute())
    }

    /// Iterates over all variables whose name and value are UTF-8, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
    }

    /// The same variables, with `name` set to `value`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// The same variables without `name`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(OsStr::new(name));
        self
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        let variables = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Self {
            variables: variables.collect(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn an_empty_variable_counts_as_absent_and_values_stay_out_of_debug() {
        let environment: Environment = [("A", ""), ("B", "secret")].into_iter().collect();
        assert_eq!(environment.text("A"), None);
        assert_eq!(environment.text("B"), Some("secret"));
        assert!(!format!("{environment:?}").contains("secret"));
        assert_eq!(environment.without("B").text("B"), None);
    }
}
