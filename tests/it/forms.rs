//! What the tests of locks and channels have in common, which run for both forms of these.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
};

use asyncoro::coro::yield_now;

use crate::within::{Foreign, within};

/// Makes each test twice, once with each form of these types.
macro_rules! each_form {
    ({ $($name:ident),* } $($tests:tt)*) => {
        mod one_thread {
            use std::rc::Rc as Pointer;

            use asyncoro::sync::local::{$($name),*};

            use super::*;

            $($tests)*
        }

        #[allow(clippy::arc_with_non_send_sync, reason = "the tests are those of one thread")]
        mod threads {
            use std::sync::Arc as Pointer;

            use asyncoro::sync::{$($name),*};

            use super::*;

            $($tests)*
        }
    };
}

pub(crate) use each_form;

/// Polls with a waker that does nothing.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls with a waker that counts.
pub(crate) fn poll_with<F: Future + Unpin>(
    future: &mut F,
    waker: &Arc<Foreign>,
) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(waker.clone())))
}

/// Lets all others run until they wait.
pub(crate) async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// Runs `work` in a scheduler on each of four threads.
pub(crate) fn on_four_threads<F: Future<Output = ()>>(
    work: impl Fn(usize) -> F + Sync + Send + 'static,
) {
    within(move || {
        thread::scope(|scope| {
            for number in 0..4 {
                let work = &work;
                scope.spawn(move || asyncoro::run_until(work(number)));
            }
        });
    });
}
