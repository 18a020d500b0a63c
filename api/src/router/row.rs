//! A row of the table of routes.

use super::deprecation::Deprecation;
use crate::access::Needs;

/// One path and method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) route: &'static str,
    pub(crate) method: &'static str,
    /// What it answers with when all goes well.
    pub(crate) good: &'static [u16],
    /// Who may come.
    pub(crate) needs: Needs,
    /// Whether a good answer says that something was changed; then there is a record of it.
    pub(crate) is_change: bool,
    /// Whether it shall go: `Row { deprecated: Some(…), ..row(…) }`.
    pub(crate) deprecated: Option<Deprecation>,
}

/// A row; what is not asked for by `GET` changes something, unless the row says that it does not.
pub(super) const fn row(
    route: &'static str,
    method: &'static str,
    good: &'static [u16],
    needs: Needs,
) -> Row {
    Row {
        route,
        method,
        good,
        needs,
        is_change: !matches!(method.as_bytes(), b"GET"),
        deprecated: None,
    }
}

impl Row {
    /// The same, where a question has a body.
    pub(super) const fn changing_nothing(self) -> Self {
        Self {
            is_change: false,
            ..self
        }
    }
}
