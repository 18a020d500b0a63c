//! Files as the checks see them.

use std::path::Path;

use fanfare_tests::workspace;

/// A file of the project.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// One made up, to see a check fail.
    pub(crate) fn made_up(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Whether it is of this kind.
    pub(crate) fn has_ending(&self, ending: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|it| it == ending)
    }

    /// Lines with their numbers, comments cut off.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line: &'_ str| {
            let at = line
                .find("// ")
                .or_else(|| line.find("///"))
                .or_else(|| line.find("//!"));
            at.unwrap_or(line.len())
        };
        self.text
            .lines()
            .enumerate()
            .map(move |(n, line)| (n + 1, &line[..code(line)]))
    }

    /// The same without the tests at the end of the file; nothing if all of it is tests.
    pub(crate) fn code_without_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_all_tests = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        let tests = self.text.lines().position(|it| it == "#[cfg(test)]");
        let n_lines = if is_all_tests {
            0
        } else {
            tests.unwrap_or(usize::MAX)
        };
        self.code().take(n_lines)
    }
}

fn read(path: &Path) -> File {
    let name = path.to_string_lossy().replace('\\', "/");
    File {
        path: name,
        text: workspace::read(path),
    }
}

/// All Rust sources of the workspace.
pub(crate) fn rust() -> Vec<File> {
    let mut found = Vec::new();
    for folder in workspace::PRODUCT.iter().copied().chain(["tests"]) {
        for path in workspace::files(folder, &[".rs"]) {
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    let files: Vec<File> = found.iter().map(|it| read(it)).collect();
    assert!(files.len() > 100, "only {} sources were found", files.len());
    files
}

/// Everything that people wrote: sources, documents, scripts, configuration.
pub(crate) fn everything() -> Vec<File> {
    let endings = [
        ".rs", ".toml", ".md", ".sh", ".csv", ".json", ".yaml", ".yml", ".conf", ".service",
    ];
    let mut paths = workspace::files("", &endings);
    for folder in [".ci", ".cargo", "deploy"] {
        paths.extend(workspace::files(folder, &[""]));
    }
    paths.push("Cargo.lock".into());
    paths.push(".gitignore".into());
    paths.sort();
    paths.dedup();
    paths.iter().map(|it| read(it)).collect()
}

/// One file of the project.
pub(crate) fn one(path: &str) -> File {
    read(Path::new(path))
}

/// Whether `word` stands in `line` with no letter, digit or `_` beside it.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |it: Option<char>| it.is_some_and(|it| it.is_alphanumeric() || it == '_');
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (
            line[..at].chars().next_back(),
            line[at + word.len()..].chars().next(),
        );
        !is_part(before) && !is_part(after)
    })
}

/// Fails with all problems.
#[track_caller]
pub(crate) fn check(problems: Vec<String>) {
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
