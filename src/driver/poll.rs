//! The portable backend, on the `polling` crate: for other Unix systems, and tested on Linux.
//!
//! It needs edge-triggered readiness (epoll, kqueue); `new` fails on a system without it. It does
//! not distinguish a hang-up from data, so a short read never means that a socket is drained.
//!
//! Unsafe: `Poller::add_with_mode`, which requires that a source is removed before it is closed.
#![allow(unsafe_code)]

use std::{
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use polling::{Event as PollEvent, Events, PollMode, Poller};

use super::{
    doorbell::Doorbell,
    event::{EVENTS, Event, Interest, Ready, Token, Wait},
};

/// A poller and its buffer for events.
pub(super) struct Portable {
    poller: Arc<Poller>,
    events: Events,
}

impl Portable {
    pub(super) fn new() -> io::Result<(Portable, Doorbell)> {
        let poller = Arc::new(Poller::new()?);
        if !poller.supports_edge() {
            let text = "this system has no edge-triggered readiness";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let bell = Doorbell::new({
            let poller = Arc::clone(&poller);
            move || {
                let _ = poller.notify();
            }
        });
        let events = Events::with_capacity(NonZeroUsize::new(EVENTS).expect("a constant above 0"));
        Ok((Portable { poller, events }, bell))
    }

    /// Returns a duplicate of its descriptor.
    #[cfg(any(
        target_os = "linux",
        target_os = "android",
        target_os = "illumos",
        target_os = "solaris",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
    ))]
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.poller.as_fd().try_clone_to_owned()
    }

    #[cfg(not(any(
        target_os = "linux",
        target_os = "android",
        target_os = "illumos",
        target_os = "solaris",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
    )))]
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        let text = "this system's readiness has no descriptor that another loop could watch";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    pub(super) fn add(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        // SAFETY: the contract in `driver/mod.rs` says that a source is removed before its
        // descriptor is closed; `socket/asynchronous/core.rs` and its drop keep it.
        unsafe { self.poller.add_with_mode(fd.as_raw_fd(), event(interest, token), PollMode::Edge) }
    }

    pub(super) fn modify(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        match self.poller.modify_with_mode(fd, event(interest, token), PollMode::Edge) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.add(fd, interest, token),
            result => result,
        }
    }

    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = self.poller.delete(fd);
    }

    pub(super) fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = match wait {
            Wait::Zero => Some(Duration::ZERO),
            Wait::For(time) => Some(time),
            Wait::Forever => None,
        };
        self.events.clear();
        match self.poller.wait(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let found = self.events.iter();
        events.extend(
            found.map(|event| Event { token: Token(event.key as u64), ready: ready_of(event) }),
        );
        Ok(())
    }
}

fn event(interest: Interest, token: Token) -> PollEvent {
    let write = interest == Interest::Both;
    PollEvent::new(token.0 as usize, true, write).with_interrupt().with_priority()
}

fn ready_of(event: PollEvent) -> Ready {
    let mut ready = Ready::default();
    if event.readable || event.is_priority() {
        ready = ready.and(Ready::READ);
    }
    if event.writable {
        ready = ready.and(Ready::WRITE);
    }
    if event.is_priority() {
        ready = ready.and(Ready::URGENT);
    }
    if event.is_interrupt() || event.is_err() == Some(true) {
        ready = ready.and(Ready::READ).and(Ready::WRITE).and(Ready::HANGUP);
    }
    ready
}
