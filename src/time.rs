//! Sleeping, and bounding how long a future may take.
//!
//! A deadline is an instant, a timeout a duration. No timer fires early; the scheduler's timing
//! wheel has a resolution of 66 µs. A [`timeout`] whose future is ready at once sets no timer.

use std::{
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;

use crate::{
    coro::{Alarm, current, engine::Engine},
    driver::Driver,
    error::Elapsed,
};

pub use crate::wheel::{TimerKey, TimingWheel};

/// Waits until `duration` has passed.
///
/// It waits even if `duration` is zero: until the other ready coroutines have run and the kernel
/// was polled once.
///
/// ```
/// use std::time::{Duration, Instant};
/// use asyncoro::time::sleep;
///
/// let before = Instant::now();
/// asyncoro::run(sleep(Duration::from_millis(5)));
/// assert!(before.elapsed() >= Duration::from_millis(5));
/// ```
///
/// # Panics
/// When polled outside a running scheduler.
pub fn sleep(duration: Duration) -> Sleep {
    // `after` has just read the clock, so `until` is ahead unless the duration is zero.
    Sleep { until: after(duration), alarm: None, over_in: None, is_ahead: !duration.is_zero() }
}

/// Waits until `deadline`; if that is past, it waits as `sleep(Duration::ZERO)` does.
///
/// # Panics
/// When polled outside a running scheduler.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { until: Some(deadline), alarm: None, over_in: None, is_ahead: false }
}

/// Bounds `future` to at most `duration`, counted from when it first has to wait.
///
/// Even if `duration` is zero, the other ready coroutines run and the kernel is polled before
/// `future` is polled once more and then dropped.
///
/// ```
/// use std::{future::pending, time::Duration};
/// use asyncoro::time::timeout;
///
/// asyncoro::run(async {
///     assert_eq!(timeout(Duration::from_secs(1), async { 7 }).await, Ok(7));
///     assert!(timeout(Duration::from_millis(1), pending::<()>()).await.is_err());
/// });
/// ```
///
/// # Errors
/// [`Elapsed`] when the time runs out first; it converts into an `io::Error` of kind `TimedOut`.
///
/// # Panics
/// When polled outside a running scheduler.
///
/// # Cancel
/// Dropping the [`Timeout`], which `.await` does when the time runs out, drops `future`; see its
/// own documentation for what that means.
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future, limit: Limit::After(duration) }
}

/// Bounds `future` to end by `deadline`; otherwise as [`timeout`].
///
/// # Errors
/// As [`timeout`].
///
/// # Panics
/// As [`timeout`].
pub fn deadline<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, limit: Limit::At(sleep_until(deadline)) }
}

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "a sleep does nothing unless awaited"]
pub struct Sleep {
    /// `None` if the sum overflows the clock: it never fires.
    until: Option<Instant>,
    alarm: Option<Alarm>,
    /// The turn in which it was found to be due without an alarm having fired.
    over_in: Option<NonZeroU32>,
    /// Whether the first poll may arm it without reading the clock; if that poll comes late, the
    /// wheel fires it within a tick.
    is_ahead: bool,
}

impl Sleep {
    fn poll_on(&mut self, engine: &Engine, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        match &self.alarm {
            Some(alarm) if alarm.is_on(engine) && !alarm.has_fired(engine) => {
                alarm.set_waker(engine, cx.waker());
                return Poll::Pending;
            }
            _ if !std::mem::take(&mut self.is_ahead) && Driver::now() >= until => {
                // An alarm only fires after the driver was polled, so there is no need to wait
                // again.
                let told = self.alarm.take().is_some_and(|alarm| alarm.is_on(engine));
                return if told { Poll::Ready(()) } else { self.let_others_go_first(engine, cx) };
            }
            _ => {}
        }
        self.alarm = Some(Alarm::arm(engine, until, cx.waker()));
        Poll::Pending
    }

    /// Returns `Ready` in the turn after the one in which it was first called.
    #[cold]
    fn let_others_go_first(&mut self, engine: &Engine, cx: &mut Context<'_>) -> Poll<()> {
        let turn = engine.turn();
        if self.over_in.is_some_and(|over_in| over_in != turn) {
            return Poll::Ready(());
        }
        self.over_in = Some(turn);
        engine.wake_after_turn(cx.waker());
        Poll::Pending
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        current::expect("time::sleep", |engine| self.poll_on(engine, cx))
    }
}

pin_project! {
    /// The future of [`timeout`] and [`deadline`].
    #[must_use = "a timeout does nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        limit: Limit,
    }
}

enum Limit {
    /// The clock was not read yet, since `future` has not had to wait.
    After(Duration),
    At(Sleep),
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(value) = this.future.poll(cx) {
            return Poll::Ready(Ok(value));
        }
        if let Limit::After(duration) = *this.limit {
            *this.limit = Limit::At(sleep(duration));
        }
        let Limit::At(sleep) = this.limit else { unreachable!("it was just set") };
        ready!(current::expect("time::timeout", |engine| sleep.poll_on(engine, cx)));
        Poll::Ready(Err(Elapsed))
    }
}

fn after(duration: Duration) -> Option<Instant> {
    Driver::now().checked_add(duration)
}
