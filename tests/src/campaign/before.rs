//! Where a campaign stands when a slice begins.

use super::options::Options;
use super::table;

/// What a campaign has before a slice: its seed, and the faults so far.
pub(super) struct Before {
    /// Of the slice.
    pub(super) seed: u64,
    /// In valid slices so far.
    pub(super) n_faults: u64,
}

/// Looks into the table; `None` if the campaign has what it wants.
pub(super) fn before(options: &Options) -> Option<Before> {
    let rows = options
        .append
        .as_deref()
        .map(table::rows)
        .unwrap_or_default();
    let kind = options.kind.as_str();
    let of_kind = || rows.iter().filter(|it| it.kind == kind);
    let valid = of_kind().filter(|it| it.verdict != "void");
    let n_faults: u64 = valid.map(|it| it.faults).sum();
    if options.kills.is_some_and(|it| it <= n_faults) {
        return None;
    }
    let seed = options.seed + of_kind().count() as u64;
    Some(Before { seed, n_faults })
}
