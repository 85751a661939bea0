//! One child process: how it ends, what is written to it and read from it.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    os::fd::OwnedFd,
    process::{self, Command, ExitStatus, Output},
    rc::Rc,
    time::Duration,
};

use rustix::process::{Pid, Signal};

use super::orphans::{self, Orphan};
use crate::{
    error,
    file::{AsyncFile, watch::Watched},
    fork, future, log,
    sync::local::Lock,
    sys::Direction,
    time,
};

/// How long the first pauses are between two looks at a child, where the system has no descriptor
/// that tells of its end, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// A child process, and its ends of the pipes to it, as [`std::process::Child`].
///
/// ```
/// use std::process::{Command, Stdio};
/// use asyncoro::process::Child;
///
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let mut sort = Command::new("sort");
///     let mut sort = Child::spawn(sort.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
///     let output = sort.communicate("pear\napple\n").await?;
///     assert!(output.status.success());
///     assert_eq!(output.stdout, b"apple\npear\n");
///     Ok(())
/// })
/// # }
/// ```
///
/// # Dropped
/// A child that is dropped goes on, and is reaped when it ends, so no zombie is left. With
/// [`kill_on_drop`](Process::kill_on_drop) it is killed. Its pipes are closed.
#[derive(Debug)]
pub struct Child {
    /// What is written here is the child's standard input, if the command has that piped.
    pub stdin: Option<AsyncFile>,
    /// The child's standard output, if the command has that piped.
    pub stdout: Option<AsyncFile>,
    /// The child's standard error, if the command has that piped.
    pub stderr: Option<AsyncFile>,
    pub(super) process: Process,
    pub(super) input: Input,
}

/// What `communicate` has still to write.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    written: usize,
}

/// A running or ended process; a handle, whose clones mean the same one.
///
/// It lets one coroutine wait while another ends the process.
///
/// ```
/// use std::process::Command;
/// use asyncoro::process::Child;
///
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let mut child = Child::spawn(Command::new("sleep").arg("1000"))?;
///     let process = child.process();
///     asyncoro::spawn(async move { process.terminate() }).or_log();
///     assert!(!child.wait().await?.success());
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct Process(Rc<Shared>);

struct Shared {
    /// `None` once it was handed on, in the drop.
    child: RefCell<Option<process::Child>>,
    id: u32,
    /// The descriptor that tells of its end, where the system has one.
    end: Option<Rc<Watched>>,
    /// Held by the one that waits for that.
    turn: Lock<()>,
    status: Cell<Option<ExitStatus>>,
    kills: Cell<bool>,
    /// The process that has the child.
    parent: u32,
}

impl Child {
    /// Starts a process; the ends of the pipes that `command` asks for become files.
    ///
    /// Starting takes about as long as fork(2) and execve(2), in the call.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let command = &mut std::process::Command::new("true");
    ///     let mut child = asyncoro::process::Child::spawn(command)?;
    ///     assert!(child.wait().await?.success());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's, `NotFound` for a program that does not exist.
    pub fn spawn(command: &mut Command) -> io::Result<Child> {
        fork::watch();
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Process::of(child);
        let ends = || {
            let stdin = pipes.0.map(AsyncFile::own).transpose()?;
            let stdout = pipes.1.map(AsyncFile::own).transpose()?;
            io::Result::Ok((stdin, stdout, pipes.2.map(AsyncFile::own).transpose()?))
        };
        match ends() {
            Ok((stdin, stdout, stderr)) => {
                Ok(Child { stdin, stdout, stderr, process, input: Input::default() })
            }
            Err(error) => {
                process.kill_on_drop(true);
                Err(error)
            }
        }
    }

