//! Implements [`Face`]: composite operations wait in the call.

use std::{
    future::Future,
    io,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use super::{interrupt, twin::Twin};
use crate::{
    addr::{Address, Target},
    log, resolve,
    socket::{
        link::Link,
        make::DESCRIPTOR_PAUSE,
        op::{Face, Op},
    },
};

/// Runs a composite operation, which waits in the call, so that its future is ready at once.
pub(super) fn at_once<T>(operation: impl Future<Output = T>) -> T {
    match pin!(operation).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("a blocking operation waits in the call"),
    }
}

impl Face for Twin {
    fn with_link<R>(&self, f: impl FnOnce(&Link) -> io::Result<R>) -> io::Result<R> {
        Twin::with_link(self, f)
    }

    fn is_secure(&self) -> bool {
        self.link.is_secure()
    }

    fn settle(&self) -> io::Result<bool> {
        self.link.settle()
    }

    fn timeout(&self) -> Option<Duration> {
        self.settings().timeout()
    }

    async fn run<O: Op>(&self, op: O) -> io::Result<O::Output> {
        self.drive(op)
    }

    async fn run_until<O: Op>(&self, op: O, until: Option<Instant>) -> io::Result<O::Output> {
        self.drive_until(op, until)
    }

    async fn pause(&self, time: Duration) -> io::Result<()> {
        thread::sleep(time);
        interrupt::check(&self.write)
    }

    async fn resolve(target: Target) -> io::Result<Vec<Address>> {
        resolve::target_blocking(target)
    }

    fn tell_of_limit(&self, error: &io::Error, is_first: bool) {
        if is_first {
            log::warn(format_args!("accept waits for a free descriptor: {error}"));
        }
    }

    async fn frees_descriptor(&self) -> bool {
        false
    }

    async fn wait_for_descriptor(&self) -> io::Result<()> {
        thread::sleep(DESCRIPTOR_PAUSE);
        interrupt::check(&self.read)
    }
}
