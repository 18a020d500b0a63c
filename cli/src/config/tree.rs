//! A configuration as a tree in which each value knows where it was written; pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::path::Step;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// In a file, at a line counted from 1.
    File(Arc<PathBuf>, usize),
    /// In an environment variable.
    Variable(String),
    /// On the command line.
    Flag(&'static str),
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, line) => write!(f, "{}:{line}", file.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
            Self::Default => f.write_str("defaults"),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    /// The dotted path it had before anything was removed around it.
    pub(crate) key: String,
    pub(crate) shape: Shape,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Table(BTreeMap<String, Node>),
    List(Vec<Node>),
    Scalar(toml::Value),
}

impl Node {
    /// An empty table.
    pub(crate) fn table(origin: Origin) -> Self {
        Self {
            origin,
            key: String::new(),
            shape: Shape::Table(BTreeMap::new()),
        }
    }

    /// A text.
    pub(crate) fn text(origin: Origin, text: String) -> Self {
        Self {
            origin,
            key: String::new(),
            shape: Shape::Scalar(toml::Value::String(text)),
        }
    }

    /// Reads a file's text. The error is its line and what is wrong there.
    pub(crate) fn parse(file: &Path, text: &str) -> Result<Self, Vec<(Origin, String)>> {
        let lines = Lines {
            file: Arc::new(file.to_owned()),
            text,
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return lines
                .table(table.into_inner(), 0)
                .map_err(|error| vec![error]);
        }
        let told = errors.iter().map(|it| {
            (
                lines.at(it.span().map_or(0, |span| span.start)),
                it.message().to_owned(),
            )
        });
        Err(told.collect())
    }

    /// Puts `over` on top: tables are joined, lists continued, anything else replaced.
    pub(crate) fn merge(&mut self, over: Self) {
        match (&mut self.shape, over.shape) {
            (Shape::Table(under), Shape::Table(over)) => {
                for (name, node) in over {
                    match under.get_mut(&name) {
                        Some(there) => there.merge(node),
                        None => drop(under.insert(name, node)),
                    }
                }
            }
            (Shape::List(under), Shape::List(over)) => under.extend(over),
            (under, shape) => {
                *under = shape;
                self.origin = over.origin;
            }
        }
    }

    /// Puts a value at a path of names; tables on the way are made.
    pub(crate) fn set(&mut self, path: &[&str], value: Self) {
        let Some((first, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        if !matches!(self.shape, Shape::Table(_)) {
            self.shape = Shape::Table(BTreeMap::new());
        }
        if let Shape::Table(table) = &mut self.shape {
            let origin = value.origin.clone();
            table
                .entry((*first).to_owned())
                .or_insert_with(|| Self::table(origin))
                .set(rest, value);
        }
    }

    /// Writes into each value the path it has.
    pub(crate) fn name_all(&mut self, key: &str) {
        key.clone_into(&mut self.key);
        match &mut self.shape {
            Shape::Table(table) => {
                for (name, node) in table {
                    let dot = if key.is_empty() { "" } else { "." };
                    node.name_all(&format!("{key}{dot}{name}"));
                }
            }
            Shape::List(list) => {
                for (number, node) in list.iter_mut().enumerate() {
                    node.name_all(&format!("{key}[{number}]"));
                }
            }
            Shape::Scalar(_) => {}
        }
    }

    /// The value at a path, or the last one on the way that exists.
    pub(crate) fn nearest(&self, path: &[Step]) -> &Self {
        let next = match (path.first(), &self.shape) {
            (Some(Step::Name(name)), Shape::Table(table)) => table.get(name),
            (Some(Step::Number(number)), Shape::List(list)) => list.get(*number),
            _ => None,
        };
        match (next, path.split_first()) {
            (Some(next), Some((_, rest))) => next.nearest(rest),
            _ => self,
        }
    }

    /// The value at a path.
    pub(crate) fn at_mut(&mut self, path: &[Step]) -> Option<&mut Self> {
        let Some((first, rest)) = path.split_first() else {
            return Some(self);
        };
        let next = match (first, &mut self.shape) {
            (Step::Name(name), Shape::Table(table)) => table.get_mut(name),
            (Step::Number(number), Shape::List(list)) => list.get_mut(*number),
            _ => None,
        };
        next?.at_mut(rest)
    }

    /// Takes the value at a path out.
    pub(crate) fn remove(&mut self, path: &[Step]) -> Option<Self> {
        let (step, parents) = path.split_last()?;
        match (step, &mut self.at_mut(parents)?.shape) {
            (Step::Name(name), Shape::Table(table)) => table.remove(name),
            (Step::Number(number), Shape::List(list)) if *number < list.len() => {
                Some(list.remove(*number))
            }
            _ => None,
        }
    }

    /// The plain value.
    pub(crate) fn to_value(&self) -> toml::Value {
        match &self.shape {
            Shape::Table(table) => {
                let pairs = table
                    .iter()
                    .map(|(name, node)| (name.clone(), node.to_value()));
                toml::Value::Table(pairs.collect())
            }
            Shape::List(list) => toml::Value::Array(list.iter().map(Self::to_value).collect()),
            Shape::Scalar(value) => value.clone(),
        }
    }
}

/// A file's text, for finding lines in it.
struct Lines<'t> {
    file: Arc<PathBuf>,
    text: &'t str,
}

impl Lines<'_> {
    fn at(&self, offset: usize) -> Origin {
        let before = self
            .text
            .as_bytes()
            .get(..offset)
            .unwrap_or(self.text.as_bytes());
        let line = before.split(|it| *it == b'\n').count();
        Origin::File(Arc::clone(&self.file), line)
    }

    fn table(&self, table: DeTable<'_>, offset: usize) -> Result<Node, (Origin, String)> {
        let mut nodes = BTreeMap::new();
        for (name, value) in table {
            let at = name.span().start;
            nodes.insert(name.into_inner().into_owned(), self.value(value, Some(at))?);
        }
        let shape = Shape::Table(nodes);
        Ok(Node {
            origin: self.at(offset),
            key: String::new(),
            shape,
        })
    }

    /// `key_at` is where the value's key stands, which is the line people look for.
    fn value(
        &self,
        value: Spanned<DeValue<'_>>,
        key_at: Option<usize>,
    ) -> Result<Node, (Origin, String)> {
        let offset = key_at.unwrap_or(value.span().start);
        let span = value.span();
        let shape = match value.into_inner() {
            DeValue::Table(table) => return self.table(table, offset),
            DeValue::Array(array) => {
                let nodes = array.into_iter().map(|it| self.value(it, None));
                Shape::List(nodes.collect::<Result<_, _>>()?)
            }
            scalar @ (DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)) => {
                let scalar = ValueDeserializer::from(Spanned::new(span, scalar));
                let scalar = toml::Value::deserialize(scalar)
                    .map_err(|error| (self.at(offset), error.message().to_owned()))?;
                Shape::Scalar(scalar)
            }
        };
        Ok(Node {
            origin: self.at(offset),
            key: String::new(),
            shape,
        })
    }
}