    /// Returns a handle to the process.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let command = &mut std::process::Command::new("true");
    ///     let child = asyncoro::process::Child::spawn(command)?;
    ///     assert!(child.process().wait().await?.success());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn process(&self) -> Process {
        self.process.clone()
    }

    /// Returns its number (PID).
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Closes the standard input, waits for the end, and returns how it ended.
    ///
    /// A child that writes more than its pipes hold does not end before somebody reads: see
    /// [`communicate`](Child::communicate).
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let command = &mut std::process::Command::new("false");
    ///     let mut child = asyncoro::process::Child::spawn(command)?;
    ///     assert_eq!(child.wait().await?.code(), Some(1));
    ///     assert_eq!(child.try_wait()?.unwrap().code(), Some(1));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The system's; `ECHILD` if other code of this process has taken the status.
    ///
    /// # Cancel
    /// Nothing is lost, but the standard input is closed.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        self.process.wait().await
    }

    /// Returns how it ended, if it has.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Ends it with SIGKILL. One that has ended is left alone.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&self) -> io::Result<()> {
        self.process.kill()
    }

    /// Asks it to end, with SIGTERM. One that has ended is left alone.
    ///
    /// # Errors
    /// The system's.
    pub fn terminate(&self) -> io::Result<()> {
        self.process.terminate()
    }

    /// Says whether the drop of this and of all its [`Process`]es kills it.
    pub fn kill_on_drop(&self, kills: bool) {
        self.process.kill_on_drop(kills);
    }

    /// Writes `input` to the standard input and closes it, reads standard output and error to their
    /// ends, and waits for the end of the process; all at once, so that it never stands still,
    /// however much that is.
    ///
    /// What is not piped is left out. A child that does not read all of its input is no error. It
    /// returns when the pipes have ended: a process that the child has left behind may have them
    /// still.
    ///
    /// # Example
    /// See [`Child`].
    ///
    /// # Errors
    /// `InvalidInput` for input without a pipe for it; the system's. As when it is dropped, nothing
    /// is lost.
    ///
    /// # Cancel
    /// Nothing is lost: the next `communicate("")` goes on, with the input too, and what was read
    /// stays with [`stdout`](Child::stdout) and [`stderr`](Child::stderr).
    pub async fn communicate(&mut self, input: impl Into<Vec<u8>>) -> io::Result<Output> {
        self.communicate_within(input, usize::MAX).await
    }

    /// As [`communicate`](Child::communicate), with at most `max` bytes of output, and as many of
    /// errors.
    ///
    /// # Example
    /// ```
    /// use std::process::{Command, Stdio};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let mut yes = Command::new("yes");
    ///     let mut yes = asyncoro::process::Child::spawn(yes.stdout(Stdio::piped()))?;
    ///     yes.kill_on_drop(true);
    ///     assert!(yes.communicate_within("", 10_000).await.is_err());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// `FileTooLarge` if it is more: the process goes on, and what was read is kept, for
    /// [`AsyncFile::read`] on its files. As `communicate`.
    ///
    /// # Cancel
    /// As [`communicate`](Child::communicate).
    pub async fn communicate_within(
        &mut self,
        input: impl Into<Vec<u8>>,
        max: usize,
    ) -> io::Result<Output> {
        self.add_input(input.into())?;
        // Each puts its bytes back where one fails, or all are dropped.
        let mut out = Gathered { file: &self.stdout, bytes: None };
        let mut err = Gathered { file: &self.stderr, bytes: None };
        let write = self.input.write(&mut self.stdin);
        future::try_join3(write, out.gather(max), err.gather(max)).await?;
        let status = self.process.wait().await?;
        Ok(Output { status, stdout: out.take(), stderr: err.take() })
    }

    /// Adds to what `communicate` is to write.
    pub(super) fn add_input(&mut self, input: Vec<u8>) -> io::Result<()> {
        if input.is_empty() {
            return Ok(());
        }
        if self.stdin.is_none() {
            return Err(error::invalid_input("the child's standard input is closed or not piped"));
        }
        self.input.bytes.extend(input);
        Ok(())
    }
}

impl Input {
    /// Writes all of it, and closes the file.
    pub(super) async fn write(&mut self, stdin: &mut Option<AsyncFile>) -> io::Result<()> {
        if let Some(file) = stdin {
            while self.written < self.bytes.len() {
                match file.write(&self.bytes[self.written..]).await {
                    Ok(count) => self.written += count,
                    // The child does not want the rest.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                    Err(error) => return Err(error),
                }
            }
        }
        *stdin = None;
        *self = Input::default();
        Ok(())
    }
}

/// What was read from a file to its end; the drop gives it back to the file.
pub(super) struct Gathered<'a> {
    pub(super) file: &'a Option<AsyncFile>,
    pub(super) bytes: Option<Vec<u8>>,
}

impl Gathered<'_> {
    pub(super) async fn gather(&mut self, max: usize) -> io::Result<()> {
        if let Some(file) = self.file {
            self.bytes = Some(file.read_to_end_within(max).await?);
        }
        Ok(())
    }

    pub(super) fn take(mut self) -> Vec<u8> {
        self.bytes.take().unwrap_or_default()
    }
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        if let (Some(file), Some(bytes)) = (self.file, self.bytes.take()) {
            file.put_back(bytes);
        }
    }
}

