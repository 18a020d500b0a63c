//! What the machine offers a server: disk, memory, file descriptors.

use std::path::Path;

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};

const GIB: u64 = 1 << 30;

/// The streams' own limits add up to 3.25 GiB; below this the server would refuse them.
const ENOUGH_DISK: u64 = 5 * GIB;

/// A store of many streams holds several files open for each, a client a socket.
const ENOUGH_FILES: u64 = 4096;

/// How much a server may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// For streams in memory: only short-lived consumers of ours are.
    pub(super) memory_bytes: u64,
    /// For streams on disk.
    pub(super) file_bytes: u64,
}

/// The limits for a store in `folder`: three quarters of what is free, and what the store already
/// holds.
pub(super) fn limits(folder: &Path) -> Limits {
    let free = free_bytes(folder).unwrap_or(ENOUGH_DISK);
    Limits {
        memory_bytes: 256 << 20,
        file_bytes: free / 4 * 3 + used_bytes(folder),
    }
}

/// What an operator should know about this machine, as sentences.
pub(super) fn advice(folder: &Path) -> Vec<String> {
    advise(
        free_bytes(folder),
        getrlimit(Resource::Nofile).maximum,
        folder,
    )
}

fn advise(free: Option<u64>, files: Option<u64>, folder: &Path) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(free) = free.filter(|it| *it < ENOUGH_DISK) {
        advice.push(format!(
            "only {} MB are free for {}: the streams may grow to 3.3 GB, and a full disk stops publishing; \
             free some, or choose another folder with --data-dir",
            free >> 20,
            folder.display()
        ));
    }
    if let Some(files) = files.filter(|it| *it < ENOUGH_FILES) {
        advice.push(format!(
            "this process may open only {files} files: raise the limit to {ENOUGH_FILES} or more \
             (`ulimit -Hn`, or LimitNOFILE= of a systemd unit)"
        ));
    }
    advice
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// The size of all files below `folder`; what cannot be read counts nothing.
fn used_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(it) if it.is_dir() => folders.push(entry.path()),
                Ok(it) => bytes += it.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_comes_only_when_something_is_short() {
        let folder = Path::new("/d");
        assert!(advise(Some(ENOUGH_DISK), Some(ENOUGH_FILES), folder).is_empty());
        assert!(advise(None, None, folder).is_empty());
        let advice = advise(Some(GIB), Some(256), folder);
        assert!(
            advice[0].contains("1024 MB") && advice[1].contains("256 files"),
            "{advice:?}"
        );
    }

    #[test]
    fn a_store_keeps_the_room_that_it_has_taken() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("stream")).unwrap();
        std::fs::write(folder.path().join("stream/block"), [0; 1000]).unwrap();
        assert_eq!(used_bytes(folder.path()), 1000);
    }
}
