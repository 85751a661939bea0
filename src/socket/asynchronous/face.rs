//! Implements [`Face`]: composite operations wait in their coroutine.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use super::{core::Core, verb::Verb};
use crate::{
    addr::{Address, Target},
    coro::current,
    error, resolve,
    socket::{
        link::Link,
        make::DESCRIPTOR_PAUSE,
        op::{Face, Op},
    },
    time::{self, sleep},
};

impl Face for Rc<Core> {
    fn with_link<R>(&self, f: impl FnOnce(&Link) -> io::Result<R>) -> io::Result<R> {
        Core::with_link(self, f)
    }

    fn is_secure(&self) -> bool {
        Core::is_secure(self)
    }

    fn settle(&self) -> io::Result<bool> {
        Core::settle(self)
    }

    fn timeout(&self) -> Option<Duration> {
        self.settings().timeout()
    }

    async fn run<O: Op>(&self, op: O) -> io::Result<O::Output> {
        Verb::new(self, op).await
    }

    async fn run_until<O: Op>(&self, op: O, until: Option<Instant>) -> io::Result<O::Output> {
        let verb = Verb::new(self, op);
        match until {
            None => verb.await,
            Some(until) => {
                let timed_out = |_| Err(error::timed_out(0, false));
                time::deadline(until, verb).await.unwrap_or_else(timed_out)
            }
        }
    }

    async fn pause(&self, time: Duration) -> io::Result<()> {
        sleep(time).await;
        Ok(())
    }

    async fn resolve(target: Target) -> io::Result<Vec<Address>> {
        resolve::target(target).await
    }

    fn tell_of_limit(&self, error: &io::Error, _: bool) {
        Core::tell_of_limit(self, error);
    }

    #[cfg(feature = "tls")]
    async fn frees_descriptor(&self) -> bool {
        let frees = self.gate().is_some_and(|gate| gate.make_room() || gate.has_new());
        if frees {
            // The descriptor is free after the others have been resumed.
            crate::coro::yield_now().await;
        }
        frees
    }

    #[cfg(not(feature = "tls"))]
    async fn frees_descriptor(&self) -> bool {
        false
    }

    async fn wait_for_descriptor(&self) -> io::Result<()> {
        let mut pause = pin!(sleep(DESCRIPTOR_PAUSE));
        let mut told = false;
        poll_fn(|cx| {
            if self.is_closing() || std::mem::replace(&mut told, true) {
                return Poll::Ready(());
            }
            current::expect("accept", |engine| engine.wake_on_close(cx.waker()));
            pause.as_mut().poll(cx)
        })
        .await;
        Ok(())
    }
}
