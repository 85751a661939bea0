//! A wait wakes only the waker of its last poll, and keeps none when it is dropped: for each verb,
//! and for whatever else can be awaited.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use asyncoro::{AsyncSocket, pool, signal, spawn, sync::mailbox, time};

use crate::{
    pairs::{Kind, bounded, pair, run, server, settle},
    verbs::{
        ACCEPT, Call, Deaf, End, Face, READERS, WRITERS, datagram_pairs, datagram_readers,
        each_kind, full, named, receive_filling, unit,
    },
    within::Foreign,
};

fn poll_with<F: Future + ?Sized>(foreign: &Arc<Foreign>, call: Pin<&mut F>) -> Poll<F::Output> {
    call.poll(&mut Context::from_waker(&Waker::from(Arc::clone(foreign))))
}

/// Polls a wait with one waker, then with another, and lets `come` complete it; checks that only
/// the last waker was woken, and that neither is kept.
async fn wakes_the_last(mut call: Call, come: impl AsyncFnOnce(), what: &dyn std::fmt::Debug) {
    let (old, new) = (Foreign::new(), Foreign::new());
    assert!(poll_with(&old, call.as_mut()).is_pending(), "{what:?}");
    assert!(poll_with(&new, call.as_mut()).is_pending(), "{what:?}");
    come().await;
    poll_fn(|cx| {
        new.pass_on_to(cx);
        if new.wakes() > 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    // It may be woken for a part of what it needs.
    loop {
        let wakes = new.wakes();
        if let Poll::Ready(result) = poll_with(&new, call.as_mut()) {
            result.unwrap();
            break;
        }
        poll_fn(|cx| {
            new.pass_on_to(cx);
            if new.wakes() > wakes { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    drop(call);
    assert_eq!(old.wakes(), 0, "{what:?}");
    assert_eq!((Arc::strong_count(&old), Arc::strong_count(&new)), (1, 1), "{what:?}");
}

/// Polls a wait and drops it; checks that its waker is not kept.
fn leaves_no_waker<F: Future + ?Sized>(mut call: Pin<Box<F>>, what: &dyn std::fmt::Debug) {
    let foreign = Foreign::new();
    for _ in 0..2 {
        assert!(poll_with(&foreign, call.as_mut()).is_pending(), "{what:?}");
    }
    drop(call);
    assert_eq!(Arc::strong_count(&foreign), 1, "{what:?}");
}

fn call(end: &End, verb: crate::verbs::Verb, bytes: &[u8]) -> Call {
    let End::Asynchronous(socket) = end else { unreachable!() };
    (verb.call)(socket.clone(), bytes.to_vec())
}

#[test]
fn each_verb_that_receives_wakes_the_last_who_polled_it() {
    each_kind(async |kind| {
        let (near, far) = pair(kind);
        let end = End::Asynchronous(near);
        for &verb in READERS {
            let come = async || far.send_all(&unit(1)).await.unwrap();
            wakes_the_last(call(&end, verb, &[]), come, &verb).await;
            if verb.only_looks() {
                end.call(named("recv"), &[]).await.unwrap();
            }
            // In line behind another, who is served first.
            let first = end.begin(named("recv_all_bytes"), &[]).await;
            let come = async || far.send_all(&[unit(2), unit(3)].concat()).await.unwrap();
            wakes_the_last(call(&end, verb, &[]), come, &verb).await;
            assert_eq!(first.result().await.unwrap(), unit(2));
            if verb.only_looks() {
                end.call(named("recv"), &[]).await.unwrap();
            }
            settle().await;
        }
    });
}

#[test]
fn each_verb_that_sends_wakes_the_last_who_polled_it() {
    for kind in crate::pairs::KINDS.iter().copied() {
        for &verb in WRITERS {
            bounded(move || {
                asyncoro::run_until(async {
                    let (end, far) = full(kind, Face::Asynchronous).await;
                    let come = async || {
                        drop(spawn(async move {
                            receive_filling(&far).await;
                            while !far.recv_bytes(9).await.unwrap().is_empty() {}
                        }))
                    };
                    wakes_the_last(call(&end, verb, &unit(1)), come, &verb).await;
                });
            });
        }
    }
}

#[test]
fn a_verb_that_is_given_up_leaves_no_waker() {
    each_kind(async |kind| {
        let (near, _far) = pair(kind);
        let end = End::Asynchronous(near);
        for in_line in [false, true] {
            let _first = match in_line {
                true => Some(end.begin(named("recv"), &[]).await),
                false => None,
            };
            for &verb in READERS {
                leaves_no_waker(call(&end, verb, &[]), &verb);
            }
        }
        let (end, _far) = full(kind, Face::Asynchronous).await;
        for in_line in [false, true] {
            let _first = match in_line {
                true => Some(end.begin(named("send_all"), &unit(1)).await),
                false => None,
            };
            for &verb in WRITERS {
                leaves_no_waker(call(&end, verb, &unit(1)), &verb);
            }
        }
        if [Kind::Tcp4, Kind::Tcp6, Kind::Unix].contains(&kind) {
            let server = End::Asynchronous(server(kind).await);
            leaves_no_waker(call(&server, ACCEPT, &[]), &ACCEPT);
        }
    });
    run(async || {
        for (near, _far) in datagram_pairs("woken").await {
            for verb in datagram_readers() {
                leaves_no_waker(call(&End::Asynchronous(near.clone()), verb, &[]), &verb);
            }
        }
    });
}

#[test]
fn whatever_else_is_awaited_leaves_no_waker_either() {
    run(async || {
        let long = Duration::from_secs(1000);
        leaves_no_waker(Box::pin(time::sleep(long)), &"sleep");
        leaves_no_waker(Box::pin(time::timeout(long, std::future::pending::<()>())), &"timeout");
        leaves_no_waker(Box::pin(signal::ctrl_c()), &"ctrl_c");
        leaves_no_waker(Box::pin(signal::shutdown()), &"shutdown");
        let (sender, receiver) = mailbox(1);
        leaves_no_waker(Box::pin(receiver.receive()), &"receive");
        sender.try_send(1).unwrap();
        leaves_no_waker(Box::pin(sender.send(2)), &"send");
        let coro = spawn(std::future::pending::<()>());
        coro.terminate();
        leaves_no_waker(Box::pin(coro), &"a handle");
        let (go, wait) = std::sync::mpsc::channel::<()>();
        leaves_no_waker(Box::pin(pool::run(move || _ = wait.recv())), &"pool::run");
        drop(go);
        let deaf = Deaf::new("127.0.0.1:0");
        let connecting = AsyncSocket::create_connection(deaf.address.as_str());
        leaves_no_waker(Box::pin(connecting), &"create_connection");
    });
}
