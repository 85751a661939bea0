//! epoll(7), level-triggered.
//!
//! Unsafe: system calls, with descriptors and memory of this file's or of the caller's.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

/// Readers are told of data and of the end, writers of room; both of errors.
pub(super) const READ: u32 = libc::EPOLLIN as u32;
pub(super) const WRITE: u32 = libc::EPOLLOUT as u32;

/// Reports once, and then nothing until it is set again.
pub(super) const ONCE: u32 = libc::EPOLLONESHOT as u32;

/// The most events that one wait returns.
const EVENTS: usize = 256;

/// An instance.
pub(super) struct Epoll {
    fd: OwnedFd,
    /// Whether the kernel lacks epoll_pwait2(2), or a sandbox forbids it.
    only_ms: AtomicBool,
}

/// What a wait has brought.
#[derive(Default)]
pub(super) struct Events(Vec<libc::epoll_event>);

/// What is ready of a descriptor, as bits of epoll's.
pub(super) struct Event {
    pub(super) fd: RawFd,
    pub(super) bits: u32,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        // SAFETY: the descriptor is a new one, that nobody else has.
        let fd = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Epoll { fd, only_ms: AtomicBool::new(false) })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Sets for what a descriptor is watched, which is added if it is not there.
    pub(super) fn set(&self, fd: RawFd, is_added: bool, bits: u32) -> io::Result<()> {
        let (first, second, missing) = match is_added {
            false => (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD, libc::EEXIST),
            true => (libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD, libc::ENOENT),
        };
        match self.control(first, fd, bits) {
            Err(error) if error.raw_os_error() == Some(missing) => self.control(second, fd, bits),
            result => result,
        }
    }

    /// Watches a descriptor no more. It may be closed by now, which has removed it, unless another
    /// number is of the same open file.
    pub(super) fn remove(&self, fd: RawFd) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0);
    }

    fn control(&self, operation: i32, fd: RawFd, bits: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: bits, u64: fd as u64 };
        // SAFETY: the kernel copies the event, and keeps no reference to it.
        let result = unsafe { libc::epoll_ctl(self.fd(), operation, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits for events, until `limit` at most; a signal ends it, with none.
    pub(super) fn wait(&self, limit: Option<Duration>, events: &mut Events) -> io::Result<()> {
        let events = &mut events.0;
        events.clear();
        events.reserve_exact(EVENTS);
        let count = match limit {
            Some(limit) if limit.is_zero() => self.wait_ms(0, events),
            None => self.wait_ms(-1, events),
            Some(limit) if self.only_ms.load(Relaxed) => self.wait_ms(ms(limit), events),
            Some(limit) => match self.wait_ns(limit, events) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.only_ms.store(true, Relaxed);
                    self.wait_ms(ms(limit), events)
                }
                result => result,
            },
        };
        match count {
            // SAFETY: the kernel has filled that many, which is at most the capacity.
            Ok(count) => unsafe { events.set_len(count) },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn wait_ms(&self, timeout: i32, events: &mut Vec<libc::epoll_event>) -> io::Result<usize> {
        // SAFETY: the memory has room for that many events, and the kernel keeps no reference to
        // it. By number, since the C library's function is a cancellation point, which costs time.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait,
                self.fd(),
                events.as_mut_ptr(),
                EVENTS as libc::c_int,
                timeout,
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn wait_ns(&self, limit: Duration, events: &mut Vec<libc::epoll_event>) -> io::Result<usize> {
        let timeout = libc::timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        // SAFETY: as in `wait_ms`; `timeout` outlives the call.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd(),
                events.as_mut_ptr(),
                EVENTS as libc::c_int,
                &raw const timeout,
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

/// Converts to milliseconds, rounded up: no timer is called early.
fn ms(limit: Duration) -> i32 {
    i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

impl Events {
    pub(super) fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.0.iter().map(|event| Event { fd: event.u64 as RawFd, bits: event.events })
    }
}
