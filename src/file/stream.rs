//! Pipes, terminals and other devices: what is read and written through readiness.
//!
//! Whether a call blocks (`O_NONBLOCK`) is a property of the open file description, which other
//! processes may share: the standard input and output of a shell's programs are one. So it is set
//! only where the description is this file's alone. Else the file gets a description of its own by
//! opening the same pipe or terminal again (Linux, `/proc/self/fd`). Where that is not possible it
//! asks poll(2) before each call, and writes no more at once than poll has promised room for.

use std::{
    cell::Cell,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    rc::Rc,
};

use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, Stat},
    io::Errno,
};

use super::{ahead::Ahead, watch::Watched};
use crate::{coro::current, sys::Direction};

/// How much a pipe takes without blocking when poll(2) says that there is room (`PIPE_BUF`).
const PIPE_ROOM: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// A descriptor without a position.
pub(super) struct Stream {
    watched: Rc<Watched>,
    /// Whether calls may block, so that poll(2) is asked first.
    polls: bool,
    /// Whether no writer was there yet: a pipe with a name that was opened without waiting for one
    /// reads like one that has ended.
    awaits_writer: Cell<bool>,
}

impl Stream {
    /// Takes a descriptor whose description nobody shares.
    pub(super) fn own(fd: OwnedFd) -> io::Result<Stream> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Stream::with(fd, false))
    }

    /// Takes a pipe with a name, opened for reading just now without waiting for a writer.
    pub(super) fn named_pipe(fd: OwnedFd) -> io::Result<Stream> {
        let stream = Stream::own(fd)?;
        stream.awaits_writer.set(true);
        Ok(stream)
    }

    /// Takes a descriptor whose description others may share.
    pub(super) fn shared(fd: OwnedFd, stat: &Stat) -> io::Result<Stream> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        if flags.contains(OFlags::NONBLOCK) {
            return Ok(Stream::with(fd, false));
        }
        match opened_again(&fd, stat, flags) {
            Some(own) => Ok(Stream::with(own, false)),
            None => Ok(Stream::with(fd, true)),
        }
    }

    fn with(fd: OwnedFd, polls: bool) -> Stream {
        Stream { watched: Watched::new(fd), polls, awaits_writer: Cell::new(false) }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.watched.fd()
    }

    pub(super) fn into_fd(self) -> io::Result<OwnedFd> {
        Watched::into_fd(self.watched)
    }

    /// Reads into `buffer`; 0 at the end.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let attempt = || self.try_read(|fd| rustix::io::read(fd, &mut *buffer));
        charged(self.watched.attempt("read", Direction::Read, attempt).await)
    }

    /// Waits until a read would not block.
    pub(super) async fn readable(&self) -> io::Result<()> {
        let attempt =
            || if self.is_ready(PollFlags::IN)? { Ok(()) } else { Err(Errno::WOULDBLOCK.into()) };
        self.watched.attempt("readable", Direction::Read, attempt).await
    }

    /// Appends at most `room` bytes to those read ahead; returns how many, 0 at the end.
    pub(super) async fn fill(
        &self,
        ahead: &std::cell::RefCell<Ahead>,
        room: usize,
    ) -> io::Result<usize> {
        let attempt = || {
            self.try_read(|fd| {
                let into = |bytes: &mut Vec<u8>| read_about(fd, bytes, room);
                ahead.borrow_mut().fill(room, into)
            })
        };
        charged(self.watched.attempt("read", Direction::Read, attempt).await)
    }

    /// Writes what there is room for.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let attempt = || {
            if !self.polls {
                return uninterrupted(|| rustix::io::write(self.fd(), bytes));
            }
            if !self.is_ready(PollFlags::OUT)? {
                return Err(Errno::WOULDBLOCK.into());
            }
            let part = &bytes[..bytes.len().min(PIPE_ROOM)];
            uninterrupted(|| rustix::io::write(self.fd(), part))
        };
        charged(self.watched.attempt("write", Direction::Write, attempt).await)
    }

    fn try_read(
        &self,
        mut read: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        if (self.polls || self.awaits_writer.get()) && !self.is_ready(PollFlags::IN)? {
            return Err(Errno::WOULDBLOCK.into());
        }
        let count = uninterrupted(|| read(self.fd()))?;
        self.awaits_writer.set(false);
        Ok(count)
    }

    /// Tells whether a call would not block, an end or an error among the reasons.
    fn is_ready(&self, direction: PollFlags) -> io::Result<bool> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::from_borrowed_fd(self.fd(), direction)];
        uninterrupted(|| poll(&mut fds, Some(&now)))?;
        Ok(!fds[0].revents().is_empty())
    }
}

/// Appends at most twice as many bytes as `room`, which is reserved.
fn read_about(fd: BorrowedFd<'_>, bytes: &mut Vec<u8>, room: usize) -> Result<usize, Errno> {
    let len = bytes.len();
    if bytes.capacity() - len <= 2 * room {
        return rustix::io::read(fd, spare_capacity(bytes));
    }
    // A buffer that has grown has room for more than others may be kept waiting for.
    bytes.resize(len + room, 0);
    let read = rustix::io::read(fd, &mut bytes[len..]);
    bytes.truncate(len + read.unwrap_or(0));
    read
}

/// Charges the coroutine for the bytes that it has moved.
fn charged(moved: io::Result<usize>) -> io::Result<usize> {
    if let Ok(count) = moved {
        current::with(|engine| engine.charge(count));
    }
    moved
}

/// Makes a call again that a signal has interrupted.
fn uninterrupted<R>(mut call: impl FnMut() -> Result<R, Errno>) -> io::Result<R> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Opens a pipe or a terminal again, for a description of its own. Opening another device may mean
/// anything: /dev/ptmx, for one, makes a new terminal each time.
#[cfg(target_os = "linux")]
fn opened_again(fd: &OwnedFd, stat: &Stat, flags: OFlags) -> Option<OwnedFd> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{FileType, Mode};

    let is_pipe = FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
    if !(is_pipe || is_terminal(stat)) || flags.contains(OFlags::DIRECT) {
        return None;
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mode = flags & OFlags::RWMODE;
    let how = mode | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let own = rustix::fs::open(path, how, Mode::empty()).ok()?;
    let found = rustix::fs::fstat(&own).ok()?;
    let is_same =
        (found.st_dev, found.st_ino, found.st_rdev) == (stat.st_dev, stat.st_ino, stat.st_rdev);
    is_same.then_some(own)
}

#[cfg(not(target_os = "linux"))]
fn opened_again(_fd: &OwnedFd, _stat: &Stat, _flags: OFlags) -> Option<OwnedFd> {
    None
}

/// Tells whether it is a terminal's own end: a virtual console, or one of devpts (majors 136 to
/// 143, see the kernel's list of devices).
#[cfg(target_os = "linux")]
fn is_terminal(stat: &Stat) -> bool {
    use rustix::fs::FileType;

    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let major = rustix::fs::major(stat.st_rdev);
    is_device && (major == 4 || (136..=143).contains(&major))
}
