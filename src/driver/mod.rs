//! The interface to the kernel's readiness: which sources are ready, and sleeping until one is.
//!
//! # Contract
//! - A source is registered edge-triggered, under a [`Token`] that the caller chose. A token must
//!   not be reused while an event of its former source may still be delivered; callers put a
//!   generation into it.
//! - After `add`, what is ready already is reported as a first event, so that registering after a
//!   call that would have blocked loses nothing.
//! - A descriptor can be registered once; for a second registration, register a duplicate.
//! - An event is a hint: the call that it announces may still return `WouldBlock`.
//! - `remove` is called before the descriptor is closed.
//! - [`Doorbell::ring`] ends a sleep from any thread, including the next one if none is in
//!   progress.
//! - Nothing in here calls a higher layer; the caller takes the events and finds their sources.
//!
//! There are two backends with the same methods: `epoll.rs` calls the kernel itself, `poll.rs` uses
//! the `polling` crate and serves other Unix systems. On Linux the portable one can be forced
//! (`ASYNCORO_DRIVER=poll`, or the scheduler's builder), so that each change is tested on both.
//! `doorbell.rs` wakes a scheduler from other threads, `idle.rs` decides when to poll before
//! sleeping. Schedulers, coroutines and sockets read the clock here.

mod doorbell;
#[cfg(target_os = "linux")]
mod epoll;
mod event;
mod idle;
mod poll;

