//! Reads the files and the environment into one tree.

use std::path::{Path, PathBuf};

use fanfare_nats_server::Environment;

use super::{Located, Node, Origin};

/// How the names of configuring variables begin: `FANFARE__NOTIFIER__CONCURRENCY`.
const PREFIX: &str = "FANFARE__";

/// The file in the current folder that is used when none is named.
const USUAL: &str = "fanfare.toml";

/// The file to read: the named one, `FANFARE_CONFIG`, or `fanfare.toml` here if there is one.
pub(crate) fn find(named: Option<PathBuf>, environment: &Environment) -> Option<PathBuf> {
    let usual = || Some(PathBuf::from(USUAL)).filter(|it| it.is_file());
    named
        .or_else(|| environment.get("FANFARE_CONFIG").map(PathBuf::from))
        .or_else(usual)
}

/// Reads `file` and the `conf.d/*.toml` beside it, in the order of their names.
pub(super) fn files(file: &Path, problems: &mut Vec<Located>) -> Node {
    let mut tree = one(file, problems);
    for file in snippets(file) {
        let over = one(&file, problems);
        tree.merge(over);
    }
    tree.name_all("");
    tree
}

/// Reads `file` and nothing else.
pub(super) fn alone(file: &Path, problems: &mut Vec<Located>) -> Node {
    let mut tree = one(file, problems);
    tree.name_all("");
    tree
}

fn snippets(file: &Path) -> Vec<PathBuf> {
    let folder = file.parent().unwrap_or(Path::new("")).join("conf.d");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|it| it.path())
        .filter(|it| it.extension().is_some_and(|it| it == "toml"))
        .collect();
    files.sort();
    files
}

fn one(file: &Path, problems: &mut Vec<Located>) -> Node {
    let mut problem = |origin, message| {
        problems.push(Located {
            origin: Some(origin),
            key: String::new(),
            message,
        });
    };
    let start = || Origin::File(std::sync::Arc::new(file.to_owned()), 1);
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
    match text {
        Err(error) => problem(start(), format!("cannot be read: {error}")),
        Ok(text) => match Node::parse(file, &text) {
            Ok(node) => return node,
            Err(errors) => errors
                .into_iter()
                .for_each(|(origin, error)| problem(origin, error)),
        },
    }
    Node::table(start())
}

/// Puts the configuring variables over the files, and the flags over those.
pub(super) fn overlay(
    tree: &mut Node,
    environment: &Environment,
    set: &[(&'static str, String)],
    problems: &mut Vec<Located>,
) {
    for (name, text) in environment.iter() {
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let path = path.to_ascii_lowercase();
        let path: Vec<_> = path.split("__").collect();
        let origin = Origin::Variable(name.to_owned());
        if path.len() < 2 || path.iter().any(|it| it.is_empty()) {
            let message = "write FANFARE__SECTION__KEY, for example FANFARE__NATS__URL".to_owned();
            problems.push(Located {
                origin: Some(origin),
                key: String::new(),
                message,
            });
            continue;
        }
        tree.set(&path, Node::text(origin, text.to_owned()));
    }
    for (key, text) in set {
        let path: Vec<_> = key.split('.').collect();
        tree.set(
            &path,
            Node::text(Origin::Flag("command line"), text.clone()),
        );
    }
    tree.name_all("");
}
