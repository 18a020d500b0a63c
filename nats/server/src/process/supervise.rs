//! The thread of one child: spawns it, waits for it, reaps it. Two more read its output.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::child::State;
use super::{Launch, Line, Output};

/// How long the rest of an ended child's output is read. It is complete at once, unless a process
/// that the child left behind still holds the pipe.
const LAST_OUTPUT: Duration = Duration::from_millis(200);

/// Spawns the child, reports its pid or why there is none, and returns when the child has ended and
/// was reaped.
pub(super) fn run(launch: Launch, state: &Arc<State>, started: &SyncSender<io::Result<Pid>>) {
    let (mut process, all_read) = match spawn(&launch, state) {
        Ok(spawned) => spawned,
        Err(cause) => return drop(started.send(Err(cause))),
    };
    drop(launch); // Our copies of the shared files: the child has its own.
    let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) else {
        return drop(started.send(Err(io::Error::other("the child has no process id"))));
    };
    drop(started.send(Ok(pid)));
    // Waits without reaping, so that the number stays the child's until the lock is held.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
    let _last_words = all_read.recv_timeout(LAST_OUTPUT);
    state.reap(|| process.wait().unwrap_or_else(|_| ExitStatus::from_raw(0)));
}

fn spawn(launch: &Launch, state: &Arc<State>) -> io::Result<(std::process::Child, Receiver<()>)> {
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.arguments)
        .process_group(0)
        .stdin(Stdio::null());
    for (name, value) in &launch.variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(folder) = &launch.folder {
        command.current_dir(folder);
    }
    let output = || match launch.output {
        Output::Inherit => Stdio::inherit(),
        Output::Discard => Stdio::null(),
        Output::Keep | Output::Lines(_) => Stdio::piped(),
    };
    command.stdout(output()).stderr(output());
    before_exec(&mut command, launch);
    let mut process = command.spawn()?;
    let (reading, all_read) = mpsc::sync_channel(0);
    if let Some(pipe) = process.stdout.take() {
        read_lines(pipe, Line::Out, launch, state, reading.clone())?;
    }
    if let Some(pipe) = process.stderr.take() {
        read_lines(pipe, Line::Err, launch, state, reading)?;
    }
    Ok((process, all_read))
}

/// Has the child's last steps before its program do what only the child can do.
#[expect(
    unsafe_code,
    reason = "the standard library has no other way between fork and exec"
)]
fn before_exec(command: &mut Command, launch: &Launch) {
    use std::os::fd::{AsRawFd, BorrowedFd};

    let files: Vec<_> = launch.shared_files.iter().map(AsRawFd::as_raw_fd).collect();
    let ours = rustix::process::getpid();
    let on_our_death = launch.on_our_death;
    let steps = move || {
        #[cfg(target_os = "linux")]
        {
            rustix::process::set_parent_process_death_signal(Some(on_our_death.into()))?;
            // We may have died between the fork and the line above; then no signal will come.
            if rustix::process::getppid() != Some(ours) {
                return Err(rustix::io::Errno::SRCH.into());
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _unused = (ours, on_our_death);
        for file in &files {
            // SAFETY: `launch` owns these files and outlives the spawn that runs this.
            let file = unsafe { BorrowedFd::borrow_raw(*file) };
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: only system calls that are safe after a fork: prctl, getppid, fcntl; nothing
    // allocates or locks.
    unsafe { command.pre_exec(steps) };
}

/// Reads a pipe to its end on a thread; `reading` is dropped with it.
fn read_lines(
    pipe: impl Read + Send + 'static,
    kind: fn(String) -> Line,
    launch: &Launch,
    state: &Arc<State>,
    reading: SyncSender<()>,
) -> io::Result<()> {
    let state = Arc::clone(state);
    let listener = match &launch.output {
        Output::Lines(listener) => Some(Arc::clone(listener)),
        Output::Inherit | Output::Discard | Output::Keep => None,
    };
    let read = move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        // Not `lines()`: bytes that are no UTF-8 must not end the reading, or the child's pipe
        // fills up.
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&bytes);
            let line = kind(text.trim_end_matches(['\n', '\r']).to_owned());
            state.keep(&line);
            if let Some(listener) = &listener {
                listener(&line);
            }
            bytes.clear();
        }
        drop(reading);
    };
    std::thread::Builder::new()
        .name("child output".into())
        .spawn(read)?;
    Ok(())
}
