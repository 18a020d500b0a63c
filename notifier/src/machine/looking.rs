//! While a level is sent, its item is looked at again and again: does a higher one stand?

use std::time::Duration;

use super::{At, LEVELS_KNOWN, Standing, TaskMachine};

impl<L> TaskMachine<L> {
    pub(super) fn look_is_due(&self, at: &At) -> bool {
        self.has_levels() && self.sending.looking.is_none() && self.look_at() <= at.mono
    }

    pub(super) fn look_at(&self) -> Duration {
        (self.sending.looked_at + LEVELS_KNOWN / 2).max(self.sending.look_after)
    }

    pub(super) fn looked_again(&mut self, standing: Option<Standing>, at: &At) {
        let begun = self.sending.looking.take();
        match standing {
            Some(standing) => {
                self.sending.looked_at = begun.unwrap_or(self.sending.looked_at);
                self.sending.is_superseded |= standing.is_superseded;
            }
            None => self.sending.look_after = at.mono + LEVELS_KNOWN / 2,
        }
    }
}
