//! The handshakes of a listener's connections: those under way, and those that are done.
//!
//! An asynchronous listener starts a coroutine for the handshake of each connection
//! (`asynchronous/handshakes.rs`) and returns those that are done. They stay with the listener when
//! it is converted to a blocking one. At the limit of handshakes, or without a free descriptor, the
//! least advanced handshake is ended, the oldest of several: many silent clients cannot keep out an
//! honest one, however slow its network is.
//!
//! The coroutines hold weak references to the gate, and end with it.

use std::{
    collections::{BTreeMap, VecDeque},
    io, mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicU8, Ordering},
    },
    task::Waker,
};

use super::records::{Listener, NEW};
use crate::{
    addr::Address,
    coro::{self, Coro},
    primitives::{Mutex, MutexGuard, lock},
};

/// The handshakes of a listener's connections; `C` is a connection whose handshake is done.
pub(crate) struct Gate<C> {
    state: Mutex<GateState<C>>,
    listener: Arc<Listener>,
}

struct GateState<C> {
    /// The oldest first.
    under_way: VecDeque<Shaking>,
    last: u64,
    done: VecDeque<(C, Address)>,
    /// Wakers of those that wait for a connection, by ticket.
    waiting: BTreeMap<u64, Waker>,
}

/// A coroutine that performs a handshake.
struct Shaking {
    place: u64,
    from: Address,
    /// How far the handshake has come.
    stage: Arc<AtomicU8>,
    coroutine: Coro<()>,
}

impl<C> Gate<C> {
    /// Makes the gate of a listener, which counts failed handshakes.
    pub(crate) fn new(listener: Arc<Listener>) -> Gate<C> {
        let state = GateState {
            under_way: VecDeque::new(),
            last: 0,
            done: VecDeque::new(),
            waiting: BTreeMap::new(),
        };
        Gate { state: Mutex::new(state), listener }
    }

    fn state(&self) -> MutexGuard<'_, GateState<C>> {
        lock(&self.state)
    }

    /// Takes a connection whose handshake is done.
    pub(crate) fn take(&self) -> Option<(C, Address)> {
        self.state().done.pop_front()
    }

    /// Ends the handshakes that are under way.
    pub(crate) fn end_all(&self) {
        let under_way = mem::take(&mut self.state().under_way);
        under_way.iter().for_each(|shaking| shaking.coroutine.terminate());
    }

    /// Tells whether no handshake is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.state().under_way.is_empty()
    }

    /// Registers a waiter for a connection; its drop ends the registration.
    pub(crate) fn waiting(self: &Arc<Self>) -> Waiting<C> {
        let mut state = self.state();
        state.last += 1;
        Waiting { gate: Arc::clone(self), ticket: state.last }
    }

    /// Ends a handshake whose client has sent nothing yet, or too little to be answered, which
    /// frees its descriptor; `false` if there is none.
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

    /// Tells whether a handshake was not looked at since it began.
    pub(crate) fn has_new(&self) -> bool {
        self.state().under_way.iter().any(|shaking| shaking.stage() == NEW)
    }

    /// Adds the handshake of a connection, which `start` starts, and ends the least advanced ones
    /// so that at most `most` are under way.
    pub(crate) fn begin(
        self: &Arc<Self>,
        from: Address,
        most: usize,
        start: impl FnOnce(Leaving<C>, Arc<AtomicU8>) -> Coro<()>,
    ) {
        let place = {
            let mut state = self.state();
            state.last += 1;
            state.last
        };
        let stage = Arc::new(AtomicU8::new(NEW));
        let leaving = Leaving { gate: Arc::downgrade(self), place };
        let coroutine = start(leaving, Arc::clone(&stage));
        let mut overdue = Vec::new();
        let mut state = self.state();
        while state.under_way.len() >= most.max(1) {
            overdue.extend(state.least(u8::MAX));
        }
        state.under_way.push_back(Shaking { place, from, stage, coroutine });
        drop(state);
        for shaking in overdue {
            self.count("it made room for a newer one", Some(&shaking.from));
            shaking.coroutine.terminate();
        }
    }

    fn count(&self, why: &str, from: Option<&Address>) {
        self.listener.count(why, from);
    }

    fn wake_all(&self) {
        let waiting = mem::take(&mut self.state().waiting);
        waiting.into_values().for_each(coro::waker::wake);
    }
}

impl<C> GateState<C> {
    /// Removes the oldest of the least advanced handshakes below stage `below`.
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

/// A registered waiter for a connection.
pub(crate) struct Waiting<C> {
    gate: Arc<Gate<C>>,
    ticket: u64,
}

impl<C> Waiting<C> {
    /// Wakes `waker` when there is a connection.
    pub(crate) fn wait(&self, waker: &Waker) {
        // Cloning is foreign code, which must not run under the mutex.
        let waker = waker.clone();
        let old = self.gate.state().waiting.insert(self.ticket, waker);
        drop(old);
    }
}

impl<C> Drop for Waiting<C> {
    fn drop(&mut self) {
        let old = self.gate.state().waiting.remove(&self.ticket);
        drop(old);
    }
}

impl<C> Drop for Gate<C> {
    fn drop(&mut self) {
        self.end_all();
    }
}

/// Removes a handshake from the list, however its coroutine ends.
pub(crate) struct Leaving<C> {
    gate: Weak<Gate<C>>,
    place: u64,
}

impl<C> Leaving<C> {
    /// Ends the handshake with its connection or its failure.
    pub(crate) fn end(self, from: Address, connection: impl FnOnce() -> io::Result<C>) {
        let Some(gate) = self.gate.upgrade() else { return };
        match connection() {
            Ok(connection) => {
                gate.state().done.push_back((connection, from));
                gate.wake_all();
            }
            Err(error) => gate.count(&error.to_string(), Some(&from)),
        }
    }
}

impl<C> Drop for Leaving<C> {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.upgrade() {
            let mut state = gate.state();
            let is_own = |shaking: &Shaking| shaking.place == self.place;
            let place = state.under_way.iter().position(is_own);
            let own = place.and_then(|place| state.under_way.remove(place));
            let is_quiet = state.under_way.is_empty();
            drop(state);
            drop(own);
            if is_quiet {
                // Some wait for the last one only.
                gate.wake_all();
            }
        }
    }
}
