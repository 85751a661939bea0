//! epoll(7), called directly: one system call per wait.
//!
//! Registration goes through `rustix`. The wait goes through `libc`, because `rustix` decides at
//! compile time between `epoll_wait` and `epoll_pwait2` (Linux 5.11, nanoseconds), and this file at
//! run time: where the kernel lacks the latter, timeouts are rounded up to milliseconds.
//!
//! Unsafe: the two waiting calls, which fill a buffer that this file owns.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    ptr,
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    io::Errno,
};

use super::{
    doorbell::Doorbell,
    event::{BELL, EVENTS, Event, Interest, Ready, Token, Wait},
};

/// An epoll instance and its buffer for events.
pub(super) struct Epoll {
    epoll: OwnedFd,
    buffer: Vec<libc::epoll_event>,
    nanoseconds: bool,
}

impl Epoll {
    /// Opens an instance and registers its doorbell.
    pub(super) fn new() -> io::Result<(Epoll, Doorbell)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &eventfd, epoll::EventData::new_u64(BELL.0), flags)?;
        // Edge-triggered: each write is a new edge, so the counter need not be read. A write to a
        // full counter fails with EAGAIN and makes no edge, so then the counter is emptied first.
        let bell = Doorbell::new(move || {
            while let Err(Errno::AGAIN) = rustix::io::write(&eventfd, &1u64.to_ne_bytes()) {
                let _ = rustix::io::read(&eventfd, &mut [0u8; 8]);
            }
        });
        let buffer = Vec::with_capacity(EVENTS);
        Ok((Epoll { epoll, buffer, nanoseconds: true }, bell))
    }

    /// Returns a duplicate of its descriptor.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.epoll.try_clone()
    }

    pub(super) fn add(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.0);
        Ok(epoll::add(&self.epoll, fd, data, flags(interest))?)
    }

    pub(super) fn modify(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.0);
        match epoll::modify(&self.epoll, fd, data, flags(interest)) {
            Err(Errno::NOENT) => Ok(epoll::add(&self.epoll, fd, data, flags(interest))?),
            result => Ok(result?),
        }
    }

    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Appends what is ready to `events`. An interrupted wait returns without events.
    pub(super) fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        let count = match wait {
            Wait::Zero => self.wait_ms(0),
            Wait::Forever => self.wait_ms(-1),
            Wait::For(time) if self.nanoseconds => self.wait_ns(time),
            Wait::For(time) => self.wait_ms(ms(time)),
        };
        match count {
            Ok(count) => self.collect(count, events),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn collect(&self, count: usize, events: &mut Vec<Event>) {
        // SAFETY: the kernel has filled the first `count` entries of the buffer, and nothing has
        // touched it since; `count` is at most its capacity.
        let ready = unsafe { std::slice::from_raw_parts(self.buffer.as_ptr(), count) };
        for event in ready {
            let (bits, token) = (event.events, Token(event.u64));
            if token != BELL {
                events.push(Event { token, ready: ready_of(bits) });
            }
        }
    }

    fn wait_ms(&mut self, timeout: i32) -> io::Result<usize> {
        // SAFETY: the buffer is ours alone and has capacity for `EVENTS` entries; the kernel writes
        // at most that many and keeps no reference to it; there is no signal mask. Called by
        // number, since the C library's function is a cancellation point, which costs time twice
        // per call in a process with several threads.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait,
                self.epoll.as_raw_fd(),
                self.buffer.as_mut_ptr(),
                EVENTS as libc::c_int,
                timeout,
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn wait_ns(&mut self, time: Duration) -> io::Result<usize> {
        let timeout = libc::timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        // SAFETY: as in `wait_ms`; `timeout` outlives the call, and there is no signal mask. Called
        // by number, since the C library may be older than the kernel.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.buffer.as_mut_ptr(),
                EVENTS as libc::c_int,
                &raw const timeout,
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        match usize::try_from(count) {
            Ok(count) => Ok(count),
            Err(_) => match io::Error::last_os_error() {
                // The kernel lacks the call, or a sandbox forbids it.
                error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.nanoseconds = false;
                    self.wait_ms(ms(time))
                }
                error => Err(error),
            },
        }
    }
}

/// Converts to milliseconds, rounded up, so that a wait never ends before its deadline.
fn ms(time: Duration) -> i32 {
    i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

fn flags(interest: Interest) -> epoll::EventFlags {
    let read = epoll::EventFlags::IN
        | epoll::EventFlags::RDHUP
        | epoll::EventFlags::PRI
        | epoll::EventFlags::ET;
    match interest {
        Interest::Read => read,
        Interest::Both => read | epoll::EventFlags::OUT,
    }
}

fn ready_of(bits: u32) -> Ready {
    let mut ready = Ready::default();
    let has = |mask: i32| bits & mask as u32 != 0;
    if has(libc::EPOLLIN) {
        ready = ready.and(Ready::READ);
    }
    if has(libc::EPOLLOUT) {
        ready = ready.and(Ready::WRITE);
    }
    if has(libc::EPOLLRDHUP) {
        ready = ready.and(Ready::READ).and(Ready::HANGUP);
    }
    if has(libc::EPOLLHUP | libc::EPOLLERR) {
        ready = ready.and(Ready::READ).and(Ready::WRITE).and(Ready::HANGUP);
    }
    if has(libc::EPOLLPRI) {
        ready = ready.and(Ready::READ).and(Ready::URGENT);
    }
    ready
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::{Epoll, Wait, ms};

    #[test]
    fn milliseconds_are_rounded_up() {
        assert_eq!(ms(Duration::from_nanos(1)), 1);
        assert_eq!(ms(Duration::from_millis(7)), 7);
        assert_eq!(ms(Duration::from_nanos(7_000_001)), 8);
        assert_eq!(ms(Duration::MAX), i32::MAX);
    }

    #[test]
    fn an_old_kernel_gets_whole_milliseconds() {
        let (mut epoll, _bell) = Epoll::new().unwrap();
        epoll.nanoseconds = false;
        let before = std::time::Instant::now();
        let mut events = Vec::new();
        epoll.wait(Wait::For(Duration::from_micros(1500)), &mut events).unwrap();
        assert!(before.elapsed() >= Duration::from_micros(1500));
        assert!(events.is_empty());
    }
}
