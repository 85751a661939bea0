//! tokio's tasks without any socket.

use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_local, yield_now};

use super::local::Local;
use crate::group::memory::Parked;
use crate::subject::Coroutines;

impl Coroutines for Local {
    fn spawn_and_join(&mut self, times: usize) -> Duration {
        self.block_on_task(async move {
            let started = Instant::now();
            for _ in 0..times {
                spawn_local(async {}).await.expect("an empty task does not panic");
            }
            started.elapsed()
        })
    }

    fn spawn_together(&mut self, coroutines: usize) -> Duration {
        self.block_on_task(async move {
            let started = Instant::now();
            join((0..coroutines).map(|_| spawn_local(async {})).collect()).await;
            started.elapsed()
        })
    }

    fn yields(&mut self, coroutines: usize, times: usize) -> Duration {
        self.block_on_task(async move {
            let yielding = || async move {
                for _ in 0..times {
                    yield_now().await;
                }
            };
            let started = Instant::now();
            join((0..coroutines).map(|_| spawn_local(yielding())).collect()).await;
            started.elapsed()
        })
    }

    fn park(&mut self, coroutines: usize) {
        self.block_on_task(async move {
            for _ in 0..coroutines {
                spawn_local(Parked);
            }
            while Parked::begun() < coroutines {
                yield_now().await;
            }
        });
    }
}

async fn join(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        task.await.expect("the task does not panic");
    }
}
