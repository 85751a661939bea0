//! Hot paths without sockets.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use asyncoro::coro::yield_now;
use asyncoro::sync::mailbox;
use asyncoro::{run, spawn, time};

/// Yields and resumes a coroutine.
pub(crate) fn resume(times: usize) {
    run(async move {
        let yielding = spawn(async move {
            for _ in 0..times {
                yield_now().await;
            }
        });
        yielding.await.expect("it does not panic");
    });
}

/// Spawns a coroutine that does nothing, and waits for it.
pub(crate) fn spawn_and_join(times: usize) {
    run(async move {
        for _ in 0..times {
            spawn(async {}).await.expect("it does not panic");
        }
    });
}

/// Sends a value to another coroutine and back.
pub(crate) fn ping_pong(times: usize) {
    run(async move {
        let (there, here) = mailbox(1);
        let (answer, answers) = mailbox(1);
        let pong = spawn(async move {
            while let Some(value) = here.receive().await {
                answer.send(value).await.expect("the receiver is there");
            }
        });
        for value in 0..times {
            there.send(value).await.expect("the receiver is there");
            assert_eq!(answers.receive().await, Some(value));
        }
        drop(there);
        pong.await.expect("it does not panic");
    });
}

/// Arms a timer of 30 s by its first poll, and drops it.
pub(crate) fn arm_and_drop(times: usize) {
    run(async move {
        for _ in 0..times {
            let mut timer = pin!(time::sleep(Duration::from_secs(30)));
            poll_fn(|context| {
                assert!(timer.as_mut().poll(context).is_pending(), "30 s are not over");
                Poll::Ready(())
            })
            .await;
        }
    });
}
