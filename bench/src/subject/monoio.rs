//! monoio on io_uring, with its timers and with wakes from other threads.

mod channel;
mod net;

use std::future::Future;
use std::io;
use std::time::Duration;

use monoio::task::JoinHandle;
use monoio::time::{self, TimeDriver};
use monoio::{IoUringDriver, RuntimeBuilder};

use crate::runtime::{Runtime, yield_once};

pub(crate) struct Monoio(monoio::Runtime<TimeDriver<IoUringDriver>>);

impl Runtime for Monoio {
    const NAME: &'static str = "monoio";

    type Task<T: 'static> = JoinHandle<T>;

    fn new() -> io::Result<Self> {
        Ok(Monoio(RuntimeBuilder::<IoUringDriver>::new().enable_timer().build()?))
    }
    fn block_on<F: Future<Output: 'static> + 'static>(&mut self, future: F) -> F::Output {
        self.0.block_on(future)
    }
    fn spawn<F: Future<Output: 'static> + 'static>(future: F) -> JoinHandle<F::Output> {
        monoio::spawn(future)
    }
    async fn join<T: 'static>(task: JoinHandle<T>) -> T {
        task.await
    }
    fn detach<T: 'static>(task: JoinHandle<T>) {
        drop(task);
    }
    fn yield_now() -> impl Future<Output = ()> {
        yield_once()
    }
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        time::sleep(duration)
    }
    async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
        time::timeout(limit, future).await.ok()
    }
}
