//! asyncoro: a coroutine per connection on a local scheduler.

pub(super) mod bulk;
mod channel;
mod files;
mod net;
pub(super) mod verbs;

use std::future::Future;
use std::io;
use std::time::Duration;

use asyncoro::coro::{Scheduler, yield_now};
use asyncoro::{Coro, spawn, time};

use crate::runtime::Runtime;

impl Runtime for Scheduler {
    const NAME: &'static str = "asyncoro";

    type Task<T: 'static> = Coro<T>;

    fn new() -> io::Result<Self> {
        Scheduler::new()
    }
    fn block_on<F: Future<Output: 'static> + 'static>(&mut self, future: F) -> F::Output {
        self.enter(future)
    }
    fn spawn<F: Future<Output: 'static> + 'static>(future: F) -> Coro<F::Output> {
        spawn(future)
    }
    async fn join<T: 'static>(task: Coro<T>) -> T {
        task.await.expect("the coroutine does not panic")
    }
    fn detach<T: 'static>(task: Coro<T>) {
        drop(task);
    }
    fn yield_now() -> impl Future<Output = ()> {
        yield_now()
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        time::sleep(duration)
    }
    async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
        time::timeout(limit, future).await.ok()
    }
}
