//! From a topic to the subscriptions whose pattern matches it.

use std::collections::HashMap;

use crate::tenant;
use crate::topic::{RESERVED, Topic};

/// Patterns by segment. Emptied nodes stay: their number is that of distinct patterns ever seen.
#[derive(Debug, Default)]
pub(super) struct Trie {
    children: HashMap<Box<str>, Trie>,
    here: Vec<u32>,
}

impl Trie {
    /// Adds a subscription under its pattern.
    pub(super) fn insert(&mut self, pattern: &str, subscription: u32) {
        let mut node = self;
        for segment in pattern.split('.') {
            node = node.children.entry(segment.into()).or_default();
        }
        node.here.push(subscription);
    }

    /// Removes a subscription from its pattern.
    pub(super) fn remove(&mut self, pattern: &str, subscription: u32) {
        let mut node = self;
        for segment in pattern.split('.') {
            match node.children.get_mut(segment) {
                Some(child) => node = child,
                None => return,
            }
        }
        node.here.retain(|it| *it != subscription);
    }

    /// Adds every subscription that matches to `found`. Reserved topics match no pattern, a tenant's
    /// topics its own alone.
    pub(super) fn find(&self, topic: &Topic, found: &mut Vec<u32>) {
        let (tenant, Some(followed)) = topic.followed() else {
            return;
        };
        if let Some(root) = self.of_tenant(tenant) {
            let segments: Vec<&str> = followed.split('.').collect();
            root.descend(&segments, found);
        }
    }

    /// Where a tenant's patterns begin. They are below a segment that no pattern of `main` has.
    fn of_tenant(&self, tenant: Option<&str>) -> Option<&Self> {
        let Some(tenant) = tenant else {
            return Some(self);
        };
        let mut path = [RESERVED, tenant::SEGMENT, tenant].into_iter();
        path.try_fold(self, |node, segment| node.children.get(segment))
    }

    fn descend(&self, segments: &[&str], found: &mut Vec<u32>) {
        let Some((first, rest)) = segments.split_first() else {
            found.extend_from_slice(&self.here);
            return;
        };
        if let Some(tail) = self.children.get(">") {
            found.extend_from_slice(&tail.here);
        }
        for key in [*first, "*"] {
            if let Some(child) = self.children.get(key) {
                child.descend(rest, found);
            }
        }
    }
}
