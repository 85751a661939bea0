//! Puts bytes back that were received and not used.

use bytes::Bytes;

use super::AsyncSocket;
use crate::{coro::Waiter, socket::side::ReadSide};

impl AsyncSocket {
    /// Puts bytes back, before all that was received and not taken. Who waits to receive is woken.
    pub(crate) fn unread(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let reader = {
            let mut half = self.core.half::<ReadSide>();
            half.side.put_back(bytes);
            half.lock.waiter()
        };
        reader.into_iter().for_each(Waiter::wake);
    }
}
