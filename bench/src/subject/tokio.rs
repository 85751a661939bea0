//! tokio on one thread: tasks of a `LocalSet` on a current-thread runtime, as its documentation
//! shows for tasks that stay on their thread.

mod channel;
mod echo;
mod files;
mod net;

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime as Entered};
use tokio::task::{self, JoinHandle, LocalSet, spawn_local};
use tokio::time;

use crate::runtime::Runtime;

pub(crate) struct Tokio(LocalSet, Entered);

impl Runtime for Tokio {
    const NAME: &'static str = "tokio";

    type Task<T: 'static> = JoinHandle<T>;

    fn new() -> io::Result<Self> {
        Ok(Tokio(LocalSet::new(), Builder::new_current_thread().enable_all().build()?))
    }
    /// Runs it as a task, whose wake-up costs less than that of the future given to `block_on`.
    fn block_on<F: Future<Output: 'static> + 'static>(&mut self, future: F) -> F::Output {
        self.0.block_on(&self.1, async { Self::join(spawn_local(future)).await })
    }
    fn spawn<F: Future<Output: 'static> + 'static>(future: F) -> JoinHandle<F::Output> {
        spawn_local(future)
    }
    async fn join<T: 'static>(task: JoinHandle<T>) -> T {
        task.await.expect("the task does not panic")
    }
    fn detach<T: 'static>(task: JoinHandle<T>) {
        drop(task);
    }
    fn yield_now() -> impl Future<Output = ()> {
        task::yield_now()
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        time::sleep(duration)
    }
    async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
        time::timeout(limit, future).await.ok()
    }
}
