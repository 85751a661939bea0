//! Closes a blocking socket: wakes its waiters, sends the queue and, over TLS, waits until the peer
//! has all of it.

use std::{io, net::Shutdown, sync::atomic::Ordering};

use super::{BlockingSocket, face::at_once, interrupt, twin::Twin};
#[cfg(doc)]
use crate::socket::AsyncSocket;
use crate::{
    driver::Driver,
    socket::{
        ending::{Ending, LONGEST},
        op::{LastFlush, end_tls, settled},
        side::WriteSide,
    },
};

impl BlockingSocket {
    /// Closes the socket for all its handles, see [`AsyncSocket::close`]. Threads that wait on it
    /// are woken and get `NotConnected`, readers before the queue is sent.
    ///
    /// Closing shuts the connection down, to wake them. So the connection also ends for each
    /// duplicate of the descriptor (dup(2), `try_clone`, a child of fork(2)).
    ///
    /// # Errors
    /// As [`AsyncSocket::close`]. `BrokenPipe` if another thread waits to send behind the
    /// queue: its wait ends, and the queue is lost.
    pub fn close(&self) -> io::Result<()> {
        if self.twin.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let flushed = match self.twin.write.try_take() {
            Some(side) => {
                let link = &self.twin.link;
                let (unsent, checked) = (side.has_unsent(link), side.check(link));
                drop(side);
                if self.twin.read.try_take().is_none() && (unsent || link.is_secure()) {
                    // Wakes readers now, not only after the peer has taken all of the queue.
                    let _ = link.shutdown(Shutdown::Read);
                }
                let flushed = if unsent { self.twin.drive(LastFlush) } else { checked };
                flushed.and_then(|()| at_once(end_tls(&*self.twin, Ending::Close)))
            }
            None => self.twin.end_under_a_sender(),
        };
        self.twin.link.drain_before_close();
        // Wakes waiting threads; an error means that there was no connection.
        let _ = self.twin.link.shutdown(Shutdown::Both);
        self.twin.link.sys().retire();
        flushed
    }
}

impl Twin {
    /// Ends sending while another thread has the lock, which wakes the thread and ends its verb.
    /// What verbs have taken before must still arrive.
    fn end_under_a_sender(&self) -> io::Result<()> {
        let until = Driver::now() + LONGEST;
        let how = if self.link.is_secure() { Shutdown::Write } else { Shutdown::Both };
        let _ = self.link.sys().shutdown(how);
        let arrived = if self.link.is_secure() { at_once(settled(self, until)) } else { Ok(()) };
        if interrupt::refuse_below(&self.write).is_err() {
            // The lock belongs to a verb of this thread, which a signal has interrupted.
            return arrived;
        }
        let side = self.write.take(Some(until), None)?;
        let is_lost = |side: &WriteSide| side.loses() || self.link.breaks_promise();
        arrived?;
        if side.is_some_and(|side| is_lost(&side)) {
            let text = "another thread was sending when the socket was closed, and what was queued \
                        before is lost";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
        }
        Ok(())
    }
}
