//! asyncoro's coroutines without any socket.

use std::time::{Duration, Instant};

use asyncoro::coro::{Scheduler, yield_now};
use asyncoro::{Coro, spawn};

use crate::group::memory::Parked;
use crate::subject::Coroutines;

impl Coroutines for Scheduler {
    fn spawn_and_join(&mut self, times: usize) -> Duration {
        self.enter(async move {
            let started = Instant::now();
            for _ in 0..times {
                spawn(async {}).await.expect("an empty coroutine does not panic");
            }
            started.elapsed()
        })
    }

    fn spawn_together(&mut self, coroutines: usize) -> Duration {
        self.enter(async move {
            let started = Instant::now();
            join((0..coroutines).map(|_| spawn(async {})).collect()).await;
            started.elapsed()
        })
    }

    fn yields(&mut self, coroutines: usize, times: usize) -> Duration {
        self.enter(async move {
            let yielding = || async move {
                for _ in 0..times {
                    yield_now().await;
                }
            };
            let started = Instant::now();
            join((0..coroutines).map(|_| spawn(yielding())).collect()).await;
            started.elapsed()
        })
    }

    fn park(&mut self, coroutines: usize) {
        self.enter(async move {
            for _ in 0..coroutines {
                drop(spawn(Parked));
            }
            while Parked::begun() < coroutines {
                yield_now().await;
            }
        });
    }
}

async fn join(coroutines: Vec<Coro<()>>) {
    for coroutine in coroutines {
        coroutine.await.expect("the coroutine does not panic");
    }
}
