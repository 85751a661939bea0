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
    /// are woken and get `NotConnected`, readers before the queue is sent. (Over TLS on TCP, if the
    /// close meets a thread that waits to send, readers wake when the peer has what was sent.)
    ///
    /// Closing shuts the connection down, to wake them. So the connection also ends for each
    /// duplicate of the descriptor (dup(2), `try_clone`, a child of fork(2)).
    ///
    /// # Errors
    /// As [`AsyncSocket::close`]. `BrokenPipe` if another thread, or a verb that a signal has
    /// interrupted, waits to send behind the queue: its wait ends, and the queue is lost. A second
    /// close returns at once, also while the first one sends.
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
        // Over TLS and TCP the direction of reading stays, see `settled`, so readers wake when that
        // is over. Elsewhere only the end of both wakes who waits for room.
        let settles = self.link.is_secure() && self.link.kind().is_tcp();
        let how = if settles { Shutdown::Write } else { Shutdown::Both };
        let _ = self.link.sys().shutdown(how);
        let arrived = if settles { at_once(settled(self, until)) } else { Ok(()) };
        if interrupt::refuse_below(&self.write).is_err() {
            // The lock belongs to a verb of this thread, which a signal has interrupted.
            arrived?;
            let is_lost = self.queue_waits.load(Ordering::Acquire) || self.link.breaks_promise();
            return if is_lost { Err(lost()) } else { Ok(()) };
        }
        let side = self.write.take(Some(until), None)?;
        arrived?;
        let is_lost = |side: &WriteSide| side.loses() || self.link.breaks_promise();
        // Who still has it, after so long, has perhaps sent nothing of the queue.
        if side.is_none_or(|side| is_lost(&side)) { Err(lost()) } else { Ok(()) }
    }
}

fn lost() -> io::Error {
    let text = "the socket was closed while a verb was sending, and what was queued before is lost";
    io::Error::new(io::ErrorKind::BrokenPipe, text)
}
