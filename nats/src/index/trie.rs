//! From a topic to the subscriptions whose pattern matches it.

use std::collections::HashMap;

use crate::topic::Topic;

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

    /// Adds every subscription that matches to `found`. Reserved topics match no pattern.
    pub(super) fn find(&self, topic: &Topic, found: &mut Vec<u32>) {
        if !topic.is_reserved() {
            let segments: Vec<&str> = topic.as_str().split('.').collect();
            self.descend(&segments, found);
        }
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
