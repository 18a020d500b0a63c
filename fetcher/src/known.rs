//! Events that are known to be stored. It saves publishes of what every poll shows again;
//! forgetting all of it publishes nothing twice.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use fanfare_nats::EventId;

/// Most ids that are remembered per source: about 6 MB.
const MAX: usize = 65_536;

/// A bounded set; the oldest id goes first.
#[derive(Debug, Default)]
pub(crate) struct Known {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ids: HashSet<EventId>,
    order: VecDeque<EventId>,
}

impl Known {
    pub(crate) fn contains(&self, id: &EventId) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.ids.contains(id)
    }

    pub(crate) fn insert(&self, id: EventId) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.ids.insert(id.clone()) {
            return;
        }
        inner.order.push_back(id);
        if inner.order.len() > MAX
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_nats::Level;
    use fanfare_nats::event::SourceName;

    use super::*;

    #[test]
    fn the_oldest_id_is_forgotten_first() {
        let source = SourceName::parse("s").unwrap();
        let id = |n: usize| EventId::new(&source, &n.to_string(), &Level::First);
        let known = Known::default();
        (0..=MAX).for_each(|n| known.insert(id(n)));
        known.insert(id(MAX));
        assert!(!known.contains(&id(0)));
        assert!(known.contains(&id(1)));
        assert!(known.contains(&id(MAX)));
    }
}
