//! What the Python bindings have to do with servers, besides the public interface. No part of that:
//! it may change with any version.

use std::io;

use crate::{addr::Address, socket::AsyncSocket};

pub use crate::socket::{Queue, Watched};

/// Returns the socket to look at. There is one who looks.
pub fn watched(socket: &AsyncSocket) -> Watched {
    socket.watched()
}

/// Makes a listener non-blocking for good, for all processes that share it.
pub fn leave_nonblocking(listener: &AsyncSocket) -> io::Result<()> {
    listener.leave_nonblocking()
}

/// Takes a connection that waits in the system's queue, without waiting.
pub fn accept_now(listener: &AsyncSocket) -> io::Result<Queue> {
    listener.accept_now()
}

/// Waits for the next connection whose handshake has begun; `None` if there is none.
pub async fn accept_begun(listener: &AsyncSocket) -> Option<(AsyncSocket, Address)> {
    listener.accept_begun().await
}

/// Ends the handshakes that have begun.
pub fn end_begun(listener: &AsyncSocket) {
    listener.end_begun();
}
