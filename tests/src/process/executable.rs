//! Which executable is tested: `$FANFARE_BIN`, or the one that cargo built beside the tests; never
//! one that is older than its sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::workspace;

/// The executable's path.
///
/// `cargo test --workspace` builds it, `cargo test -p fanfare-tests` does not.
///
/// # Panics
/// If there is none, or it is older than its sources.
pub fn executable() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| match find() {
        Ok(found) => found,
        Err(why) => panic!("{why}"),
    })
}

fn find() -> Result<PathBuf, String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the harness has no configuration to read it"
    )]
    let named = std::env::var("FANFARE_BIN").ok().map(PathBuf::from);
    let binary = match named {
        Some(named) => named,
        None => beside_the_test()?,
    };
    let hint = "build it: cargo build -p fanfare (cargo test --workspace does)";
    let built = modified(&binary)
        .ok_or_else(|| format!("there is no executable at {}; {hint}", binary.display()))?;
    let newer = |it: &PathBuf| modified(it).is_some_and(|it| it > built);
    match sources(&binary).into_iter().find(newer) {
        Some(source) => Err(format!(
            "{} is older than {}; {hint}",
            binary.display(),
            source.display()
        )),
        None => Ok(binary),
    }
}

/// Tests are in `<profile>/deps/`, the executable in `<profile>/`.
fn beside_the_test() -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile = test
        .parent()
        .and_then(Path::parent)
        .ok_or("the test has no folder")?;
    Ok(profile.join(format!("fanfare{}", std::env::consts::EXE_SUFFIX)))
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|it| it.modified()).ok()
}

/// What it was made of: cargo's list beside it, or else every source of the product.
fn sources(binary: &Path) -> Vec<PathBuf> {
    let listed = fs::read_to_string(binary.with_extension("d")).unwrap_or_default();
    let listed = listed
        .split_once(": ")
        .map(|(_, files)| files.to_owned())
        .unwrap_or_default();
    if !listed.is_empty() {
        let listed = listed.replace("\\ ", "\0");
        return listed
            .split_whitespace()
            .map(|it| it.replace('\0', " ").into())
            .collect();
    }
    let crates = workspace::PRODUCT.iter();
    let files = crates.flat_map(|it| workspace::files(&format!("{it}/src"), &[".rs"]));
    files.map(|it| workspace::root().join(it)).collect()
}
