//! Accepts with TLS: many handshakes at once, each with a deadline.
//!
//! `accept` takes connections from the kernel as they arrive, starts a coroutine for the handshake
//! of each, and returns those that are done. So a client that sends nothing, or sends slowly,
//! delays no other. The coroutines are daemons, and end with the listener's [`Gate`].

use std::{
    future::{self, Future},
    io,
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use super::{
    AsyncSocket,
    tls::{begin, shake},
};
use crate::{
    addr::Address,
    coro::{self, current, engine::Engine},
    error,
    socket::{gate::Gate, parts::Parts},
    time,
    tls::Tls,
};

impl AsyncSocket {
    /// Returns the next connection whose handshake is done.
    pub(super) async fn accept_secure(
        &self,
        tls: Tls,
        gate: Arc<Gate<Parts>>,
    ) -> io::Result<(AsyncSocket, Address)> {
        let waiting = self.wait_at_gate(tls, gate);
        match self.timeout() {
            None => waiting.await,
            Some(timeout) => time::timeout(timeout, waiting)
                .await
                .unwrap_or_else(|_| Err(error::timed_out(0, false))),
        }
    }

    async fn wait_at_gate(
        &self,
        tls: Tls,
        gate: Arc<Gate<Parts>>,
    ) -> io::Result<(AsyncSocket, Address)> {
        let mut accepting: Option<Accepting<'_>> = None;
        let waiting = gate.waiting();
        future::poll_fn(|cx| {
            let mut begun = 0;
            loop {
                if let Some((parts, from)) = gate.take() {
                    return Poll::Ready(Ok((AsyncSocket::from_parts(parts), from)));
                }
                if begun == MOST_BEGUN {
                    // Many clients at once: handshakes under way and timers come first.
                    current::with(Engine::end_turn_now);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let next = accepting.get_or_insert_with(|| Box::pin(self.accept_plain()));
                match next.as_mut().poll(cx) {
                    Poll::Ready(Ok((socket, from))) => {
                        accepting = None;
                        begun += 1;
                        if let Err(error) = begin_secure(&tls, &gate, socket, from) {
                            return Poll::Ready(Err(error));
                        }
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        waiting.wait(cx.waker());
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }
}

/// Begins the handshake of a connection.
pub(super) fn begin_secure(
    tls: &Tls,
    gate: &Arc<Gate<Parts>>,
    socket: AsyncSocket,
    from: Address,
) -> io::Result<()> {
    begin(&socket, tls, None)?;
    start(gate, socket, from, tls);
    Ok(())
}

/// Returns the next connection whose handshake has begun, when it is done; `None` if all were
/// returned.
pub(super) async fn take_begun(gate: &Arc<Gate<Parts>>) -> Option<(AsyncSocket, Address)> {
    let waiting = gate.waiting();
    future::poll_fn(|cx| {
        if let Some((parts, from)) = gate.take() {
            return Poll::Ready(Some((AsyncSocket::from_parts(parts), from)));
        }
        if gate.is_quiet() {
            return Poll::Ready(None);
        }
        waiting.wait(cx.waker());
        Poll::Pending
    })
    .await
}

/// Most handshakes that one step of `accept` begins.
const MOST_BEGUN: u32 = 16;

type Accepting<'a> = Pin<Box<dyn Future<Output = io::Result<(AsyncSocket, Address)>> + 'a>>;

/// Starts the handshake of a connection.
fn start(gate: &Arc<Gate<Parts>>, socket: AsyncSocket, from: Address, tls: &Tls) {
    let timeout = tls.handshake_timeout();
    let of = from.clone();
    gate.begin(from, tls.handshakes(), |leaving, stage| {
        coro::spawn(async move {
            coro::current().set_daemon(true);
            let shaken = shake(&socket, timeout, Some(&stage)).await;
            leaving.end(of, || {
                shaken.and_then(|()| socket.core.take_parts().ok_or_else(error::closed))
            });
        })
    });
}
