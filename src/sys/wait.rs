//! poll(2): waits for a socket in the calling thread, or checks it without waiting.

use std::{thread, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};

use super::{calls::again, errno::Result, kind::Direction, socket::Sys};

impl Sys {
    /// Calls poll(2) for one direction; `false` if `timeout` is over first, `None` if a signal has
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

    /// Waits a moment: while the socket's error queue is not empty, poll(2) reports that whatever
    /// it is asked. That is not readiness, and a wait would end at once; so the caller tries again,
    /// but not too often.
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
        if self.is_ahead() {
            return Ok(true);
        }
        let mut polled = [PollFd::new(&self.fd, READABLE)];
        match again(|| rustix::event::poll(&mut polled, Some(&Timespec::default()))) {
            Ok(0) => Ok(false),
            // An error for a read, or an entry of the error queue, which no read returns.
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

/// Calls poll(2) for room to send, or the end of an attempt to connect, on any of several sockets;
/// `false` if a signal has interrupted it.
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

/// Pause of a thread that waits while the socket's error queue is not empty.
const BESIDE_ERRORS: Duration = Duration::from_millis(1);

#[cfg(not(target_vendor = "apple"))]
const READABLE: PollFlags = PollFlags::IN.union(PollFlags::RDHUP);

/// Apple's systems report the end of a stream as readable, and have no flag for it.
#[cfg(target_vendor = "apple")]
const READABLE: PollFlags = PollFlags::IN;
