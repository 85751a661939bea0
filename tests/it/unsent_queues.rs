//! Queues that are unsent at each end of a scheduler or when a socket is dropped, on each kind of
//! stream; and sockets that outlive their scheduler.

use std::{
    future::{Future, pending},
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket, BlockingSocket,
    coro::{Builder, Scheduler, current},
    spawn,
};

use crate::{
    pairs::{BIG, KINDS, Kind, bounded, narrow, pair, pattern, settle},
    verbs::{self, Face, READERS, datagram_readers, full, receive_filling, unit},
    within::logged,
};

/// How a scheduler ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Run,
    RunUntil,
    /// The scheduler is entered, and dropped later.
    Drop,
    /// It is terminated by its handle, from another thread.
    Terminate,
}

pub(crate) const ENDS: [End; 4] = [End::Run, End::RunUntil, End::Drop, End::Terminate];

impl End {
    /// Runs a coroutine in a scheduler that ends in this way.
    pub(crate) fn of<F: Future<Output = ()> + 'static>(
        self,
        builder: Builder,
        work: impl FnOnce() -> F + Send + 'static,
    ) {
        match self {
            End::Run => builder.build().unwrap().run(work()),
            End::RunUntil => builder.build().unwrap().run_until(work()),
            End::Drop => {
                let scheduler: Scheduler = builder.build().unwrap();
                scheduler.enter(work());
                drop(scheduler);
            }
            End::Terminate => {
                let scheduler = builder.start().unwrap();
                scheduler.spawn(work).value().unwrap();
                scheduler.terminate();
            }
        }
    }
}

/// Makes a pair with small buffers.
fn ends(kind: Kind) -> (BlockingSocket, BlockingSocket) {
    let (near, far) = narrow(kind);
    asyncoro::run(async {
        (near.into_blocking().await.unwrap(), far.into_blocking().await.unwrap())
    })
}

/// Queues more than the buffers hold; the socket is kept by a coroutine, or dropped at once.
async fn queue(near: BlockingSocket, is_kept: bool) {
    let near = near.into_async().unwrap();
    near.try_send_msg(&pattern(BIG).into()).unwrap();
    near.send_msg(b"last").await.ok();
    if is_kept {
        drop(spawn(async move {
            current().set_daemon(true);
            let _near = near;
            pending::<()>().await;
        }));
        asyncoro::coro::yield_now().await;
    }
}

#[test]
fn what_is_queued_leaves_at_each_end_of_a_scheduler() {
    for kind in KINDS.iter().copied() {
        for end in ENDS {
            for is_kept in [true, false] {
                bounded(move || {
                    let (near, far) = ends(kind);
                    let what = (kind, end, is_kept);
                    let reading = thread::spawn(move || {
                        assert_eq!(far.recv_msg().unwrap().unwrap(), pattern(BIG), "{what:?}");
                        assert_eq!(far.recv_msg().unwrap().unwrap(), "last", "{what:?}");
                    });
                    let builder = AsynCoro::builder().drain(Duration::from_secs(20));
                    end.of(builder, move || queue(near, is_kept));
                    reading.join().unwrap();
                });
            }
        }
    }
}

#[test]
fn each_end_of_a_scheduler_waits_for_a_deaf_peer_only_as_long_as_set() {
    for kind in KINDS.iter().copied() {
        for is_kept in [true, false] {
            bounded(move || {
                let (near, far) = ends(kind);
                let short = Duration::from_millis(5);
                let log = logged(|| {
                    let builder = AsynCoro::builder().drain(short).linger(short);
                    builder.build().unwrap().run(async {
                        let near = near.into_async().unwrap();
                        near.try_send_msg(&pattern(8 * BIG).into()).unwrap();
                        if is_kept {
                            drop(spawn(async move {
                                current().set_daemon(true);
                                let _near = near;
                                pending::<()>().await;
                            }));
                            asyncoro::coro::yield_now().await;
                        }
                    });
                });
                assert!(log.contains("WARN"), "{kind:?} {is_kept}: what is lost is told: {log}");
                far.recv_msg().unwrap_err();
            });
        }
    }
}

#[test]
fn a_dropped_socket_of_each_kind_sends_its_queue_and_then_its_end() {
    for kind in KINDS.iter().copied() {
        bounded(move || {
            asyncoro::run(async {
                let (end, far) = full(kind, Face::Asynchronous).await;
                drop(end);
                receive_filling(&far).await;
                assert_eq!(far.recv_msg().await.unwrap(), None, "{kind:?}");
                far.close().await.unwrap();
            });
        });
    }
}

/// Each verb waits in one scheduler, which ends, and then in the next one.
#[test]
fn a_socket_waits_again_in_the_next_scheduler_in_each_verb() {
    let wait = async |end: &verbs::End, far: &AsyncSocket, verb: verbs::Verb| {
        let waiting = end.begin(verb, &[]).await;
        assert!(!waiting.is_over());
        far.send(&unit(1)).await.unwrap();
        waiting.result().await.unwrap();
        if verb.only_looks() {
            end.call(READERS[0], &[]).await.unwrap();
        }
        settle().await;
    };
    for kind in KINDS.iter().copied() {
        bounded(move || {
            let (near, far) = pair(kind);
            for &verb in READERS {
                let end = verbs::End::Asynchronous(near.clone());
                asyncoro::run_until(async { wait(&end, &far, verb).await });
            }
        });
    }
    bounded(move || {
        let pairs = asyncoro::run(verbs::datagram_pairs("again"));
        for (near, far) in pairs {
            for verb in datagram_readers() {
                let end = verbs::End::Asynchronous(near.clone());
                asyncoro::run_until(async { wait(&end, &far, verb).await });
            }
        }
    });
}
