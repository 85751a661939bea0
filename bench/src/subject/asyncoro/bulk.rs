//! asyncoro receives many bytes with `recv_with`, which lends the hot buffer of its thread.

use std::io;
use std::net::TcpListener;

use asyncoro::coro::Scheduler;

use crate::bulk::Bulk;
use crate::listening::listen;
use crate::served::{fatal, gone};

/// Does what [`crate::bulk::receives`] does.
pub(crate) fn receives(listener: TcpListener, bulk: Bulk) -> io::Result<()> {
    listen::<Scheduler, _>(listener, move |socket| async move {
        let mut left = bulk.total;
        loop {
            match socket.recv_with(|bytes| bytes.len()).await.unwrap_or_else(gone) {
                0 => return,
                received => left -= received,
            }
            if left == 0 {
                socket.send_all(b"!").await.unwrap_or_else(fatal);
                left = bulk.total;
            }
        }
    })
}
