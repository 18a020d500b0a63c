//! The sources on disk, for checks that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders of the workspace that hold crates whose code is in the executable.
pub const PRODUCT: [&str; 7] = [
    "nats",
    "nats/server",
    "fetcher",
    "notifier",
    "api",
    "sim",
    "cli",
];

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// All files below `folder` (relative to the root) whose names end in one of `endings`, in order,
/// as paths relative to the root. Build output and hidden folders are left out.
///
/// # Panics
/// If a folder cannot be read.
pub fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                let is_output = name.starts_with('.') || (name == "target" && folder == root);
                if !is_output {
                    folders.push(path);
                }
            } else if endings.iter().any(|it| name.ends_with(it)) {
                found.push(path.strip_prefix(&root).unwrap_or(&path).to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The text of a file, by its path relative to the root.
///
/// # Panics
/// If it cannot be read.
pub fn read(path: &Path) -> String {
    let full = root().join(path);
    fs::read_to_string(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()))
}
