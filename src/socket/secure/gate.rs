//! The handshakes of an asynchronous listener: many under way, each with a deadline.
//!
//! `accept` takes connections from the kernel as they come and starts a coroutine for each, which
//! shakes hands; it gives out those that are done. So a client that says nothing, or says it
//! slowly, holds up nobody. When as many are under way as are allowed, or no descriptor is left,
//! the oldest of those makes room who have got least far: a crowd of silent clients cannot keep out
//! an honest one, however far away that is.
//!
//! The coroutines know the gate weakly, and end with it; they are daemons.

use std::{
    collections::{BTreeMap, VecDeque},
    io, mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::Waker,
};

use super::shake::{NEW, shake};
use crate::{
    addr::Address,
    coro::{self, Coro},
    error, log,
    primitives::{Mutex, MutexGuard, lock},
    socket::{AsyncSocket, core::Parts},
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
    /// Those who wait for a connection, by ticket.
    waiting: BTreeMap<u64, Waker>,
}

/// A coroutine that shakes hands.
struct Shaking {
    place: u64,
    from: Address,
    /// How far it has come.
    stage: Arc<AtomicU8>,
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

    /// A place among those who wait for one; the drop leaves it.
    pub(super) fn waiting(self: &Arc<Self>) -> Waiting {
        let mut state = self.state();
        state.last += 1;
        Waiting { gate: Arc::clone(self), ticket: state.last }
    }

    /// Ends a handshake whose client has sent nothing yet, or not enough to be answered, so that
    /// its descriptor is freed; `false` if there is none.
    pub(crate) fn make_room(&self) -> bool {
        let least = {
            let mut state = self.state();
            state.least(NEW)
        };
        let Some(shaking) = least else { return false };
        self.count("it made room for a newer one", Some(&shaking.from));
        shaking.coroutine.terminate();
        true
    }

    /// Whether there are handshakes that have not been looked at since they were begun.
    pub(crate) fn has_new(&self) -> bool {
        self.state().under_way.iter().any(|shaking| shaking.stage() == NEW)
    }

    /// Starts the handshake of a connection, and ends the least of the others if there are too
    /// many.
    pub(super) fn begin(self: &Arc<Self>, socket: AsyncSocket, from: Address, tls: &Tls) {
        let place = {
            let mut state = self.state();
            state.last += 1;
            state.last
        };
        let leaving = Leaving { gate: Arc::downgrade(self), place };
        let timeout = tls.handshake_timeout();
        let stage = Arc::new(AtomicU8::new(NEW));
        let own_stage = Arc::clone(&stage);
        let coroutine = {
            let from = from.clone();
            coro::spawn(async move {
                coro::current().set_daemon(true);
                let result = shake(&socket, timeout, Some(&own_stage)).await;
                leaving.end(socket, from, result);
            })
        };
        let mut overdue = Vec::new();
        let mut state = self.state();
        while state.under_way.len() >= tls.handshakes().max(1) {
            overdue.extend(state.least(u8::MAX));
        }
        state.under_way.push_back(Shaking { place, from, stage, coroutine });
        drop(state);
        for shaking in overdue {
            self.count("it made room for a newer one", Some(&shaking.from));
            shaking.coroutine.terminate();
        }
    }

    pub(super) fn count(&self, why: &str, from: Option<&Address>) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let from = from.map_or_else(|| "a client".to_owned(), Address::to_string);
        log::info(format_args!("the TLS handshake of {from} has failed: {why}"));
    }

    fn wake_all(&self) {
        let waiting = mem::take(&mut self.state().waiting);
        waiting.into_values().for_each(coro::waker::wake);
    }
}

impl State {
    /// Takes out the oldest of those that have got least far, and no farther than before `below`.
    fn least(&mut self, below: u8) -> Option<Shaking> {
        let mut least: Option<(u8, usize)> = None;
        for (place, shaking) in self.under_way.iter().enumerate() {
            let stage = shaking.stage();
            if stage < below && least.is_none_or(|(other, _)| stage < other) {
                least = Some((stage, place));
                if stage == 0 {
                    break;
                }
            }
        }
        self.under_way.remove(least?.1)
    }
}

impl Shaking {
    fn stage(&self) -> u8 {
        self.stage.load(Ordering::Relaxed)
    }
}

/// Somebody who waits for a connection.
pub(super) struct Waiting {
    gate: Arc<Gate>,
    ticket: u64,
}

impl Waiting {
    /// Has `waker` woken when there is one.
    pub(super) fn wait(&self, waker: &Waker) {
        // Foreign code, which must not run under the lock.
        let waker = waker.clone();
        let old = self.gate.state().waiting.insert(self.ticket, waker);
        drop(old);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let old = self.gate.state().waiting.remove(&self.ticket);
        drop(old);
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
