//! Closes a socket: sends the queue and, over TLS, waits until the peer has all of it.

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
    /// Closes the socket for all its handles, after the queue was sent. With TLS it sends a
    /// close_notify, and closes the socket when the peer has ended, too, or its system has
    /// acknowledged all that was sent: usually a moment, and at most 5 s.
    ///
    /// All verbs that wait on the socket are woken at once and fail with `NotConnected` (inner
    /// error [`error::Closed`]), as does any later verb.
    ///
    /// # Errors
    /// The error of a send that failed since the last verb, or `TimedOut` if the queue did not move
    /// for the socket's timeout. With TLS also `TimedOut`, or the error that broke the connection,
    /// if the peer may not get all of it. The socket is closed in any case.
    ///
    /// # Cancel
    /// A dropped `close` leaves the socket closed to all verbs; the queue is then sent as if the
    /// socket had been dropped.
    pub async fn close(&self) -> io::Result<()> {
        current::expect("close", |_| ());
        if self.core.is_closing() && !self.core.is_open() {
            return Ok(());
        }
        self.core.begin_close();
        // The verb with the lock of sending was woken: when it is resumed it releases the lock, and
        // its rest goes to the queue. A verb that is no longer polled must not delay this.
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

/// Resumes of other coroutines that `close` waits for a verb to release its lock.
const PATIENCE: usize = 8;
