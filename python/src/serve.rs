//! Runs the scheduler in a thread of Python's, from its beginning to its end.
//!
//! It knows all who have a part in that: the thread that flushes (`watcher.rs`), the log, the
//! coroutines that are left at the end.

use std::{future::poll_fn, rc::Rc, sync::Arc, time::Duration};

use asyncoro::AsynCoro;
use pyo3::prelude::*;

use crate::{
    call,
    coro::{self, registry},
    engine::{self, Serving},
    error::raised,
    gil, guest, holding, log, watcher,
};

/// Runs the scheduler in this thread until `stop`; calls `started` once it takes requests, which
/// is with `in_call` as a coroutine may. Then raises the KeyboardInterrupt of a coroutine, too.
#[pyfunction]
pub(crate) fn serve(py: Python<'_>, started: Py<PyAny>, in_call: bool) -> PyResult<()> {
    let watch = Arc::new(watcher::Watch::new());
    let (queued, sent) = (Arc::clone(&watch), Arc::clone(&watch));
    let builder = AsynCoro::builder()
        .around_waits(engine::let_go, engine::take_back)
        .around_queueing(move || queued.queued(), move || sent.sent());
    let scheduler = Rc::new(builder.build().map_err(|error| raised(py, &error))?);
    let serving = Serving::begin(py, scheduler.handle(), in_call);
    let home = serving.home();
    watcher::start(py, home, Rc::clone(&scheduler) as _, watch, true)?;
    let begun = scheduler.run_until(async move {
        started.call0(gil::py())?;
        stopped().await;
        Ok(())
    });
    if begun.is_err() {
        engine::stop(py);
    }
    watcher::stop(py, home);
    drop(scheduler);
    coro::leave_context(py);
    log::pass_on(py, None);
    let interrupted = serving.end(py);
    begun.and_then(|()| interrupted.map_or(Ok(()), Err))
}

/// How much longer than the drain time the scheduler waits: coroutines end themselves after that.
const MORE: Duration = Duration::from_millis(250);

/// Waits until the scheduler is told to stop, and then until all coroutines have ended, for the
/// drain time at most. Passes lines of the log on meanwhile.
async fn stopped() {
    poll_fn(|cx| {
        let py = gil::py();
        log::pass_on(py, Some(cx.waker()));
        engine::poll_stop(py, cx, !holding::is_held(py))
    })
    .await;
    for coro in registry::alive(gil::py()) {
        coro.get().end_soon(gil::py());
    }
    let ended = poll_fn(|cx| {
        log::pass_on(gil::py(), Some(cx.waker()));
        registry::poll_empty(gil::py(), cx)
    });
    let _ = asyncoro::time::timeout(engine::drain(gil::py()) + MORE, ended).await;
}

/// Forgets the scheduler in the child of a fork, and all that belongs to it: it is the parent's.
#[pyfunction]
pub(crate) fn after_fork(py: Python<'_>) {
    engine::forget(py);
    log::after_fork();
    coro::forget_context(py);
    watcher::forget(py);
    call::note_fork();
    registry::forget(py);
    guest::forget(py);
    holding::forget(py);
}
