//! What the fail points do in a build that has them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::is_point;

/// How often the file of the clock is read at most.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a test wants of this process.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    Count,
    Crash {
        point: String,
        passage: u64,
        held: Duration,
    },
}

static WISH: LazyLock<Wish> =
    LazyLock::new(|| wish(&variable("FANFARE_CRASH_AT").unwrap_or_default()));

/// Passages of the armed place, or places that were passed.
static PASSED: AtomicU64 = AtomicU64::new(0);
static SEEN: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

#[expect(
    clippy::disallowed_methods,
    reason = "a test's wish, in test builds only"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What cannot be read is no wish: a test that armed nothing finds its process alive.
fn wish(text: &str) -> Wish {
    if text == "count" {
        return Wish::Count;
    }
    let Some((point, passage)) = text.split_once(':') else {
        return Wish::Nothing;
    };
    let (passage, held_ms) = passage.split_once(':').unwrap_or((passage, "0"));
    match (passage.parse(), held_ms.parse()) {
        (Ok(passage), Ok(held_ms)) if is_point(point) => Wish::Crash {
            point: point.to_owned(),
            passage,
            held: Duration::from_millis(held_ms),
        },
        _ => Wish::Nothing,
    }
}

pub(super) fn pass(name: &'static str) {
    match &*WISH {
        Wish::Nothing => {}
        Wish::Count => {
            let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
            let passed = seen.entry(name).or_default();
            *passed += 1;
            if *passed == 1 {
                eprintln!("fanfare fail point passed: {name}");
            }
        }
        Wish::Crash {
            point,
            passage,
            held,
        } => {
            if point == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *passage {
                hold(*held);
                eprintln!("fanfare fail point kills here: {name}");
                die();
            }
        }
    }
}

/// Whoever passes stands still, and what he has woken goes on.
fn hold(held: Duration) {
    use tokio::runtime::{Handle, RuntimeFlavor};
    if held.is_zero() {
        return;
    }
    let runtime = Handle::try_current().map(|it| it.runtime_flavor());
    if matches!(runtime, Ok(RuntimeFlavor::MultiThread)) {
        tokio::task::block_in_place(|| std::thread::sleep(held));
    } else {
        std::thread::sleep(held);
    }
}

/// As if somebody else had done it: nothing is flushed, dropped or said.
fn die() {
    use rustix::process::{Signal, getpid, kill_process};
    if let Err(error) = kill_process(getpid(), Signal::KILL) {
        eprintln!("fanfare fail point: SIGKILL was refused: {error}");
        std::process::abort();
    }
}

struct Shift {
    file: PathBuf,
    read_at: Option<Instant>,
    by: SignedDuration,
}

static SHIFT: LazyLock<Option<Mutex<Shift>>> = LazyLock::new(|| {
    let file = PathBuf::from(variable("FANFARE_CLOCK_FILE")?);
    Some(Mutex::new(Shift {
        file,
        read_at: None,
        by: SignedDuration::ZERO,
    }))
});

pub(super) fn shifted(now: Timestamp) -> Timestamp {
    let Some(shift) = &*SHIFT else {
        return now;
    };
    let mut shift = shift.lock().unwrap_or_else(PoisonError::into_inner);
    let is_old = shift.read_at.is_none_or(|it| it.elapsed() >= LOOK_EVERY);
    if is_old {
        shift.read_at = Some(Instant::now());
        let text = std::fs::read_to_string(&shift.file).unwrap_or_default();
        // A file that is being written is read the next time.
        if let Ok(seconds) = text.trim().parse() {
            shift.by = SignedDuration::from_secs(seconds);
        }
    }
    now.checked_add(shift.by).unwrap_or(now)
}

/// What is no number from 1 hurries nobody.
static HURRY: LazyLock<u32> = LazyLock::new(|| {
    let times = variable("FANFARE_HURRY").and_then(|it| it.parse().ok());
    times.unwrap_or(1).max(1)
});

pub(super) fn hurried(time: Duration) -> Duration {
    time / *HURRY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_place_and_a_number_arm_a_process() {
        let crash = |held_ms| Wish::Crash {
            point: "plan.taken".to_owned(),
            passage: 3,
            held: Duration::from_millis(held_ms),
        };
        assert_eq!(wish("plan.taken:3"), crash(0));
        assert_eq!(wish("plan.taken:3:250"), crash(250));
        assert_eq!(wish("count"), Wish::Count);
        for text in [
            "",
            "plan.taken",
            "plan.taken:x",
            "plan.taken:1:x",
            "plan.tkane:1",
        ] {
            assert_eq!(wish(text), Wish::Nothing, "{text}");
        }
    }
}
