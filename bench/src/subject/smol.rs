//! smol: tasks of one local executor per thread, as its documentation shows.

mod channel;
mod files;
mod net;

use std::future::Future;
use std::io;
use std::time::Duration;

use smol::{LocalExecutor, Task, Timer, future};

use crate::runtime::Runtime;

pub(crate) struct Smol;

thread_local! {
    static EXECUTOR: LocalExecutor<'static> = const { LocalExecutor::new() };
}

impl Runtime for Smol {
    const NAME: &'static str = "smol";

    type Task<T: 'static> = Task<T>;

    fn new() -> io::Result<Self> {
        Ok(Smol)
    }
    fn block_on<F: Future<Output: 'static> + 'static>(&mut self, future: F) -> F::Output {
        EXECUTOR.with(|executor| smol::block_on(executor.run(future)))
    }
    fn spawn<F: Future<Output: 'static> + 'static>(future: F) -> Task<F::Output> {
        EXECUTOR.with(|executor| executor.spawn(future))
    }
    async fn join<T: 'static>(task: Task<T>) -> T {
        task.await
    }
    fn detach<T: 'static>(task: Task<T>) {
        task.detach();
    }
    fn yield_now() -> impl Future<Output = ()> {
        future::yield_now()
    }
    async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }
    async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
        let late = async {
            Timer::after(limit).await;
            None
        };
        future::or(async { Some(future.await) }, late).await
    }
}
