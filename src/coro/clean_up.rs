//! The clean-up of a coroutine: futures that run after its end, however it ends.
//!
//! They run one after the other in a coroutine of their own, which holds the ended one's cell and
//! hands over its result when they are done. The scheduler lets it run while it ends.

use std::{
    future::Future,
    panic::Location,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    alarm::Alarm,
    cell, current,
    engine::{Engine, Hook, Past},
};
use crate::{driver::Driver, foreign, log};

/// Has `future` run when the running coroutine has ended: with a value, by a panic, terminated, or
/// with its scheduler. It is what `finally` with an `await` in it is elsewhere, since a future that
/// is dropped cannot wait.
///
/// If there are several, the last one runs first, one after the other; a panic of one is
/// [logged](crate::coro#the-log). The coroutine's handle has its value when all have ended.
/// Together they have the time that [`Builder::drain`](super::Builder::drain) sets, 1 s unless set;
/// what takes longer is dropped, and logged with the coroutine's name and place. While the
/// scheduler ends they run, too, and what is sent by them is sent.
///
/// In `run`'s own future they run when that has ended; within a clean-up, after it.
///
/// # Example
/// ```
/// use asyncoro::{AsyncSocket, coro::on_end, spawn};
///
/// # fn main() -> std::io::Result<()> {
/// let (near, far) = std::os::unix::net::UnixStream::pair()?;
/// asyncoro::run(async {
///     let (near, far) = (AsyncSocket::new(near)?, AsyncSocket::new(far)?);
///     let worker = spawn(async move {
///         let peer = near.clone();
///         on_end(async move {
///             let _ = peer.send_msg(b"bye").await;
///             let _ = peer.flush().await;
///         });
///         near.recv_msg().await.map(drop)
///     });
///     asyncoro::coro::yield_now().await;
///     worker.terminate();
///     assert!(worker.await.is_err());
///     assert_eq!(far.recv_msg().await?.unwrap(), "bye");
///     Ok(())
/// })
/// # }
/// ```
///
/// # Panics
/// Outside a running scheduler, and where none of its coroutines runs: in a task of tokio's, whose
/// guest it is, and in [`Hosted::within`](super::Hosted::within).
#[track_caller]
pub fn on_end(future: impl Future<Output = ()> + 'static) {
    let hook: Hook = Box::pin(future);
    current::expect_coroutine("coro::on_end", |engine| engine.run.add_hook(hook, start));
}

fn start(hooks: Vec<Hook>, past: Past) -> cell::body::Body {
    let own = past.body.as_ref().map(|body| body.who(None).place);
    let place = own.unwrap_or_else(|| Location::caller());
    let clean_up = CleanUp { hooks, past: Some(past), ends: None, alarm: None };
    // Nobody awaits it, and it never panics.
    cell::new(clean_up, place).0
}

/// The future of the coroutine that cleans up.
struct CleanUp {
    /// Those that have not ended; the last one is next.
    hooks: Vec<Hook>,
    past: Option<Past>,
    /// When it is cut off.
    ends: Option<Instant>,
    alarm: Option<Alarm>,
}

impl Future for CleanUp {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ends = match self.ends {
            Some(ends) => ends,
            None => {
                let ends = current::expect("a clean-up", Engine::drains_until);
                *self.ends.insert(ends)
            }
        };
        while let Some(hook) = self.hooks.last_mut() {
            let polled = foreign::contain("a clean-up", || hook.as_mut().poll(cx));
            if matches!(polled, Some(Poll::Pending)) {
                break;
            }
            let hook = self.hooks.pop();
            foreign::contain("the drop of a clean-up", || drop(hook));
        }
        if self.hooks.is_empty() || Driver::now() >= ends {
            self.finish();
            return Poll::Ready(());
        }
        let armed = current::expect("a clean-up", |engine| {
            self.alarm.as_ref().is_some_and(|alarm| !alarm.has_fired(engine))
        });
        if !armed {
            let arm = |engine: &Engine| Alarm::arm(engine, ends, cx.waker());
            self.alarm = Some(current::expect("a clean-up", arm));
        }
        Poll::Pending
    }
}

impl CleanUp {
    /// Drops what is left, and hands over the result.
    fn finish(&mut self) {
        let Some(Past { body, name }) = self.past.take() else { return };
        if !self.hooks.is_empty() {
            let whose = body.as_ref().map(|body| body.who(name.as_deref()).to_string());
            let whose = whose.or_else(|| name.as_deref().map(str::to_owned));
            let whose = whose.as_deref().unwrap_or("the future of run");
            log::warn(format_args!(
                "the clean-up of {whose} was cut off: it has not ended within the time that \
                 `Builder::drain` sets"
            ));
        }
        while let Some(hook) = self.hooks.pop() {
            foreign::contain("the drop of a clean-up", || drop(hook));
        }
        if let Some(body) = body {
            body.finish_or_log(name.as_deref());
        }
    }
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        self.finish();
    }
}
