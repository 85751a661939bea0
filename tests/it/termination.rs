//! Termination and cancellation in each kind of wait: it ends at once, and leaves no timer, no
//! registration and nothing that it held.

use std::{
    future::{Future, pending},
    pin::Pin,
    time::Duration,
};

use asyncoro::{AsyncSocket, coro::Ended, pool, resolve, signal, spawn, sync::mailbox, time};

use crate::{
    pairs::{pair, run, server, settle, started, statistics},
    verbs::{
        ACCEPT, CONNECT, Deaf, End, Face, READERS, Verb, WRITERS, datagram_pairs, datagram_readers,
        each_kind, full, named, unit,
    },
    within::Drops,
};

/// Terminates a waiting coroutine, and checks that nothing of it is left.
async fn ends<F: Future + 'static>(wait: F, what: &dyn std::fmt::Debug) {
    // The test's own timer is armed, and what ended before is gone.
    settle().await;
    let before = statistics();
    let drops = Drops::default();
    let guard = drops.guard();
    let coro = started(async move {
        let _guard = guard;
        wait.await
    })
    .await;
    assert!(!coro.is_finished(), "{what:?} has to wait");
    coro.terminate();
    assert!(matches!(coro.await, Err(Ended::Terminated(_))), "{what:?}");
    let after = statistics();
    assert_eq!(drops.count(), 1, "{what:?}");
    assert_eq!((after.timers, after.coroutines), (before.timers, before.coroutines), "{what:?}");
}

/// Does the same with a verb that has the lock and one that waits for it, with a timeout, whose
/// timer must go, too.
async fn ends_verb(end: &End, verb: Verb, first: Verb, bytes: &[u8]) {
    let End::Asynchronous(socket) = end else { unreachable!() };
    socket.set_timeout(Some(Duration::from_secs(1000)));
    ends((verb.call)(socket.clone(), bytes.to_vec()), &verb).await;
    let holder = spawn((first.call)(socket.clone(), bytes.to_vec()));
    settle().await;
    ends((verb.call)(socket.clone(), bytes.to_vec()), &verb).await;
    holder.terminate();
    holder.await.unwrap_err();
}

#[test]
fn each_verb_can_be_terminated() {
    each_kind(async |kind| {
        let (near, far) = pair(kind);
        let near = End::Asynchronous(near);
        for &verb in READERS {
            ends_verb(&near, verb, named("recv"), &[]).await;
        }
        far.send_all(&unit(1)).await.unwrap();
        assert_eq!(near.call(named("recv"), &[]).await.unwrap(), unit(1), "nothing is lost");
        let (end, _far) = full(kind, Face::Asynchronous).await;
        for &verb in WRITERS {
            ends_verb(&end, verb, named("send_all"), &unit(1)).await;
        }
        let End::Asynchronous(socket) = end else { unreachable!() };
        ends(async move { socket.close().await }, &"close").await;
        let server = End::Asynchronous(server(kind).await);
        ends_verb(&server, ACCEPT, ACCEPT, &[]).await;
    });
    run(async || {
        for (near, _far) in datagram_pairs("termination").await {
            let near = End::Asynchronous(near);
            for verb in datagram_readers() {
                ends_verb(&near, verb, named("recv"), &[]).await;
            }
        }
    });
}

#[test]
fn whoever_connects_can_be_terminated_and_leaves_no_registration() {
    run(async || {
        for deaf in ["127.0.0.1:0", "[::1]:0", ""].map(Deaf::new) {
            let before = statistics().sockets;
            let near = AsyncSocket::new(deaf.open()).unwrap();
            ends((CONNECT.call)(near, deaf.address.as_bytes().to_vec()), &CONNECT).await;
            let address = deaf.address.clone();
            let connecting = async move { AsyncSocket::create_connection(&*address).await };
            ends(connecting, &"create_connection").await;
            assert_eq!(statistics().sockets, before, "{}", deaf.address);
        }
    });
}

#[cfg(feature = "tls")]
#[test]
fn whoever_shakes_hands_can_be_terminated_and_leaves_no_registration() {
    run(async || {
        let (server_tls, client_tls) = crate::tls::localhost();
        let client_tls = client_tls.server_name("localhost").unwrap();
        // It is connected by the kernel, and says nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let tls = client_tls.clone();
        let connecting =
            async move { AsyncSocket::create_tls_connection(address, &tls).await.map(drop) };
        ends(connecting, &"create_tls_connection").await;
        let near = AsyncSocket::create_connection(address).await.unwrap();
        ends(async move { near.start_tls(&client_tls).await }, &"start_tls").await;
        let near = AsyncSocket::create_connection(address).await.unwrap();
        ends(async move { near.start_tls(&server_tls).await }, &"start_tls").await;
        assert_eq!(statistics().sockets, 0);
    });
}

type Wait = Pin<Box<dyn Future<Output = ()>>>;

#[test]
fn whatever_else_is_awaited_can_be_terminated() {
    run(async || {
        let long = Duration::from_secs(1000);
        let (sender, receiver) = mailbox(1);
        let (full, _full) = mailbox(1);
        full.try_send(1).unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let waits: Vec<(&str, Wait)> = vec![
            ("pending", Box::pin(pending())),
            ("sleep", Box::pin(time::sleep(long))),
            ("timeout", Box::pin(async move { time::timeout(long, pending()).await.unwrap() })),
            ("receive", Box::pin(async move { _ = receiver.receive().await })),
            ("send", Box::pin(async move { _ = full.send(2).await })),
            ("ctrl_c", Box::pin(async { signal::ctrl_c().await.unwrap() })),
            ("terminate", Box::pin(async { signal::terminate().await.unwrap() })),
            ("shutdown", Box::pin(async { signal::shutdown().await.unwrap() })),
            ("pool::run", Box::pin(pool::run(move || _ = wait.recv()))),
        ];
        for (name, wait) in waits {
            ends(wait, &name).await;
        }
        // What was given up is not done, and what it waited for goes on for others.
        assert!(sender.try_send(1).is_err(), "the receiver has gone with its coroutine");
        // Where the function had begun it still has to end.
        go.send(()).ok();
        let inner = spawn(time::sleep(long));
        ends(async move { inner.await.unwrap() }, &"a handle").await;
        // A look-up may be over at once; whether or not, its caller ends.
        let looking = spawn(resolve::resolve("localhost", 1));
        looking.terminate();
        assert!(matches!(looking.await, Err(Ended::Terminated(_))));
    });
}
