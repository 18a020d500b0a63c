//! The credit budget as the machines see it; all machines of a process share one.

/// Credits: sends whose outcome is not yet durably recorded are never more than there are.
pub(crate) trait Budget {
    /// Leave to write one request.
    type Leave;

    /// Takes a credit, if there is one. It stays taken until [`Budget::give_back`].
    fn try_admit(&mut self) -> Option<Self::Leave>;

    /// Gives back credits whose outcome is recorded, can no longer be, or never came about.
    fn give_back(&mut self, n: usize);

    /// Whether no credit is left.
    fn is_exhausted(&self) -> bool;
}
