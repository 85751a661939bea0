//! The handshakes of an asynchronous listener: many under way, each with a deadline.
//!
//! `accept` takes connections from the kernel as they come and starts a coroutine for each, which
//! shakes hands; it gives out those that are done. So a client that says nothing, or says it
//! slowly, holds up nobody. When as many are under way as are allowed, the oldest one makes room: a
//! crowd of silent clients cannot keep out an honest one.
//!
//! The coroutines know the gate weakly, and end with it; they are daemons.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use super::{
    super::{AsyncSocket, core::Parts},
    shake::shake,
};
use crate::{
    addr::Address,
    coro::{self, Coro},
    error,
    primitives::{Mutex, MutexGuard, lock},
    tls::Tls,
};

/// See the module's page.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    failures: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The oldest first.
    under_way: VecDeque<Shaking>,
    last: u64,
    done: VecDeque<(Parts, Address)>,
    /// Those who wait for a connection.
    waiting: Vec<Waker>,
}

/// A coroutine that shakes hands.
struct Shaking {
    place: u64,
    from: Address,
    coroutine: Coro<()>,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Handshakes that have failed.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// A connection whose handshake is done.
    pub(crate) fn take(&self) -> Option<(Parts, Address)> {
        self.state().done.pop_front()
    }

    /// Has `waker` woken when there is one.
    pub(super) fn wait(&self, waker: &Waker) {
        let mut state = self.state();
        if !state.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
    }

    /// Starts the handshake of a connection, and ends the oldest one if there are too many.
    pub(super) fn begin(self: &Arc<Self>, socket: AsyncSocket, from: Address, tls: &Tls) {
        let place = {
            let mut state = self.state();
            state.last += 1;
            state.last
        };
        let leaving = Leaving { gate: Arc::downgrade(self), place };
        let timeout = tls.handshake_timeout();
        let coroutine = {
            let from = from.clone();
            coro::spawn(async move {
                coro::current().set_daemon(true);
                let result = shake(&socket, timeout).await;
                leaving.end(socket, from, result);
            })
        };
        let mut overdue = Vec::new();
        let mut state = self.state();
        state.under_way.push_back(Shaking { place, from, coroutine });
        while state.under_way.len() > tls.handshakes() {
            overdue.extend(state.under_way.pop_front());
        }
        drop(state);
        for shaking in overdue {
            self.count("it made room for a newer one", Some(&shaking.from));
            shaking.coroutine.terminate();
        }
    }

    pub(super) fn count(&self, why: &str, from: Option<&Address>) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let from = from.map_or_else(|| "a client".to_owned(), Address::to_string);
        tracing::info!("asyncoro: the TLS handshake of {from} has failed: {why}");
    }

    fn wake_all(&self) {
        let waiting = mem::take(&mut self.state().waiting);
        waiting.into_iter().for_each(coro::waker::wake);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let under_way = mem::take(&mut self.state().under_way);
        under_way.iter().for_each(|shaking| shaking.coroutine.terminate());
    }
}

/// Takes a handshake off the list, however its coroutine ends.
struct Leaving {
    gate: Weak<Gate>,
    place: u64,
}

impl Leaving {
    /// The handshake is over.
    fn end(self, socket: AsyncSocket, from: Address, result: io::Result<()>) {
        let Some(gate) = self.gate.upgrade() else { return };
        match result.and_then(|()| socket.core.take_parts().ok_or_else(error::closed)) {
            Ok(parts) => {
                gate.state().done.push_back((parts, from));
                gate.wake_all();
            }
            Err(error) => gate.count(&error.to_string(), Some(&from)),
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.upgrade() {
            let mut state = gate.state();
            let is_own = |shaking: &Shaking| shaking.place == self.place;
            let place = state.under_way.iter().position(is_own);
            let own = place.and_then(|place| state.under_way.remove(place));
            drop(state);
            drop(own);
        }
    }
}
