//! Polls futures as badly as is allowed: with another waker each time, without having been woken,
//! and drops them at any time.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use asyncoro::time::timeout;

use super::plan::Rng;

/// How to poll a verb's future.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// A bit for each poll: whether it gets a waker of its own or the coroutine's.
    wakers: u64,
    /// The number of polls without a wake.
    restless: usize,
    until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Polled to its end.
    Done,
    /// Dropped after this many polls.
    Polled(usize),
    /// Dropped when it is woken after this many polls, without another poll.
    Woken(usize),
    /// Dropped by a `timeout`.
    Over(Duration),
}

/// How long to wait at most for a future that is to be dropped.
const PATIENCE: Duration = Duration::from_millis(15);

impl How {
    /// Polls to the end.
    pub(super) fn whole(rng: &mut Rng) -> How {
        let wakers = if rng.one_in(2) { 0 } else { rng.next() };
        How { wakers, restless: if rng.one_in(3) { rng.below(4) } else { 0 }, until: Until::Done }
    }

    /// Drops at some point.
    pub(super) fn dropped(rng: &mut Rng) -> How {
        let until = match rng.below(8) {
            0..3 => Until::Polled(1 + rng.below(3)),
            3..5 => Until::Woken(1 + rng.below(3)),
            5 => Until::Over(Duration::ZERO),
            _ => Until::Over(rng.moment(12)),
        };
        How { until, ..How::whole(rng) }
    }

    /// Tells whether only a timeout drops it.
    pub(super) fn is_bound_by_time(self) -> bool {
        matches!(self.until, Until::Over(time) if !time.is_zero())
    }

    /// Returns a short description.
    pub(super) fn text(self) -> String {
        match self.until {
            Until::Done => String::new(),
            Until::Polled(polls) => format!(" dropped after {polls} polls"),
            Until::Woken(polls) => format!(" dropped when woken after {polls} polls"),
            Until::Over(time) => format!(" within {time:?}"),
        }
    }
}

/// Polls `future` as `how` says; `None` if it was dropped.
pub(super) async fn fickle<F: Future>(how: How, future: F) -> Option<F::Output> {
    let (most, when_woken) = match how.until {
        Until::Polled(polls) => (polls, false),
        Until::Woken(polls) => (polls, true),
        Until::Done | Until::Over(_) => (usize::MAX, false),
    };
    let (wakers, restless) = (how.wakers, how.restless);
    let inner = Box::pin(future);
    let fickle =
        Fickle { inner, polls: 0, most, when_woken, wakers, restless, relay: Arc::default() };
    match how.until {
        Until::Done => fickle.await,
        Until::Over(time) => {
            let outcome = timeout(time, fickle).await;
            outcome.ok().flatten()
        }
        _ => {
            let outcome = timeout(PATIENCE, fickle).await;
            outcome.ok().flatten()
        }
    }
}

struct Fickle<F> {
    inner: Pin<Box<F>>,
    polls: usize,
    most: usize,
    when_woken: bool,
    wakers: u64,
    restless: usize,
    relay: Arc<Relay>,
}

impl<F: Future> Future for Fickle<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.polls == this.most {
            return Poll::Ready(None);
        }
        // The waker of the poll before need not work any more.
        this.relay.cut();
        let polled = if this.wakers >> (this.polls % 64) & 1 == 1 {
            this.relay = Relay::to(cx.waker());
            let waker = Waker::from(Arc::clone(&this.relay));
            this.inner.as_mut().poll(&mut Context::from_waker(&waker))
        } else {
            this.inner.as_mut().poll(cx)
        };
        this.polls += 1;
        if let Poll::Ready(value) = polled {
            return Poll::Ready(Some(value));
        }
        if this.polls == this.most && !this.when_woken {
            return Poll::Ready(None);
        }
        if this.restless > 0 {
            this.restless -= 1;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// A waker that wakes another one until it is cut.
#[derive(Default)]
struct Relay(Mutex<Option<Waker>>);

impl Relay {
    fn to(waker: &Waker) -> Arc<Relay> {
        Arc::new(Relay(Mutex::new(Some(waker.clone()))))
    }

    fn cut(&self) {
        self.0.lock().unwrap().take();
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        let waker = self.0.lock().unwrap().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
