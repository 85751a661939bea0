//! The end of a connection with records: nothing that was sent is lost by closing it.

use std::net::Shutdown;

use rustix::io::Errno;

use super::Channel;
use crate::{socket::hot, sys::Sys};

/// Most bytes that one look at a closing socket throws away.
const MOST_DISCARDED: usize = 256 << 10;

impl Channel {
    /// Looks, without waiting, whether the socket can be closed and nothing that was sent be lost;
    /// ends the stream behind it, and throws away what comes.
    ///
    /// A close is answered to whatever comes later with a reset, and so is data that was not read;
    /// a reset takes back what has not arrived. So either nothing follows from the peer, or its
    /// system has acknowledged all of it.
    ///
    /// # Errors
    /// What has broken the connection before all of it was acknowledged; once.
    pub(in crate::socket::records) fn settle(&mut self, sys: &Sys) -> Result<bool, Errno> {
        if !self.settled {
            let settled = self.look_whether_settled(sys);
            self.settled = settled != Ok(false);
            return settled;
        }
        Ok(true)
    }

    fn look_whether_settled(&mut self, sys: &Sys) -> Result<bool, Errno> {
        if self.has_ended() || self.session.is_handshaking() || !sys.kind().is_tcp() {
            return Ok(true);
        }
        // Behind a shutdown of reading, the system would answer what comes then with a reset.
        if !self.stopped && !self.half_closed {
            if sys.shutdown(Shutdown::Write).is_err() {
                return self.if_acknowledged(sys, self.broken.unwrap_or(Errno::CONNRESET));
            }
            self.half_closed = true;
        }
        let mut hot = hot::take();
        let mut left = MOST_DISCARDED;
        while left > 0 {
            match sys.recv(&mut hot) {
                Ok(0) if self.stopped => break,
                Ok(0) => {
                    self.ended = true;
                    return Ok(true);
                }
                Ok(got) => left = left.saturating_sub(got),
                Err(Errno::AGAIN) => break,
                Err(error) => return self.if_acknowledged(sys, error),
            }
        }
        // Who sends behind our own end is told so (EPIPE), which breaks nothing.
        if let Some(error) = self.broken
            && !(self.half_closed && error == Errno::PIPE)
        {
            return self.if_acknowledged(sys, error);
        }
        Ok(self.is_acknowledged(sys) == Some(true))
    }

    /// Tells whether the peer's system has all that has content; `None` where ours does not tell.
    ///
    /// Whether the close_notify and the end have arrived does not matter: the system goes on
    /// sending them after the close, and a peer that is reset before it reads them has missed no
    /// content.
    fn is_acknowledged(&self, sys: &Sys) -> Option<bool> {
        let without_content = u32::from(self.half_closed) + self.close_notify;
        Some(sys.unacknowledged()? <= without_content)
    }

    /// Tells what the end of the connection by `error` means for what was sent.
    fn if_acknowledged(&self, sys: &Sys, error: Errno) -> Result<bool, Errno> {
        if self.is_acknowledged(sys) == Some(false) { Err(error) } else { Ok(true) }
    }

    /// Puts a close_notify behind everything else that is to be sent.
    pub(in crate::socket::records) fn close_notify(&mut self) {
        let before = self.records.len();
        self.session.close(&mut self.unfinished, &mut self.records);
        self.close_notify += (self.records.len() - before) as u32;
    }
}