use std::{
    env, io,
    os::fd::{BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use crate::{log, primitives::Arc};

pub(crate) use self::{
    doorbell::Doorbell,
    event::{Event, FULL, Interest, Ready, Token},
};
use self::{
    event::{EVENTS, Wait},
    idle::Idle,
};

/// Environment variable that chooses the backend: `epoll` or `poll`.
pub(crate) const DRIVER_VARIABLE: &str = "ASYNCORO_DRIVER";

/// How long an idle scheduler polls before it sleeps, unless set; it does so only while events
/// arrive that fast.
pub(crate) const DEFAULT_SPIN: Duration = Duration::from_micros(100);

/// A backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackendKind {
    /// epoll(7), called directly.
    #[cfg(target_os = "linux")]
    Epoll,
    /// The `polling` crate.
    Portable,
}

impl BackendKind {
    /// Returns the best backend of this system, unless the environment names another.
    pub(crate) fn from_environment() -> BackendKind {
        match env::var(DRIVER_VARIABLE).as_deref() {
            Ok("poll") => BackendKind::Portable,
            Ok("epoll") | Err(_) => BackendKind::native(),
            Ok(other) => {
                log::warn(format_args!("{DRIVER_VARIABLE}={other} names no driver; ignored"));
                BackendKind::native()
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn native() -> BackendKind {
        BackendKind::Epoll
    }

    #[cfg(not(target_os = "linux"))]
    fn native() -> BackendKind {
        BackendKind::Portable
    }
}

enum Backend {
    #[cfg(target_os = "linux")]
    Epoll(epoll::Epoll),
    Portable(poll::Portable),
}

/// A scheduler's access to readiness, the doorbell and the clock.
pub(crate) struct Driver {
    backend: Backend,
    bell: Arc<Doorbell>,
    idle: Idle,
    events: Vec<Event>,
}

impl Driver {
    /// Opens a backend; `spin` is how long to poll before sleeping, zero for never.
    pub(crate) fn new(kind: BackendKind, spin: Duration) -> io::Result<Driver> {
        let (backend, bell) = match kind {
            #[cfg(target_os = "linux")]
            BackendKind::Epoll => {
                let (epoll, bell) = epoll::Epoll::new()?;
                (Backend::Epoll(epoll), bell)
            }
            BackendKind::Portable => {
                let (portable, bell) = poll::Portable::new()?;
                (Backend::Portable(portable), bell)
            }
        };
        let events = Vec::with_capacity(EVENTS);
        Ok(Driver { backend, bell: Arc::new(bell), idle: Idle::new(spin), events })
    }

    /// Returns the doorbell with which other threads wake this driver.
    pub(crate) fn bell(&self) -> Arc<Doorbell> {
        Arc::clone(&self.bell)
    }

    /// Reads the clock.
    pub(crate) fn now() -> Instant {
        Instant::now()
    }

    /// Returns the instant `time` from now; a hundred years from now if the clock cannot represent
    /// that.
    pub(crate) fn after(time: Duration) -> Instant {
        let now = Driver::now();
        now.checked_add(time).or_else(|| now.checked_add(NEVER)).unwrap_or(now)
    }

    /// Tells whether this backend distinguishes a hang-up from data. If not, a short read never
    /// means "drained".
    pub(crate) fn tells_hangup(&self) -> bool {
        match &self.backend {
            #[cfg(target_os = "linux")]
            Backend::Epoll(_) => true,
            Backend::Portable(_) => false,
        }
    }

    /// Returns the backend's name, for statistics.
    pub(crate) fn name(&self) -> &'static str {
        match &self.backend {
            #[cfg(target_os = "linux")]
            Backend::Epoll(_) => "epoll",
            Backend::Portable(_) => "poll",
        }
    }

    /// Returns a duplicate of the backend's own descriptor, which is readable while a wait would
    /// return at once: there are events, or the doorbell has ended a sleep.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        match &self.backend {
            #[cfg(target_os = "linux")]
            Backend::Epoll(epoll) => epoll.descriptor(),
            Backend::Portable(portable) => portable.descriptor(),
        }
    }

    /// Sleeps at once from now on, where it would poll for a moment first.
    pub(crate) fn never_spin(&mut self) {
        self.idle = Idle::new(Duration::ZERO);
    }

    /// Registers a source; fails with `AlreadyExists` if its descriptor is registered.
    pub(crate) fn add(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        match &self.backend {
            #[cfg(target_os = "linux")]
            Backend::Epoll(epoll) => epoll.add(fd, interest, token),
            Backend::Portable(portable) => portable.add(fd, interest, token),
        }
    }

    /// Changes the interest of a source, or registers it; what is ready already is reported again.
    pub(crate) fn modify(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        match &self.backend {
            #[cfg(target_os = "linux")]
            Backend::Epoll(epoll) => epoll.modify(fd, interest, token),
            Backend::Portable(portable) => portable.modify(fd, interest, token),
        }
    }

    /// Removes a source. An error means that it was not registered, and is ignored.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        match &self.backend {
            #[cfg(target_os = "linux")]
            Backend::Epoll(epoll) => epoll.remove(fd),
            Backend::Portable(portable) => portable.remove(fd),
        }
    }

    /// Collects what is ready, without waiting.
    pub(crate) fn poll(&mut self) -> io::Result<()> {
        self.wait(Wait::Zero)
    }

    /// Waits until something is ready, the doorbell rings, or `deadline` has come; polls for a
    /// while before it sleeps if the idle policy says so. `asked` tells whether something was sent
    /// since the last wait.
    pub(crate) fn idle(&mut self, deadline: Option<Instant>, asked: bool) -> io::Result<()> {
        let spin = self.idle.spin(asked);
        if !spin.is_zero() {
            let answered = self.spin(spin, deadline)?;
            self.idle.spun(answered);
            if answered {
                self.idle.ended(self.bell.is_rung());
                return Ok(());
            }
        }
        if !self.bell.fall_asleep() {
            self.idle.ended(true);
            return self.wait(Wait::Zero);
        }
        let before = Driver::now();
        let wait = match deadline {
            None => Wait::Forever,
            Some(deadline) => match deadline.saturating_duration_since(before) {
                Duration::ZERO => Wait::Zero,
                left => Wait::For(left),
            },
        };
        let result = self.wait(wait);
        let rung = self.bell.wake_up();
        self.idle.ended(rung);
        if rung || !self.events.is_empty() {
            self.idle.slept(Driver::now() - before);
        }
        result
    }

    /// Tells whether the last wait collected events.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Takes the collected events; return the vector with [`Driver::recycle`].
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes the vector of events back, so that it is allocated once.
    pub(crate) fn recycle(&mut self, mut events: Vec<Event>) {
        events.clear();
        self.events = events;
    }

    fn spin(&mut self, time: Duration, deadline: Option<Instant>) -> io::Result<bool> {
        // The clock is not read before the first poll, which most often finds an event.
        let mut until = None;
        loop {
            self.wait(Wait::Zero)?;
            if !self.events.is_empty() || self.bell.is_rung() {
                return Ok(true);
            }
            let now = Driver::now();
            let until = *until.get_or_insert_with(|| {
                let end = now.checked_add(time).unwrap_or(now);
                deadline.map_or(end, |deadline| deadline.min(end))
            });
            if now >= until {
                return Ok(false);
            }
            std::hint::spin_loop();
        }
    }

    fn wait(&mut self, wait: Wait) -> io::Result<()> {
        match &mut self.backend {
            #[cfg(target_os = "linux")]
            Backend::Epoll(epoll) => epoll.wait(wait, &mut self.events),
            Backend::Portable(portable) => portable.wait(wait, &mut self.events),
        }
    }
}

/// A hundred years.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[cfg(all(test, not(loom)))]
mod tests;