impl Process {
    fn of(child: process::Child) -> Process {
        let end = end_of(&child);
        Process::with(child, end)
    }

    fn with(child: process::Child, end: Option<OwnedFd>) -> Process {
        let end = end.map(Watched::new);
        Process(Rc::new(Shared {
            id: child.id(),
            end,
            child: RefCell::new(Some(child)),
            turn: Lock::default(),
            status: Cell::default(),
            kills: Cell::new(false),
            parent: fork::generation(),
        }))
    }

    /// Returns its number (PID); another process may have it once this one was waited for.
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// Waits for its end, and returns how it ended; again and to all who wait.
    ///
    /// On Linux the scheduler watches a descriptor of the process (pidfd_open(2)): no thread waits,
    /// and children of others are left to those. Where there is none it is looked for with pauses
    /// from 1 to 50 ms.
    ///
    /// # Errors
    /// The system's; `ECHILD` if other code of this process has taken the status.
    ///
    /// # Cancel
    /// Nothing is lost.
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        // A descriptor has one waiter: others have a duplicate, since the first may be kept for
        // long without being polled.
        let turn = self.0.turn.try_lock();
        let own = match (&self.0.end, &turn) {
            (Some(end), Some(_)) => Some(Rc::clone(end)),
            (Some(end), None) => end.fd().try_clone_to_owned().ok().map(Watched::new),
            (None, _) => None,
        };
        if let Some(end) = own {
            let look = || self.try_wait()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
            return end.attempt("wait", Direction::Read, look).await;
        }
        let [mut pause, longest] = PAUSES;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Returns how it ended, if it has.
    ///
    /// # Errors
    /// As [`wait`](Process::wait).
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.0.status.get() {
            return Ok(Some(status));
        }
        let status = match &mut *self.0.child.borrow_mut() {
            Some(child) => child.try_wait()?,
            None => None,
        };
        self.0.status.set(status);
        Ok(status)
    }

    /// Ends it with SIGKILL. One that has ended is left alone.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Asks it to end, with SIGTERM. One that has ended is left alone.
    ///
    /// # Errors
    /// The system's.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Says whether it is killed when the last handle, its [`Child`] among them, is dropped.
    pub fn kill_on_drop(&self, kills: bool) {
        self.0.kills.set(kills);
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        self.0.signal(signal)
    }
}

impl Shared {
    fn signal(&self, signal: Signal) -> io::Result<()> {
        // Until its status was taken nobody else can get its number.
        if self.status.get().is_some() {
            return Ok(());
        }
        let mut child = self.child.borrow_mut();
        let Some(child) = &mut *child else { return Ok(()) };
        if let Some(status) = child.try_wait()? {
            self.status.set(Some(status));
            return Ok(());
        }
        Ok(rustix::process::kill_process(Pid::from_child(child), signal)?)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A forked child of this process has a copy, and the process is no child of its own.
        if self.parent != fork::generation() || self.status.get().is_some() {
            return;
        }
        if self.kills.get()
            && let Err(error) = self.signal(Signal::KILL)
        {
            log::warn(format_args!("a dropped child cannot be killed: {error}"));
        }
        if let Some(child) = self.child.take() {
            let end = self.end.take().and_then(|end| Watched::into_fd(end).ok());
            orphans::adopt(Orphan { child, end });
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { id, status, .. } = &*self.0;
        f.debug_struct("Process").field("id", id).field("status", &status.get()).finish()
    }
}

/// Returns the descriptor that tells of a child's end; `None` where the system has none, or the
/// process may open no more files.
#[cfg(target_os = "linux")]
fn end_of(child: &process::Child) -> Option<OwnedFd> {
    use rustix::process::{PidfdFlags, pidfd_open};
    pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn end_of(_child: &process::Child) -> Option<OwnedFd> {
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Starts a child as on a system without descriptors of processes.
    fn without_descriptor(script: &str) -> Process {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        Process::with(child, None)
    }

    #[test]
    fn a_child_without_a_descriptor_is_waited_for_and_reaped() {
        crate::run(async {
            let process = without_descriptor("exit 9");
            let (first, second) = future::join(process.wait(), process.wait()).await;
            assert_eq!((first.unwrap().code(), second.unwrap().code()), (Some(9), Some(9)));
            let dropped = without_descriptor("sleep 0.02");
            let path = format!("/proc/{}", dropped.id());
            drop(dropped);
            let until = Instant::now() + Duration::from_secs(20);
            while std::fs::exists(&path).unwrap() {
                assert!(Instant::now() < until, "it is left");
                time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
}
