//! hyper's timer: sleeps that are `Send` and `Sync`, on whatever scheduler they are polled.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use ::hyper::rt;

use super::thread_bound::ThreadBound;
use crate::{driver::Driver, time};

/// hyper's timer, for the timeouts of its connections: on the timers of the scheduler.
///
/// Its sleeps are `Send + Sync` as hyper demands: they may be dropped on any thread, and polled on
/// any thread with a running scheduler, where they go on.
///
/// ```
/// use std::time::Duration;
///
/// use asyncoro::interop::Timer;
/// use hyper::rt::Timer as _;
///
/// asyncoro::run(async {
///     Timer.sleep(Duration::from_millis(1)).await;
/// });
/// ```
///
/// # Panics
/// Its sleeps panic when polled outside a running scheduler.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer;

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep { until: Driver::now().checked_add(duration), armed: None })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep { until: Some(deadline), armed: None })
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(mut sleep) => *sleep = Sleep { until: Some(deadline), armed: None },
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

struct Sleep {
    /// `None` if the clock cannot represent it: it never ends.
    until: Option<Instant>,
    /// Made at the first poll on a thread.
    armed: Option<ThreadBound<time::Sleep>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        self.armed.take_if(|armed| !armed.is_home());
        let armed = self.armed.get_or_insert_with(|| ThreadBound::new(time::sleep_until(until)));
        Pin::new(armed).poll(cx)
    }
}

impl rt::Sleep for Sleep {}
