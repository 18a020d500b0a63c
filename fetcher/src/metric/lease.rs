//! What is counted of an exclusive source's lease.

use super::SourceMetrics;

impl SourceMetrics {
    /// Notes whether this process holds the source's lease.
    pub fn holds_lease(&self, is_holder: bool) {
        let lease = self.all.lease.get_or_create(&self.label());
        lease.set(i64::from(is_holder));
    }

    /// Counts a lease that was taken.
    pub fn took_lease(&self) {
        self.all.takeovers.get_or_create(&self.label()).inc();
    }

    /// Counts a lease that was lost.
    pub fn lost_lease(&self) {
        self.all.leases_lost.get_or_create(&self.label()).inc();
    }

    /// Counts a publish that the end of its lease overtook.
    pub fn late_publish(&self) {
        self.all.late_publishes.get_or_create(&self.label()).inc();
    }

    /// How many publishes the end of a lease overtook.
    pub fn n_late_publishes(&self) -> u64 {
        self.all.late_publishes.get_or_create(&self.label()).get()
    }

    /// Whether this process holds the source's lease.
    pub fn is_holder(&self) -> bool {
        self.all.lease.get_or_create(&self.label()).get() == 1
    }

    /// How often this process took the source's lease.
    pub fn n_takeovers(&self) -> u64 {
        self.all.takeovers.get_or_create(&self.label()).get()
    }
}
