//! What the handles of a blocking socket share, and how an operation is driven on it.

use std::{
    io,
    ops::Deref,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use rustix::io::Errno;

use super::interrupt;
#[cfg(feature = "tls")]
use super::late;
use crate::{
    coro::settle::{FIRST_PAUSE, LAST_PAUSE},
    driver::Driver,
    error,
    primitives::{Mutex, lock},
    socket::{
        GOODBYE,
        core::Side,
        create,
        exclusive::{Exclusive, Taken},
        inbound::ReadSide,
        not_acknowledged,
        ops::Farewell,
        outbound::{self, WriteSide},
        settings::Settings,
        step::{Op, Progress},
        sys::{Direction, Sys},
    },
};

/// What the handles share.
pub(super) struct Twin {
    pub(super) sys: Kernel,
    pub(super) settings: Mutex<Settings>,
    pub(super) read: Exclusive<ReadSide>,
    pub(super) write: Exclusive<WriteSide>,
    pub(super) closed: AtomicBool,
    /// Held by the thread whose verb shakes hands.
    #[cfg(feature = "tls")]
    pub(super) shaking: Mutex<()>,
}

/// The twin's socket, until it is taken apart.
pub(super) struct Kernel(pub(super) Option<Sys>);

impl Deref for Kernel {
    type Target = Sys;

    fn deref(&self) -> &Sys {
        self.0.as_ref().expect("only the last handle takes it apart")
    }
}

/// Sends what is still queued as far as it goes, and tells the log what is lost. Over TLS, where
/// the peer is to be told that nothing follows, a thread of the process goes on with it.
impl Drop for Twin {
    fn drop(&mut self) {
        let Some(sys) = self.sys.0.take() else { return };
        if self.is_closed() {
            return;
        }
        let Some(mut side) = self.write.try_take() else { return };
        side.refill();
        #[cfg(feature = "tls")]
        if sys.is_secure() {
            return late::finish(sys, std::mem::take(&mut *side));
        }
        let queued = side.queued();
        match side.flush(&sys) {
            // The peer of a socket without TLS is told by the end of the stream itself.
            Progress::Done(Ok(())) => {}
            _ if queued == 0 => {}
            Progress::Done(Err(error)) => tracing::warn!(
                "asyncoro: a BlockingSocket was dropped with {queued} bytes to send, and they are \
                 lost: {error}"
            ),
            Progress::Wait | Progress::Again => tracing::warn!(
                "asyncoro: a BlockingSocket was dropped with {} bytes that could not be sent at \
                 once, and they are lost; close() waits for them",
                side.queued()
            ),
        }
    }
}

/// A side, where the twin keeps it.
pub(super) trait Kept: Side {
    fn of(twin: &Twin) -> &Exclusive<Self>;
}

impl Kept for ReadSide {
    fn of(twin: &Twin) -> &Exclusive<ReadSide> {
        &twin.read
    }
}

impl Kept for WriteSide {
    fn of(twin: &Twin) -> &Exclusive<WriteSide> {
        &twin.write
    }
}

impl Twin {
    pub(super) fn settings(&self) -> Settings {
        *lock(&self.settings)
    }

    /// The settings that operations are stepped with: there is no turn at whose end a message could
    /// leave, so each leaves at once.
    pub(super) fn stepping(&self) -> Settings {
        let mut settings = self.settings();
        settings.coalescing = false;
        settings
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Runs an operation to its end, waiting in poll(2). If a handshake is due, that goes first.
    pub(super) fn drive<O: Op<Side: Kept>>(&self, op: O) -> io::Result<O::Output> {
        #[cfg(feature = "tls")]
        if !O::CLOSES {
            self.shake_first()?;
        }
        let result = self.drive_in_turn(op, None);
        outbound::drop_spent();
        result
    }

    /// `until`: no longer than that, whatever the timeout is.
    pub(super) fn drive_in_turn<O: Op<Side: Kept>>(
        &self,
        mut op: O,
        until: Option<Instant>,
    ) -> io::Result<O::Output> {
        O::check(self.sys.kind())?;
        let settings = self.stepping();
        let mut side = self.turn::<O>(settings)?;
        let from_now = || {
            let timeout = settings.timeout().map(|timeout| Driver::now() + timeout);
            timeout.into_iter().chain(until).min()
        };
        let mut deadline = from_now();
        let now =
            |op: &O, side: &O::Side| (op.moved(), side.moved(), self.sys.moved(O::Side::DIRECTION));
        let mut moved = now(&op, &side);
        loop {
            if self.is_closed() && !O::CLOSES {
                return Err(error::closed());
            }
            side.refill();
            let result = match op.step(&self.sys, settings, &mut side) {
                Progress::Done(result) => result,
                progress => {
                    let now = now(&op, &side);
                    if now != moved {
                        moved = now;
                        deadline = from_now();
                    }
                    let waited = match progress {
                        Progress::Again => self.let_others_go_first(deadline),
                        _ => self.wait::<O>(deadline),
                    };
                    if matches!(waited, Ok(true)) {
                        continue;
                    }
                    let queued = op.give_up(&mut side);
                    return Err(waited.err().unwrap_or_else(|| error::timed_out(moved.0, queued)));
                }
            };
            return match result {
                // A close in another thread makes itself known as whatever the system says then.
                _ if self.is_closed() && !O::CLOSES => Err(error::closed()),
                Ok(value) => {
                    // There is no scheduler that would send what TLS has taken and found no room.
                    while O::Side::DIRECTION == Direction::Write
                        && self.sys.owes()
                        && self.sys.push() == Err(Errno::AGAIN)
                        && self.wait::<O>(deadline)?
                    {}
                    Ok(value)
                }
                Err(error) => Err(error),
            };
        }
    }

    /// Tells the peer that nothing follows, if there is TLS to say it in. One that does not read
    /// cannot hold this up for long.
    pub(super) fn end_tls<const CLOSES: bool>(&self) -> io::Result<()> {
        if !self.sys.is_secure() {
            return Ok(());
        }
        let until = Driver::now() + GOODBYE;
        let told = self.drive_in_turn(Farewell::<CLOSES>, Some(until));
        // If it cannot be said, what was sent before may have arrived all the same.
        if CLOSES { self.settled(until) } else { told }
    }

    /// Waits until what was sent has arrived, see `Sys::settle`.
    pub(super) fn settled(&self, until: Instant) -> io::Result<()> {
        let mut pause = FIRST_PAUSE;
        while !self.sys.settle()? {
            let left = until.saturating_duration_since(Driver::now());
            if left.is_zero() {
                return Err(not_acknowledged());
            }
            thread::sleep(pause.min(left));
            interrupt::check()?;
            pause = (2 * pause).min(LAST_PAUSE);
        }
        Ok(())
    }

    /// Attempts anew where the queue of another Unix socket is full, under the timeout.
    pub(super) fn patiently<O: Op<Side: Kept>>(
        &self,
        mut op: impl FnMut() -> O,
    ) -> io::Result<O::Output> {
        let mut deadline = None;
        loop {
            match self.drive(op()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let now = Driver::now();
                    let timeout = self.stepping().timeout();
                    let deadline = *deadline.get_or_insert_with(|| now.checked_add(timeout?));
                    if deadline.is_some_and(|deadline| now >= deadline) {
                        return Err(error::timed_out(0, false));
                    }
                    thread::sleep(create::UNIX_PAUSE);
                }
                result => return result,
            }
        }
    }

    /// Waits for the turn of the operation's direction, no longer than the timeout.
    pub(super) fn turn<O: Op<Side: Kept>>(
        &self,
        settings: Settings,
    ) -> io::Result<Taken<'_, O::Side>> {
        let side = O::Side::of(self);
        if let Some(taken) = side.try_take() {
            return Ok(taken);
        }
        let deadline = settings.timeout().map(|timeout| Driver::now() + timeout);
        let ask: Option<(_, &dyn Fn() -> io::Result<()>)> =
            interrupt::is_set().then_some((interrupt::SLICE, &interrupt::check));
        side.take(deadline, ask)?.ok_or_else(|| error::timed_out(0, false))
    }

    /// Waits until the operation's direction is ready; `false` when the deadline has come.
    fn wait<O: Op>(&self, deadline: Option<Instant>) -> io::Result<bool> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Driver::now()));
        let Some(ready) = self.sys.wait(O::Side::DIRECTION, left)? else {
            // The caller looks at its deadline and comes back.
            return interrupt::check().map(|()| true);
        };
        Ok(ready || deadline.is_none_or(|deadline| Driver::now() < deadline))
    }

    /// Goes on at once, unless the deadline has come.
    #[cold]
    fn let_others_go_first(&self, deadline: Option<Instant>) -> io::Result<bool> {
        interrupt::check()?;
        Ok(deadline.is_none_or(|deadline| Driver::now() < deadline))
    }

    /// Makes one attempt, unless a verb has the turn.
    pub(super) fn attempt<O: Op<Side: Kept>>(&self, mut op: O) -> io::Result<O::Output> {
        O::check(self.sys.kind())?;
        if self.is_closed() {
            return Err(error::closed());
        }
        #[cfg(feature = "tls")]
        self.try_shake_first()?;
        let mut side = O::Side::of(self).try_take().ok_or(io::ErrorKind::WouldBlock)?;
        side.refill();
        match op.step(&self.sys, self.stepping(), &mut side) {
            Progress::Done(Err(_)) if self.is_closed() => Err(error::closed()),
            Progress::Done(result) => result,
            Progress::Wait | Progress::Again => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
