//! How a socket is closed: what is queued leaves, the peer is told, and has all of it.

use std::io;

use super::{AsyncSocket, verb::Verb};
use crate::{
    coro::{self, current},
    error,
    socket::{
        ending::Ending,
        op::{LastFlush, end_tls},
    },
};

impl AsyncSocket {
    /// Closes the socket for all its handles, after what is queued has left. With TLS the peer is
    /// told that nothing follows, and the socket is closed when the peer has ended, too, or its
    /// system has acknowledged all that was sent: a moment as a rule, and at most 5 s.
    ///
    /// Everybody who waits on it is woken at once and gets `NotConnected` (inner error
    /// [`error::Closed`]), as does any verb from now on.
    ///
    /// # Errors
    /// That of a send that failed since the last verb, or `TimedOut` if the queue did not move for
    /// the socket's timeout. With TLS also `TimedOut`, or what has broken the connection, if the
    /// peer may not get all of it. The socket is closed all the same.
    ///
    /// # Cancel
    /// A dropped `close` leaves the socket closed to all verbs; what is queued is then sent as if
    /// it had been dropped.
    pub async fn close(&self) -> io::Result<()> {
        current::expect("close", |_| ());
        if self.core.is_closing() && !self.core.is_open() {
            return Ok(());
        }
        self.core.begin_close();
        // Who holds the lock of sending was woken: it leaves when it is resumed, and what it has
        // begun goes to the queue. One that nobody polls any more must not hold this up.
        for _ in 0..PATIENCE {
            if !self.core.is_writer_leaving() {
                break;
            }
            coro::yield_now().await;
        }
        self.core.seize_writing();
        let mut flushed = Verb::new(&self.core, LastFlush).await;
        if flushed.is_ok() {
            flushed = end_tls(&self.core, Ending::Close).await;
        }
        self.core.close();
        match flushed {
            Err(error) if error::is_closed(&error) => Ok(()),
            flushed => flushed,
        }
    }
}

/// Resumes of others that `close` waits for a verb to give up its lock.
const PATIENCE: usize = 8;
