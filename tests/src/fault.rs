//! What is done to processes, to their clocks and to the broker's disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_nats::fail::is_point;
use fanfare_nats::testing::TestServer;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// What an executable with fail points says, and so has among its bytes.
const MARK: &[u8] = b"fanfare fail point kills here";

/// A process that is told to die at a named place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashAt {
    /// Which place.
    pub point: &'static str,
    /// At which passage, from 1.
    pub passage: u64,
    /// How long it stands there before. What does not wait for it shows itself.
    pub held: Duration,
}

impl CrashAt {
    /// At this passage of a known place.
    ///
    /// # Panics
    /// If there is no such place.
    #[track_caller]
    pub fn new(point: &'static str, passage: u64) -> Self {
        assert!(is_point(point), "no such fail point: {point}");
        Self {
            point,
            passage,
            held: Duration::ZERO,
        }
    }

    /// The same, after it has stood there for half a second.
    #[must_use]
    pub fn held(self) -> Self {
        Self {
            held: Duration::from_millis(500),
            ..self
        }
    }

    /// The variable that arms a process.
    pub fn variable(&self) -> (&'static str, String) {
        let Self {
            point,
            passage,
            held,
        } = self;
        // Older executables know no time.
        let wish = if held.is_zero() {
            format!("{point}:{passage}")
        } else {
            format!("{point}:{passage}:{}", held.as_millis())
        };
        ("FANFARE_CRASH_AT", wish)
    }
}

/// Checks that an executable was built with fail points.
///
/// # Errors
/// How to build one.
pub fn has_fail_points(executable: &Path) -> Result<(), String> {
    let bytes =
        std::fs::read(executable).map_err(|error| format!("{}: {error}", executable.display()))?;
    if bytes.windows(MARK.len()).any(|it| it == MARK) {
        return Ok(());
    }
    Err(format!(
        "{} has no fail points; `cargo test --workspace` builds one that has, and so does \
         `cargo build --release -p fanfare --features fanfare-nats/fail-points --target-dir target/campaign`",
        executable.display()
    ))
}

/// A clock that a process with fail points reads through.
#[derive(Clone, Debug)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A clock that is right, kept in `folder`.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn new(folder: &Path, name: &str) -> Self {
        let clock = Self {
            file: folder.join(format!("{name}.clock")),
        };
        clock.step(0);
        clock
    }

    /// Sets it so many seconds before (or behind) the true time.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn step(&self, seconds: i64) {
        std::fs::write(&self.file, seconds.to_string()).unwrap();
    }

    /// The variable that a process needs.
    pub fn variable(&self) -> (&'static str, String) {
        ("FANFARE_CLOCK_FILE", self.file.display().to_string())
    }
}

/// Lets no file of the broker grow: each write fails as on a full disk, with another error number.
/// `false` lets them grow again.
///
/// # Panics
/// If the operating system refuses.
pub fn fill_disk(server: &mut TestServer, is_full: bool) {
    let pid = Pid::from_raw(server.server().pid()).unwrap();
    let maximum = getrlimit(Resource::Fsize).maximum;
    let current = if is_full { Some(1024) } else { maximum };
    let limit = Rlimit { current, maximum };
    prlimit(Some(pid), Resource::Fsize, limit).unwrap();
}
