//! TLS sockets of threads that were dropped before their peers had all: the queue, the
//! close_notify, bytes not acknowledged yet.
//!
//! A drop waits for nothing, and no scheduler would continue. So one thread of the process finishes
//! all these sockets, each for at most 5 s; the thread ends when none is left. A child of fork(2)
//! has no such thread and starts its own.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use crate::{
    coro::engine::{FIRST_PAUSE, LAST_PAUSE},
    driver::Driver,
    error,
    fork::Global,
    log,
    primitives::{Mutex, MutexGuard, lock},
    socket::{
        ending::{LONGEST, not_acknowledged},
        link::Link,
        side::{Progress, WriteSide, drop_spent},
    },
};

/// A dropped socket.
struct Late {
    link: Link,
    side: WriteSide,
    until: Instant,
    look: Instant,
    pause: Duration,
}

/// Sockets handed to the thread of this process; `None` while there is no thread.
static LATE: Global<Mutex<Option<Vec<Late>>>> = Global::new();

fn list() -> MutexGuard<'static, Option<Vec<Late>>> {
    lock(LATE.of_this_process(|_| Mutex::default()))
}

/// Finishes a dropped socket: as far as possible at once, then in the thread.
pub(super) fn finish(link: Link, side: WriteSide) {
    let now = Driver::now();
    let (until, pause) = (now + LONGEST, FIRST_PAUSE);
    let mut late = Late { link, side, until, look: now + pause, pause };
    if late.is_done() {
        return;
    }
    match late.link.into_own() {
        Ok(link) => hand_over(Late { link, ..late }),
        Err(error) => lost(&error),
    }
}

fn hand_over(late: Late) {
    let mut list = list();
    if let Some(list) = &mut *list {
        return list.push(late);
    }
    *list = Some(vec![late]);
    let thread = thread::Builder::new().name("asyncoro-late".into());
    if let Err(error) = thread.spawn(work) {
        let left = list.take();
        drop(list);
        lost(&error);
        drop(left);
    }
}

fn work() {
    let mut kept = Vec::new();
    loop {
        {
            let mut list = list();
            if let Some(list) = &mut *list {
                kept.append(list);
            }
            if kept.is_empty() {
                *list = None;
                return;
            }
        }
        let now = Driver::now();
        kept.retain_mut(|late| late.look > now || !late.is_done_by(now));
        let next = kept.iter().map(|late| late.look).min();
        // A socket added meanwhile was looked at just before.
        let pause = next.map_or(FIRST_PAUSE, |next| next.saturating_duration_since(now));
        thread::sleep(pause.clamp(FIRST_PAUSE, LAST_PAUSE));
    }
}

impl Late {
    fn is_done_by(&mut self, now: Instant) -> bool {
        if self.is_done() {
            return true;
        }
        if now >= self.until {
            lost(&not_acknowledged());
            return true;
        }
        self.pause = (2 * self.pause).min(LAST_PAUSE);
        self.look = now + self.pause;
        false
    }

    /// Tells whether nothing is left to do: all has arrived, or the loss was logged.
    fn is_done(&mut self) -> bool {
        let progress = self.go_on();
        drop_spent();
        match progress {
            Progress::Done(Ok(settled)) => {
                if settled {
                    self.link.drain_before_close();
                }
                settled
            }
            Progress::Done(Err(error)) => {
                lost(&error);
                true
            }
            Progress::Wait | Progress::Again => false,
        }
    }

    fn go_on(&mut self) -> Progress<bool> {
        self.side.refill();
        match self.side.flush_all(&self.link) {
            Progress::Done(Ok(())) => {}
            progress => return progress.map(|()| true),
        }
        self.link.close_notify();
        match self.side.push(&self.link) {
            // Even if it cannot be sent, what was sent before may have arrived.
            Progress::Done(_) => Progress::Done(self.link.settle()),
            progress => progress.map(|()| true),
        }
    }
}

#[cold]
fn lost(error: &io::Error) {
    let tell = if error::peer_has_gone(error) { log::debug } else { log::warn };
    tell(format_args!("the peer of a dropped BlockingSocket may miss bytes: {error}"));
}
