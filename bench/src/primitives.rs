//! Work with locks and channels inside of one thread, on any library that has them.
//!
//! Each library runs on the runtime that it is used with. What one of them lacks is left out of the
//! case (`group/sync.rs`), so its function is never called.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::runtime::Runtime;

/// A library of locks and channels, with the runtime that it is used with.
pub(crate) trait Primitives: 'static {
    /// Its name in the report.
    const NAME: &'static str;
    type On: Runtime;

    type Lock: Clone + 'static;
    fn lock() -> Self::Lock;
    /// Takes the lock, adds one to its value, yields once if `waits`, and frees it.
    fn locked(lock: &Self::Lock, waits: bool) -> impl Future<Output = ()>;

    type Semaphore: Clone + 'static;
    fn semaphore(permits: usize) -> Self::Semaphore;
    /// Takes a permit, yields once, and gives it back.
    fn permitted(semaphore: &Self::Semaphore) -> impl Future<Output = ()>;

    type Event: Clone + 'static;
    fn event() -> Self::Event;
    fn set(event: &Self::Event);
    /// Waits for the event, and clears it.
    fn happened(event: &Self::Event) -> impl Future<Output = ()>;

    type Asking: 'static;
    type Answer: 'static;
    fn oneshot() -> (Self::Asking, Self::Answer);
    fn answer(asking: Self::Asking, value: u64);
    fn answered(answer: Self::Answer) -> impl Future<Output = u64>;

    type Broadcast: 'static;
    type Listener: 'static;
    fn broadcast(capacity: usize) -> Self::Broadcast;
    fn listen(broadcast: &Self::Broadcast) -> Self::Listener;
    fn tell(broadcast: &Self::Broadcast, value: u64) -> impl Future<Output = ()>;
    /// Returns the next value; `None` after the last.
    fn heard(listener: &mut Self::Listener) -> impl Future<Output = Option<u64>>;

    type Shown: 'static;
    type Watching: 'static;
    fn watch() -> (Self::Shown, Self::Watching);
    fn show(shown: &Self::Shown, value: u64);
    /// Returns the next value; `None` after the last.
    fn seen(watching: &mut Self::Watching) -> impl Future<Output = Option<u64>>;
}

/// The work of a turn; each returns the time that it took.
pub(crate) trait Synchronizing {
    /// Coroutines that take a lock in turn and wait while they have it.
    fn lock_hand_over(&mut self, coroutines: usize, times: usize) -> Duration;
    /// A lock that is free.
    fn free_lock(&mut self, times: usize) -> Duration;
    /// Coroutines of which two have a permit at a time.
    fn semaphore(&mut self, coroutines: usize, times: usize) -> Duration;
    /// An event that one coroutine sets, and one that the other sets back.
    fn events(&mut self, times: usize) -> Duration;
    /// A oneshot channel for each value, whose receiver waits first.
    fn oneshots(&mut self, times: usize) -> Duration;
    /// Messages to subscribers, all of which wait for each.
    fn broadcast(&mut self, subscribers: usize, messages: usize) -> Duration;
    /// Values for a coroutine that sees each.
    fn watch(&mut self, values: usize) -> Duration;
}

/// A library on its runtime.
pub(crate) struct On<P: Primitives>(pub(crate) P::On);

impl<P: Primitives> Synchronizing for On<P> {
    fn lock_hand_over(&mut self, coroutines: usize, times: usize) -> Duration {
        self.0.block_on(async move {
            let lock = P::lock();
            let taking = |lock: P::Lock| async move {
                for _ in 0..times {
                    P::locked(&lock, true).await;
                }
            };
            let started = Instant::now();
            join::<P>((0..coroutines).map(|_| P::On::spawn(taking(lock.clone()))).collect()).await;
            started.elapsed()
        })
    }

    fn free_lock(&mut self, times: usize) -> Duration {
        self.0.block_on(async move {
            let lock = P::lock();
            let started = Instant::now();
            for _ in 0..times {
                P::locked(&lock, false).await;
            }
            started.elapsed()
        })
    }

    fn semaphore(&mut self, coroutines: usize, times: usize) -> Duration {
        self.0.block_on(async move {
            let semaphore = P::semaphore(2);
            let taking = |semaphore: P::Semaphore| async move {
                for _ in 0..times {
                    P::permitted(&semaphore).await;
                }
            };
            let started = Instant::now();
            let taking = (0..coroutines).map(|_| P::On::spawn(taking(semaphore.clone())));
            join::<P>(taking.collect()).await;
            started.elapsed()
        })
    }

    fn events(&mut self, times: usize) -> Duration {
        self.0.block_on(async move {
            let (there, back) = (P::event(), P::event());
            let pong = P::On::spawn({
                let (there, back) = (there.clone(), back.clone());
                async move {
                    for _ in 0..times {
                        P::happened(&there).await;
                        P::set(&back);
                    }
                }
            });
            let started = Instant::now();
            for _ in 0..times {
                P::set(&there);
                P::happened(&back).await;
            }
            let took = started.elapsed();
            P::On::join(pong).await;
            took
        })
    }

    fn oneshots(&mut self, times: usize) -> Duration {
        self.0.block_on(async move {
            let started = Instant::now();
            for value in 0..times as u64 {
                let (asking, answer) = P::oneshot();
                let mut answered = pin!(P::answered(answer));
                poll_once(answered.as_mut()).await;
                P::answer(asking, value);
                assert_eq!(answered.await, value);
            }
            started.elapsed()
        })
    }

    fn broadcast(&mut self, subscribers: usize, messages: usize) -> Duration {
        self.0.block_on(async move {
            let broadcast = P::broadcast(messages.next_power_of_two());
            let listening = |mut listener: P::Listener| async move {
                let mut sum = 0;
                while let Some(value) = P::heard(&mut listener).await {
                    sum += value;
                }
                assert_eq!(sum, (0..messages as u64).sum());
            };
            let listening = (0..subscribers)
                .map(|_| P::On::spawn(listening(P::listen(&broadcast))))
                .collect::<Vec<_>>();
            P::On::yield_now().await;
            let started = Instant::now();
            for value in 0..messages as u64 {
                P::tell(&broadcast, value).await;
                P::On::yield_now().await;
            }
            drop(broadcast);
            join::<P>(listening).await;
            started.elapsed()
        })
    }

    fn watch(&mut self, values: usize) -> Duration {
        self.0.block_on(async move {
            let (shown, mut watching) = P::watch();
            let seeing = P::On::spawn(async move {
                let mut count = 0;
                while P::seen(&mut watching).await.is_some() {
                    count += 1;
                }
                count
            });
            P::On::yield_now().await;
            let started = Instant::now();
            for value in 0..values as u64 {
                P::show(&shown, value);
                P::On::yield_now().await;
            }
            let took = started.elapsed();
            drop(shown);
            assert_eq!(P::On::join(seeing).await, values);
            took
        })
    }
}

async fn join<P: Primitives>(coroutines: Vec<<P::On as Runtime>::Task<()>>) {
    for coroutine in coroutines {
        P::On::join(coroutine).await;
    }
}

/// Polls a future that is not done.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending(), "nothing was sent");
        Poll::Ready(())
    })
    .await;
}
