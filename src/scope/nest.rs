//! `Nest`: futures that live in another one, of which only those that were woken are polled.
//!
//! Each place has a bell, the waker of its future. A rung bell puts its place into a list and wakes
//! whoever polls the nest. A bell stays with its place when the future has ended, so a late ring
//! polls the next future there once in vain, as any waker may.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    coro::waker,
    foreign,
    primitives::{AtomicBool, Mutex, Ordering, lock},
};

/// Futures by place.
pub(super) struct Nest<F: ?Sized> {
    places: Vec<Place<F>>,
    free: Vec<usize>,
    living: usize,
    yard: Arc<Yard>,
    /// The places that are polled in this round, the next one at the end.
    round: Vec<usize>,
}

struct Place<F: ?Sized> {
    future: Option<Pin<Box<F>>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// What the bells share, on any thread.
pub(super) struct Yard(Mutex<Rung>);

#[derive(Default)]
struct Rung {
    places: Vec<usize>,
    waker: Option<Waker>,
}

struct Bell {
    place: usize,
    /// Whether its place is in the list.
    is_rung: AtomicBool,
    yard: Arc<Yard>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            let waker = {
                let mut rung = lock(&self.yard.0);
                rung.places.push(self.place);
                rung.waker.take()
            };
            wake(waker);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker::wake(waker);
    }
}

impl Yard {
    /// Wakes whoever polls the nest.
    pub(super) fn wake(&self) {
        let waker = lock(&self.0).waker.take();
        wake(waker);
    }
}

impl<F: Future + ?Sized> Nest<F> {
    pub(super) fn new() -> Nest<F> {
        let yard = Arc::new(Yard(Mutex::default()));
        Nest { places: Vec::new(), free: Vec::new(), living: 0, yard, round: Vec::new() }
    }

    pub(super) fn yard(&self) -> &Arc<Yard> {
        &self.yard
    }

    /// Adds a future, which is polled behind all that are ready; returns its place.
    pub(super) fn push(&mut self, future: Pin<Box<F>>) -> usize {
        self.living += 1;
        let place = self.free.pop().unwrap_or(self.places.len());
        match self.places.get_mut(place) {
            Some(free) => free.future = Some(future),
            None => {
                let (is_rung, yard) = (AtomicBool::new(false), Arc::clone(&self.yard));
                let bell = Arc::new(Bell { place, is_rung, yard });
                let waker = Waker::from(Arc::clone(&bell));
                self.places.push(Place { future: Some(future), bell, waker });
            }
        }
        let bell = &self.places[place].bell;
        if !bell.is_rung.swap(true, Ordering::AcqRel) {
            lock(&self.yard.0).places.push(place);
        }
        place
    }

    /// Begins a round: takes those that were woken. They are polled by [`Nest::poll_next`].
    pub(super) fn begin_round(&mut self, cx: &Context<'_>) {
        // Clones and drops of wakers are foreign code.
        let new = cx.waker().clone();
        let mut rung = lock(&self.yard.0);
        let before = rung.waker.replace(new);
        if self.round.is_empty() {
            mem::swap(&mut self.round, &mut rung.places);
            self.round.reverse();
        }
        drop(rung);
        drop(before);
    }

    /// Polls the futures of this round until one has ended, and returns its place and value; `None`
    /// when the round is over. A panic of a future is its value.
    pub(super) fn poll_next(&mut self) -> Option<(usize, F::Output)> {
        while let Some(index) = self.round.pop() {
            let place = &mut self.places[index];
            // A swap: who rings from now on is heard, and what came before a ring is seen.
            place.bell.is_rung.swap(false, Ordering::AcqRel);
            let Some(future) = &mut place.future else { continue };
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&place.waker))
            {
                let ended = place.future.take();
                self.living -= 1;
                self.free.push(index);
                drop(ended);
                return Some((index, value));
            }
        }
        None
    }

    /// Tells whether some were woken since the round began, so that the nest is to be polled again.
    pub(super) fn has_rung(&self) -> bool {
        !self.round.is_empty() || !lock(&self.yard.0).places.is_empty()
    }
}

impl<F: ?Sized> Nest<F> {
    /// Returns the number of futures that have not ended.
    pub(super) fn len(&self) -> usize {
        self.living
    }

    /// Returns the places of those.
    pub(super) fn places(&self) -> Vec<usize> {
        let living = self.places.iter().enumerate().filter(|(_, place)| place.future.is_some());
        living.map(|(index, _)| index).collect()
    }

    /// Drops all futures, in their order. A panic of one is logged.
    pub(super) fn clear(&mut self) {
        for index in 0..self.places.len() {
            if let Some(future) = self.places[index].future.take() {
                self.living -= 1;
                self.free.push(index);
                foreign::contain("the drop of a child", || drop(future));
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::future::poll_fn;

    use loom::{sync::atomic::AtomicUsize, thread};

    use super::*;
    use crate::sync::loom_tests::wait_for;

    /// A future that looks before the ring is polled again; one that looks after it sees all that
    /// its waker has seen. The number itself orders nothing.
    #[test]
    fn loom_what_comes_before_a_ring_is_seen_or_polled_for() {
        loom::model(|| {
            let number = loom::sync::Arc::new(AtomicUsize::new(0));
            let mut nest = Nest::new();
            nest.push({
                let number = loom::sync::Arc::clone(&number);
                Box::pin(poll_fn(move |_| match number.load(Ordering::Relaxed) {
                    0 => Poll::Pending,
                    seen => Poll::Ready(seen),
                }))
            });
            let waker = nest.places[0].waker.clone();
            let ringing = thread::spawn(move || {
                number.store(7, Ordering::Relaxed);
                waker.wake();
            });
            let ended = wait_for(poll_fn(|cx| {
                loop {
                    nest.begin_round(cx);
                    if let Some(ended) = nest.poll_next() {
                        return Poll::Ready(ended);
                    }
                    if !nest.has_rung() {
                        return Poll::Pending;
                    }
                }
            }));
            assert_eq!(ended, (0, 7));
            ringing.join().unwrap();
        });
    }
}
