//! Makes the calls of several ready sources together: what verbs wait to receive, before they are
//! resumed, and what dirty sources have queued.
//!
//! The system's side is `sys/ahead.rs` and `sys/ring`; a source decides whether its call may be
//! made so ([`Source::receive_ahead`], [`Source::send_together`]).

use std::{fmt, rc::Rc, time::Instant};

use super::{
    io::batches::Received,
    parts::{Engine, Source},
};
use crate::{
    coro::batching::Batching,
    driver::{Event, Ready, Token},
    log,
    sys::ring::{Ran, Ring},
};

impl Engine {
    /// Tells whether so many sources are enough for a batch.
    #[inline]
    pub(super) fn batches(&self, sources: usize) -> bool {
        let settings = &self.settings.batching;
        sources >= settings.from && settings.how != Batching::Off
    }

    /// Makes the calls of verbs that wait to receive from streams, before the verbs are resumed.
    pub(super) fn receive_ahead(&self, events: &[Event]) {
        let mut received = self.free_batch();
        let (began, is_ring) = {
            let mut state = self.io.batches.borrow_mut();
            let began = state.receiving.begin(events.len());
            (began, state.receiving.is_ring(events.len()))
        };
        let by_ring = if is_ring { self.receive_by_ring(&mut received, events) } else { None };
        let made = by_ring.is_some();
        let calls = by_ring.unwrap_or_else(|| self.receive_directly(&mut received, events));
        let mut state = self.io.batches.borrow_mut();
        state.received(began, made, calls);
        state.keep(received, calls);
    }

    /// Makes the calls one after the other; returns how many.
    fn receive_directly(&self, received: &mut Received, events: &[Event]) -> usize {
        let Received { batch, sources } = received;
        let mut calls = 0;
        self.for_each_reader(events, |token, source| {
            source.receive_ahead(&mut |sys, max| {
                let came = sys.receive_ahead(batch, max);
                calls += usize::from(came.is_some());
                if came == Some(true) {
                    sources.push(token);
                }
            });
        });
        calls
    }

    /// Makes the calls in one system call; returns how many, or `None` if there is no ring.
    ///
    /// Nothing else happens in this thread until all results are noted.
    fn receive_by_ring(&self, received: &mut Received, events: &[Event]) -> Option<usize> {
        let Received { batch, sources } = received;
        let mut ring = self.take_ring()?;
        self.for_each_reader(events, |token, source| {
            source.receive_ahead(&mut |sys, max| {
                if sys.push_ahead(&mut ring, batch, max) {
                    sources.push(token);
                }
            });
        });
        let usable = batch.run(&mut ring);
        for (place, token) in sources.iter().enumerate() {
            let result = ring.result(place);
            if !matches!(result, Some(Ok(1..))) {
                let source = self.io.sources.borrow().get(*token);
                source.expect("it was there a moment ago").nothing_ahead(result);
            }
        }
        self.done_with(ring, usable);
        let made = sources.len();
        // Those that the ring has not made follow one by one.
        Some(if usable { made } else { made.max(self.receive_directly(received, events)) })
    }

    /// Sends the queues of dirty sources in one system call, as far as a ring is worth it; they
    /// have nothing left to send then, as a rule.
    ///
    /// Returns when it began, if that is to be noted, and whether a ring was used.
    pub(super) fn begin_flush(&self, dirty: &[Rc<dyn Source>]) -> (Option<Instant>, bool) {
        let (began, is_ring) = {
            let mut state = self.io.batches.borrow_mut();
            let began = state.sending.begin(dirty.len());
            (began, state.sending.is_ring(dirty.len()))
        };
        let ring = if is_ring { self.take_ring() } else { None };
        let Some(mut ring) = ring else { return (began, false) };
        let mut pushed = Vec::with_capacity(dirty.len());
        for source in dirty {
            source.send_together(&mut |sys, bytes| {
                if ring.push_send(sys.fd(), bytes).is_some() {
                    pushed.push((source, bytes.len()));
                }
            });
        }
        let usable = ring.run() == Ran::Whole;
        for (place, (source, asked)) in pushed.into_iter().enumerate() {
            if let Some(result) = ring.result(place) {
                source.sent_together(asked, result);
            }
        }
        self.done_with(ring, usable);
        (began, true)
    }

    /// Takes the ring; opens it first if need be. `None` where it is refused, from then on.
    fn take_ring(&self) -> Option<Ring> {
        let open = self.io.batches.borrow_mut().take_ring();
        if open.is_some() {
            return open;
        }
        match Ring::open() {
            Ok(ring) => Some(ring),
            Err(error) => {
                self.give_up_ring(&error);
                None
            }
        }
    }

    /// Keeps the ring for the next batch, if it is still of use.
    fn done_with(&self, ring: Ring, usable: bool) {
        if usable {
            self.io.batches.borrow_mut().keep_ring(ring);
        } else {
            self.give_up_ring(&"the kernel has refused a call");
        }
    }

    #[cold]
    fn give_up_ring(&self, why: &dyn fmt::Display) {
        self.io.batches.borrow_mut().give_up_ring();
        // With nothing borrowed: the log is foreign code.
        log::debug(format_args!("io_uring is not used, calls are made one by one: {why}"));
    }

    /// Calls `f` with each source that is ready to be read in the usual way.
    fn for_each_reader(&self, events: &[Event], mut f: impl FnMut(Token, Rc<dyn Source>)) {
        let unusual = Ready::HANGUP.and(Ready::URGENT);
        for event in events {
            if event.ready.any(Ready::READ) && !event.ready.any(unusual) {
                let source = self.io.sources.borrow().get(event.token);
                if let Some(source) = source {
                    f(event.token, source);
                }
            }
        }
    }

    /// Returns a batch whose bytes were all taken. If there is none, those of the oldest one become
    /// bytes that their sources hold.
    fn free_batch(&self) -> Received {
        if let Some(free) = self.io.batches.borrow_mut().free() {
            return free;
        }
        let Some(mut oldest) = self.io.batches.borrow_mut().oldest() else {
            return Received::new();
        };
        for token in oldest.sources.drain(..) {
            let source = self.io.sources.borrow().get(token);
            if let Some(source) = source {
                source.hold_ahead();
            }
        }
        if oldest.batch.reuse() { oldest } else { Received::new() }
    }
}
