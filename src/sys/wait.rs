//! poll(2): waiting for a socket in the calling thread, and asking without waiting.

use std::{thread, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};

use super::{calls::again, errno::Result, kind::Direction, socket::Sys};

impl Sys {
    /// poll(2) for one direction; `false` when `timeout` is over first, `None` when a signal has
    /// interrupted it.
    pub(crate) fn wait(
        &self,
        direction: Direction,
        timeout: Option<Duration>,
    ) -> Result<Option<bool>> {
        let flags = match direction {
            Direction::Read => READABLE,
            Direction::Write => PollFlags::OUT,
        };
        let mut polled = [PollFd::new(&self.fd, flags)];
        match rustix::event::poll(&mut polled, timeout.map(timespec).as_ref()) {
            Ok(_) if polled[0].revents() == PollFlags::ERR => self.wait_beside_errors(timeout),
            Ok(count) => Ok(Some(count > 0)),
            Err(Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits a moment: while the error queue of the socket has something poll(2) tells that,
    /// whatever it is asked. That is no readiness, and waiting would end at once; so the caller
    /// tries again, and not too often.
    #[cold]
    fn wait_beside_errors(&self, timeout: Option<Duration>) -> Result<Option<bool>> {
        if timeout == Some(Duration::ZERO) {
            return Ok(Some(false));
        }
        thread::sleep(timeout.map_or(BESIDE_ERRORS, |timeout| timeout.min(BESIDE_ERRORS)));
        Ok(None)
    }

    /// Tells whether a read would not wait.
    pub(crate) fn is_readable(&self) -> Result<bool> {
        let mut polled = [PollFd::new(&self.fd, READABLE)];
        match again(|| rustix::event::poll(&mut polled, Some(&Timespec::default()))) {
            Ok(0) => Ok(false),
            // An error that a read would tell, or something in the error queue, which none does.
            Ok(_) if polled[0].revents() == PollFlags::ERR => match self.peek(&mut [0]) {
                Ok(_) => Ok(true),
                Err(Errno::AGAIN) => Ok(false),
                Err(error) => Err(error),
            },
            Ok(_) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// poll(2) for room to send on any of several sockets, or for an attempt to connect that has ended;
/// `false` when a signal has interrupted it.
pub(crate) fn wait_for_room(sockets: &[&Sys], timeout: Option<Duration>) -> Result<bool> {
    let polled = sockets.iter().map(|sys| PollFd::new(&sys.fd, PollFlags::OUT));
    let mut polled: Vec<PollFd<'_>> = polled.collect();
    match rustix::event::poll(&mut polled, timeout.map(timespec).as_ref()) {
        Ok(_) => Ok(true),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error),
    }
}

fn timespec(timeout: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}

/// How often a thread looks whether it can go on while the error queue has something.
const BESIDE_ERRORS: Duration = Duration::from_millis(1);

#[cfg(not(target_vendor = "apple"))]
const READABLE: PollFlags = PollFlags::IN.union(PollFlags::RDHUP);

/// Apple's systems report the end of a stream as readable, and have no other name for it.
#[cfg(target_vendor = "apple")]
const READABLE: PollFlags = PollFlags::IN;
