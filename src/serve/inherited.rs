//! Listeners that this process was started with (socket activation, `sd_listen_fds(3)`), and
//! starting another one with a listener.
//!
//! Unsafe: numbers of descriptors that came from outside. They are moved to new numbers, once in a
//! process, and only if the environment says that they were handed to this very process, so that
//! nobody else owns them: a descriptor that std or this crate has opened is closed on exec, and is
//! refused.
#![allow(unsafe_code)]

use std::{
    env,
    ffi::OsStr,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
    process::{self, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{addr::ToAddress, error, socket::AsyncSocket};

/// A descriptor that was handed to this process: by who has started it, or by
/// [`take_over`](super::take_over).
#[derive(Debug)]
pub struct Inherited {
    name: String,
    fd: OwnedFd,
}

impl Inherited {
    pub(super) fn new(name: String, fd: OwnedFd) -> Inherited {
        Inherited { name, fd }
    }

    /// Returns the name that it was given; `unknown`, if none was.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Converts it to a socket. It stays non-blocking for all that share it.
    ///
    /// # Errors
    /// `ENOTSOCK` if it is none: service managers hand over pipes, too.
    pub fn into_socket(self) -> io::Result<AsyncSocket> {
        let socket = AsyncSocket::new(self.fd)?;
        socket.leave_nonblocking()?;
        Ok(socket)
    }

    /// Returns the descriptor, which is closed on exec.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

/// The first descriptor that is handed over.
const FIRST: RawFd = 3;

/// Takes the descriptors that this process was started with, by systemd's socket activation
/// (`LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`; see `sd_listen_fds(3)`) or by [`inheriting`].
/// There are none if the variables are for another process, and none at a second call.
///
/// The variables stay as they are: changing the environment is unsafe while other threads may read
/// it. Children are not misled by them, since `LISTEN_PID` is not theirs, and do not inherit the
/// descriptors, which are closed on exec from now on. A program that replaces itself by exec(2)
/// keeps its number; it removes the variables from the new environment (`Command::env_remove`).
///
/// # Example
/// ```
/// use asyncoro::{AsyncSocket, serve::inherited};
///
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     for socket in inherited()? {
///         match socket.name() {
///             "http" => { /* serve(socket.into_socket()?, ...) */ }
///             other => eprintln!("nobody knows what to do with {other}"),
///         }
///     }
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// `InvalidData`, if the variables make no sense; `EBADF`, if there is no such descriptor;
/// `AlreadyExists`, if one of them is closed on exec, and so was opened by this process.
#[doc(alias = "sd_listen_fds")]
pub fn inherited() -> io::Result<Vec<Inherited>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let text = |name| env::var_os(name).and_then(|value| value.into_string().ok());
    if text("LISTEN_PID").and_then(|pid| pid.parse().ok()) != Some(process::id())
        || TAKEN.swap(true, Ordering::AcqRel)
    {
        return Ok(Vec::new());
    }
    let count = text("LISTEN_FDS").and_then(|count| count.parse::<u16>().ok());
    let Some(count) = count else {
        let text = "LISTEN_PID is of this process, and LISTEN_FDS is no number";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    };
    let names = text("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let numbers = FIRST..FIRST + RawFd::from(count);
    // All are looked at before one is taken.
    numbers.clone().try_for_each(check)?;
    let null = File::open("/dev/null")?;
    numbers
        .map(|number| {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown");
            let fd = take(number, &null)?;
            Ok(Inherited { name: name.to_owned(), fd })
        })
        .collect()
}

/// Moves a descriptor to a new number. The old one stays open, on `null`, and nobody's: if somebody
/// in this process has taken it as well, it is closed once all the same.
fn take(number: RawFd, null: &File) -> io::Result<OwnedFd> {
    // SAFETY: it was open a moment ago (`check`), and came from outside, so that nobody here closes
    // it; else the call fails.
    let given = unsafe { BorrowedFd::borrow_raw(number) };
    let fd = rustix::io::fcntl_dupfd_cloexec(given, FIRST)?;
    // SAFETY: replaces what the number stands for, and sets a flag; nobody here owns it.
    let moved = unsafe {
        libc::dup2(null.as_raw_fd(), number) >= 0
            && libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) >= 0
    };
    if moved { Ok(fd) } else { Err(io::Error::last_os_error()) }
}

/// Fails if a number is no descriptor that came from outside.
fn check(number: RawFd) -> io::Result<()> {
    // SAFETY: asks for flags; any number will do.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        let error = io::Error::last_os_error();
        return Err(error::of_system("LISTEN_FDS", format_args!("descriptor {number}"), error));
    }
    if flags & libc::FD_CLOEXEC != 0 {
        let text = format!("LISTEN_FDS: this process itself has opened descriptor {number}");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    Ok(())
}

/// Returns the listener that this process was started with, the first one, or else creates one at
/// `address` ([`AsyncSocket::create_server`]).
///
/// # Errors
/// As [`inherited`] and `create_server`.
///
/// # Cancel
/// As `create_server`.
pub async fn listener(address: impl ToAddress) -> io::Result<AsyncSocket> {
    match inherited()?.into_iter().next() {
        Some(inherited) => inherited.into_socket(),
        None => AsyncSocket::create_server(address).await,
    }
}

/// Makes a command that starts `program` with a listener, which [`inherited`], [`listener()`] and
/// every other program that knows socket activation find there. Arguments, environment, user and
/// folder are for the caller to set; its standard input is empty.
///
/// The command itself has the listener, too, as long as it lives.
///
/// # Example
/// ```no_run
/// use std::env;
///
/// use asyncoro::{AsyncSocket, process::Child, serve::{ServerHandle, inheriting}};
///
/// # async fn f(listener: AsyncSocket, handle: ServerHandle) -> std::io::Result<()> {
/// // Starts the program anew, by its name: its file may have been replaced meanwhile.
/// let mut arguments = env::args_os();
/// let program = arguments.next().expect("a program has a name");
/// let mut next = inheriting(program, &listener, "http")?;
/// let next = Child::spawn(next.args(arguments))?;
/// // Both accept now. Before this one stops, the other one should have said that it is ready, or
/// // at least not have ended: `next`, or `hand_over`.
/// handle.release();
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `NotFound` if there is no such program: without a slash in its name it is looked for in `PATH`.
/// `InvalidInput` for a name of the listener with a colon or a control character, which the
/// protocol does not allow; the system's.
///
/// # Platform
/// It needs `/bin/sh`, which knows the number of the process that it becomes.
pub fn inheriting(
    program: impl AsRef<OsStr>,
    listener: &AsyncSocket,
    name: &str,
) -> io::Result<Command> {
    let program = program.as_ref();
    if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
        return Err(error::invalid_input(format!("a listener cannot be named {name:?}")));
    }
    if !is_there(program) {
        let text = format!("there is no program {}", program.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    listener.leave_nonblocking()?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT]).arg(program).arg(name);
    command.stdin(Stdio::from(listener.as_fd().try_clone_to_owned()?));
    Ok(command)
}

/// Becomes the program, with the listener as its first descriptor. In the script, so that neither a
/// cleared environment nor what the caller sets matters.
const SCRIPT: &str = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=$1; shift; \
    export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES; exec \"$0\" \"$@\" 3<&0 </dev/null";

/// Tells whether there is a program of that name.
fn is_there(program: &OsStr) -> bool {
    if Path::new(program).components().count() > 1 {
        return Path::new(program).exists();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).exists())
}
