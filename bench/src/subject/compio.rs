//! compio on io_uring.

mod channel;
mod net;

use std::future::Future;
use std::io;
use std::time::Duration;

use compio::runtime::{self, JoinHandle};
use compio::time;

use crate::runtime::{Runtime, yield_once};

pub(crate) struct Compio(runtime::Runtime);

impl Runtime for Compio {
    const NAME: &'static str = "compio";

    type Task<T: 'static> = JoinHandle<T>;

    fn new() -> io::Result<Self> {
        Ok(Compio(runtime::Runtime::new()?))
    }
    fn block_on<F: Future<Output: 'static> + 'static>(&mut self, future: F) -> F::Output {
        self.0.block_on(future)
    }
    fn spawn<F: Future<Output: 'static> + 'static>(future: F) -> JoinHandle<F::Output> {
        runtime::spawn(future)
    }
    async fn join<T: 'static>(task: JoinHandle<T>) -> T {
        match task.await {
            Ok(value) => value,
            Err(_) => panic!("the task does not panic"),
        }
    }
    fn detach<T: 'static>(task: JoinHandle<T>) {
        task.detach();
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
