//! Work with coroutines, channels and timers, without sockets, on any runtime.
//!
//! Each function returns the time its work took, without entering the runtime.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use crate::group::memory::Parked;
use crate::runtime::{Channel, Runtime};

/// A runtime for coroutines, as a trait object.
pub(crate) trait Coroutines {
    /// Spawns a coroutine that does nothing and waits for it, a number of times.
    fn spawn_and_join(&mut self, times: usize) -> Duration;
    /// Spawns coroutines that do nothing, then waits for each.
    fn spawn_together(&mut self, coroutines: usize) -> Duration;
    /// Spawns coroutines that yield a number of times, and waits for them.
    fn yields(&mut self, coroutines: usize, times: usize) -> Duration;
    /// Wakes a coroutine from another thread, and back, a number of times.
    fn wakes_across(&mut self, times: usize) -> Duration;
    /// Sends a value to a coroutine that sends it back, a number of times.
    fn ping_pong(&mut self, times: usize) -> Duration;
    /// Sends a number of values through a channel with a capacity of 100.
    fn stream(&mut self, values: usize) -> Duration;
    /// Arms a timer of 30 s by a poll and drops it, a number of times.
    fn arm_and_drop(&mut self, times: usize) -> Duration;
    /// Arms timers of different lengths and drops them; returns the time of each half.
    fn many_timers(&mut self, timers: usize) -> [Duration; 2];
    /// Spawns coroutines that wait forever, and returns when all have begun to wait.
    fn park(&mut self, coroutines: usize);
}

impl<R: Channel> Coroutines for R {
    fn spawn_and_join(&mut self, times: usize) -> Duration {
        self.block_on(async move {
            let started = Instant::now();
            for _ in 0..times {
                R::join(R::spawn(async {})).await;
            }
            started.elapsed()
        })
    }

    fn spawn_together(&mut self, coroutines: usize) -> Duration {
        self.block_on(async move {
            let started = Instant::now();
            join::<R>((0..coroutines).map(|_| R::spawn(async {})).collect()).await;
            started.elapsed()
        })
    }

    fn yields(&mut self, coroutines: usize, times: usize) -> Duration {
        self.block_on(async move {
            let yielding = || async move {
                for _ in 0..times {
                    R::yield_now().await;
                }
            };
            let started = Instant::now();
            join::<R>((0..coroutines).map(|_| R::spawn(yielding())).collect()).await;
            started.elapsed()
        })
    }

    fn wakes_across(&mut self, times: usize) -> Duration {
        let (sender, mut receiver) = R::channel(1);
        let (ask, asked) = mpsc::channel();
        let waking = thread::spawn(move || {
            asked.into_iter().for_each(|value| R::send_across(&sender, value));
        });
        let took = self.block_on(async move {
            let started = Instant::now();
            for value in 0..times as u64 {
                ask.send(value).expect("the thread listens");
                assert_eq!(R::receive(&mut receiver).await, value);
            }
            started.elapsed()
        });
        waking.join().expect("the thread does not panic");
        took
    }

    fn ping_pong(&mut self, times: usize) -> Duration {
        self.block_on(async move {
            let (there, mut here) = R::channel(1);
            let (answer, mut answers) = R::channel(1);
            let pong = R::spawn(async move {
                for _ in 0..times {
                    let value = R::receive(&mut here).await;
                    R::send(&answer, value).await;
                }
            });
            let started = Instant::now();
            for value in 0..times as u64 {
                R::send(&there, value).await;
                assert_eq!(R::receive(&mut answers).await, value);
            }
            let took = started.elapsed();
            R::join(pong).await;
            took
        })
    }

    fn stream(&mut self, values: usize) -> Duration {
        self.block_on(async move {
            let (sender, mut receiver) = R::channel(100);
            let started = Instant::now();
            let sending = R::spawn(async move {
                for value in 0..values as u64 {
                    R::send(&sender, value).await;
                }
            });
            for value in 0..values as u64 {
                assert_eq!(R::receive(&mut receiver).await, value);
            }
            let took = started.elapsed();
            R::join(sending).await;
            took
        })
    }

    fn arm_and_drop(&mut self, times: usize) -> Duration {
        self.block_on(async move {
            let started = Instant::now();
            for _ in 0..times {
                let mut timer = pin!(R::sleep(Duration::from_secs(30)));
                poll_once(&mut timer).await;
            }
            started.elapsed()
        })
    }

    fn many_timers(&mut self, timers: usize) -> [Duration; 2] {
        self.block_on(async move {
            let mut armed = Vec::with_capacity(timers);
            let started = Instant::now();
            for number in 0..timers {
                let mut timer = Box::pin(R::sleep(length(number)));
                poll_once(&mut timer).await;
                armed.push(timer);
            }
            let created = started.elapsed();
            drop(armed);
            [created, started.elapsed() - created]
        })
    }

    fn park(&mut self, coroutines: usize) {
        self.block_on(async move {
            for _ in 0..coroutines {
                R::detach(R::spawn(Parked));
            }
            // Coroutines begin in order: once this one has ended the others have begun. With a
            // yield instead, monoio would scan a million tasks each time.
            while Parked::begun() < coroutines {
                R::join(R::spawn(async {})).await;
            }
        });
    }
}

async fn join<R: Runtime>(coroutines: Vec<R::Task<()>>) {
    for coroutine in coroutines {
        R::join(coroutine).await;
    }
}

/// Polls a timer that is not due.
async fn poll_once(timer: &mut (impl Future<Output = ()> + Unpin)) {
    poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *timer).poll(context);
        assert!(polled.is_pending(), "the timer is armed for long");
        Poll::Ready(())
    })
    .await;
}

/// Returns a time between 30 and 90 s, in no order.
fn length(number: usize) -> Duration {
    Duration::from_millis(30_000 + (number as u64).wrapping_mul(0x9E37_79B9) % 60_000)
}
