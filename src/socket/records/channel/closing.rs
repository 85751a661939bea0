//! The end of a connection with records: closing it must not lose what was sent.

use std::net::Shutdown;

use rustix::io::Errno;

use super::Channel;
use crate::{
    socket::{ending::MOST_DISCARDED, hot},
    sys::Sys,
};

impl Channel {
    /// Tells, without waiting, whether the socket can be closed and lose nothing that was sent;
    /// ends the stream and discards what arrives.
    ///
    /// After a close, and for unread data at the close, the system answers the peer with a reset. A
    /// reset makes the peer lose what has not arrived. So the close must wait until the peer sends
    /// nothing more or its system has acknowledged all.
    ///
    /// # Errors
    /// Fails once, with the error that broke the connection before all was acknowledged.
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
        // After a shutdown of reading as well, the system would answer arriving bytes with a reset.
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
        // A send after this side ended the stream fails with EPIPE, which breaks nothing.
        if let Some(error) = self.broken
            && !(self.half_closed && error == Errno::PIPE)
        {
            return self.if_acknowledged(sys, error);
        }
        Ok(self.is_acknowledged(sys) == Some(true))
    }

    /// Tells whether the peer's system has all content; `None` where this system cannot tell.
    ///
    /// The close_notify and the end need not have arrived: the system continues to send them after
    /// the close, and a peer that gets a reset before it reads them has missed no content.
    fn is_acknowledged(&self, sys: &Sys) -> Option<bool> {
        let without_content = u32::from(self.half_closed) + self.close_notify;
        Some(sys.unacknowledged()? <= without_content)
    }

    /// Returns the error that ended the connection, unless all content was acknowledged before.
    fn if_acknowledged(&self, sys: &Sys, error: Errno) -> Result<bool, Errno> {
        if self.is_acknowledged(sys) == Some(false) { Err(error) } else { Ok(true) }
    }

    /// Appends a close_notify to the pending records.
    pub(in crate::socket::records) fn close_notify(&mut self) {
        let before = self.records.len();
        self.session.close(&mut self.unfinished, &mut self.records);
        self.close_notify += (self.records.len() - before) as u32;
    }
}
