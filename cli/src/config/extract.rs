//! Types the parts of the tree, and finds all that is wrong instead of the first.
//!
//! serde ends at the first error. So what it names is taken out of the tree, remembered as a
//! problem, and the rest tried again.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_nats::Problem;
use serde::de::DeserializeOwned;

use super::Located;
use super::path::{self, Step};
use super::tree::{Node, Origin, Shape};

/// More problems than anyone wants to read at once.
const ENOUGH: usize = 100;

/// There is a problem in it, which is noted.
pub(super) struct Wrong;

/// A tree from which the parts are taken one after the other.
pub(super) struct Parts<'p> {
    whole: Node,
    rest: BTreeMap<String, Node>,
    problems: &'p mut Vec<Located>,
}

impl<'p> Parts<'p> {
    pub(super) fn new(tree: Node, problems: &'p mut Vec<Located>) -> Self {
        let rest = match &tree.shape {
            Shape::Table(table) => table.clone(),
            Shape::List(_) | Shape::Scalar(_) => BTreeMap::new(),
        };
        Self {
            whole: tree,
            rest,
            problems,
        }
    }

    /// Takes the named tables as one value; `None` if there is a problem in them.
    pub(super) fn take<T: DeserializeOwned>(&mut self, tables: &[&str]) -> Option<T> {
        let mut tree = Node::table(Origin::Default);
        for table in tables {
            if let Some(node) = self.rest.remove(*table) {
                tree.set(&[table], node);
            }
        }
        typed(tree, self.problems)
    }

    /// Takes the content of one table, and the lists `beside` it as if they stood in it; `None`
    /// if there is a problem.
    pub(super) fn take_one<T: DeserializeOwned>(
        &mut self,
        table: &str,
        beside: &[&str],
    ) -> Option<T> {
        let mut tree = self
            .rest
            .remove(table)
            .unwrap_or_else(|| Node::table(Origin::Default));
        for name in beside {
            if let Some(node) = self.rest.remove(*name) {
                tree.set(&[name], node);
            }
        }
        typed(tree, self.problems)
    }

    /// Takes one table out of another, so that whoever takes the other does not see it; an error if
    /// there is a problem in it, `None` if it is not there.
    pub(super) fn take_out<T: DeserializeOwned>(
        &mut self,
        table: &str,
        name: &str,
    ) -> Result<Option<T>, Wrong> {
        let Some(Shape::Table(nodes)) = self.rest.get_mut(table).map(|it| &mut it.shape) else {
            return Ok(None);
        };
        match nodes.remove(name) {
            None => Ok(None),
            Some(node) => typed(node, self.problems).map(Some).ok_or(Wrong),
        }
    }

    /// Whatever was not taken is nobody's.
    pub(super) fn refuse_the_rest(&mut self) {
        for (name, node) in std::mem::take(&mut self.rest) {
            let message = "there is no such table; `fanfare init` writes a file with all of them";
            self.problems.push(Located {
                origin: Some(node.origin),
                key: name,
                message: message.to_owned(),
            });
        }
    }

    /// Adds what the parts find wrong with themselves.
    pub(super) fn add(&mut self, problems: Vec<Problem>) {
        for Problem { key, message } in problems {
            let origin = match &self.whole.nearest(&path::parse(&key)).origin {
                Origin::Default => None,
                origin @ (Origin::File(..) | Origin::Variable(_) | Origin::Flag(_)) => {
                    Some(origin.clone())
                }
            };
            self.problems.push(Located {
                origin,
                key,
                message,
            });
        }
    }
}

/// Types a tree; `None` and problems if it cannot be.
pub(super) fn typed<T: DeserializeOwned>(mut tree: Node, problems: &mut Vec<Located>) -> Option<T> {
    let mut removed = BTreeSet::new();
    let mut is_sound = true;
    for _ in 0..ENOUGH {
        let error = match serde_path_to_error::deserialize(tree.to_value()) {
            Ok(value) => return Some(value).filter(|_| is_sound),
            Err(error) => error,
        };
        let mut at = path::of_serde(error.path());
        let text = error.into_inner().to_string();
        if retype(&mut tree, &at) {
            continue;
        }
        is_sound = false;
        // An unknown key's path may end above it.
        let name = quoted(&text, "unknown field `").map(|it| Step::Name(it.to_owned()));
        if let Some(name) = name
            && at.last() != Some(&name)
        {
            at.push(name);
        }
        let node = tree.nearest(&at);
        let (key, origin) = (node.key.clone(), node.origin.clone());
        let missing = quoted(&text, "missing field `");
        // A key that is missing because it was wrong has been told of.
        if !missing.is_some_and(|it| removed.contains(&format!("{key}.{it}"))) {
            problems.push(Located {
                origin: Some(origin),
                key: key.clone(),
                message: first(&text),
            });
        }
        removed.insert(key);
        tree.remove(&at)?;
    }
    None
}

/// A variable's text may be meant as a number or a truth value; which, only the type knows. Its
/// turn comes when the text as such is refused.
fn retype(tree: &mut Node, at: &[Step]) -> bool {
    let Some(node) = tree.at_mut(at) else {
        return false;
    };
    let Shape::Scalar(toml::Value::String(text)) = &node.shape else {
        return false;
    };
    if !matches!(node.origin, Origin::Variable(_) | Origin::Flag(_)) {
        return false;
    }
    let value = toml::from_str::<toml::Table>(&format!("value = {text}"));
    let Some(value) = value.ok().and_then(|mut it| it.remove("value")) else {
        return false;
    };
    if value.is_str() {
        return false;
    }
    node.shape = Shape::Scalar(value);
    true
}

/// What stands between `before` and the next backtick.
fn quoted<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split('`').next()
}

/// The first line: the rest repeats the path, which is told better.
fn first(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}
