//! `copy` and `copy_both`: what one end sends arrives at the other, ends are passed on, nothing is
//! lost when a copy is dropped or fails, and nothing piles up.
//!
//! The sockets of a test, in order: a client, the two that are copied between, a server.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io::{self, ErrorKind},
    net::Shutdown,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use asyncoro::{
    AsyncSocket, Coro, copy, copy_both,
    coro::yield_now,
    error::{Idle, TimedOut, WrongKind},
    spawn,
    time::{sleep, timeout},
};
use futures_util::future::join;

use crate::{
    pairs::{
        BIG, KINDS, Kind, LIMIT, assert_closed, bounded, each, inner, narrow, pair, pattern,
        poll_once, reset, run, settle, started,
    },
    verbs::datagram_pairs,
};

type Four = (AsyncSocket, AsyncSocket, AsyncSocket, AsyncSocket);

/// Runs a coroutine for each mix of two kinds of streams, whose buffers hold less than [`BIG`].
fn each_mix_of_each_kind<F: Future>(test: impl Fn(Four) -> F + Copy + Send + 'static) {
    let threads = KINDS.iter().map(|&one| {
        std::thread::spawn(move || {
            for &other in KINDS {
                bounded(move || {
                    println!("{one:?} and {other:?}");
                    let run = asyncoro::run_until(timeout(LIMIT, async {
                        let ((client, a), (b, server)) = (narrow(one), narrow(other));
                        test((client, a, b, server)).await
                    }));
                    assert!(run.is_ok(), "{one:?} and {other:?}: the test hangs");
                });
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        if let Err(payload) = thread.join() {
            std::panic::resume_unwind(payload);
        }
    }
}

/// Sends everything in a coroutine, and the end.
fn sending(socket: &AsyncSocket, bytes: Vec<u8>) -> Coro<io::Result<()>> {
    let socket = socket.clone();
    spawn(async move {
        socket.send_all(&bytes).await?;
        socket.shutdown(Shutdown::Write).await
    })
}

async fn receive_all(socket: &AsyncSocket) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let some = socket.recv_bytes(1 << 16).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend_from_slice(&some);
    }
}

#[test]
fn copy_moves_all_counts_it_and_leaves_the_other_end_open() {
    each_mix_of_each_kind(async |(client, a, b, server)| {
        let sender = sending(&client, pattern(BIG));
        let (copied, got) = join(copy(&a, &b), server.recv_all_bytes(BIG)).await;
        assert_eq!((copied.unwrap(), got.unwrap()), (BIG as u64, pattern(BIG).into()));
        sender.await.unwrap().unwrap();
        b.send_all(b"more").await.unwrap();
        assert_eq!(server.recv_bytes(9).await.unwrap(), "more");
        assert_eq!(copy(&a, &b).await.unwrap(), 0, "the end is permanent");
        // The other direction.
        server.send_all(b"back").await.unwrap();
        server.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(copy(&b, &a).await.unwrap(), 4);
        assert_eq!(client.recv_bytes(9).await.unwrap(), "back");
    });
}

#[test]
fn what_was_received_or_queued_before_comes_first() {
    each_mix_of_each_kind(async |(client, a, b, server)| {
        client.send_all(b"line\nand the rest").await.unwrap();
        assert_eq!(a.recv_until(b"\n", 9).await.unwrap(), "line\n");
        b.send_queued(b"queued, ").await.unwrap();
        client.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(copy(&a, &b).await.unwrap(), 12);
        assert_eq!(server.recv_all_bytes(20).await.unwrap(), "queued, and the rest");
    });
}

#[test]
fn the_end_of_each_direction_is_passed_on_behind_all_of_it() {
    for client_first in [true, false] {
        each_mix_of_each_kind(move |(client, a, b, server)| async move {
            let (first, last) = if client_first { (client, server) } else { (server, client) };
            let copying = spawn(async move { copy_both(&a, &b, None).await });
            let asking = sending(&first, pattern(BIG));
            assert_eq!(receive_all(&last).await, pattern(BIG), "and then the end");
            asking.await.unwrap().unwrap();
            // The other direction is open all the while.
            last.send_all(b"some").await.unwrap();
            assert_eq!(first.recv_all_bytes(4).await.unwrap(), "some");
            let answering = sending(&last, pattern(BIG + 1));
            assert_eq!(receive_all(&first).await, pattern(BIG + 1));
            answering.await.unwrap().unwrap();
            let (long, short) = (BIG as u64, BIG as u64 + 5);
            let expected = if client_first { (long, short) } else { (short, long) };
            assert_eq!(copying.await.unwrap().unwrap(), expected);
        });
    }
}

#[test]
fn both_directions_move_at_once() {
    each_mix_of_each_kind(async |(client, a, b, server)| {
        let copying = spawn(async move { copy_both(&a, &b, Some(LIMIT)).await });
        let (one, other) = (sending(&client, pattern(BIG)), sending(&server, pattern(2 * BIG)));
        let (back, there) = join(receive_all(&client), receive_all(&server)).await;
        assert!(there == pattern(BIG) && back == pattern(2 * BIG));
        assert_eq!(copying.await.unwrap().unwrap(), (BIG as u64, 2 * BIG as u64));
        one.await.unwrap().unwrap();
        other.await.unwrap().unwrap();
    });
}

/// A server that does not read: the copy takes no more than it can hand on, and the client has to
/// wait. When the copy is over, what it has taken and not handed on is back where it came from.
#[test]
fn a_reader_that_stops_holds_up_the_sender_until_the_copy_is_idle() {
    each_mix_of_each_kind(async |(client, a, b, server)| {
        let sent = Rc::new(Cell::new(0));
        let sender = spawn({
            let (client, sent) = (client.clone(), Rc::clone(&sent));
            async move {
                loop {
                    let bytes: Vec<u8> = (0..1000).map(|n| at(sent.get() + n)).collect();
                    client.send_all(&bytes).await.unwrap();
                    sent.set(sent.get() + 1000);
                }
            }
        });
        let error = copy_both(&a, &b, Some(Duration::from_millis(100))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let Idle { moved: (there, back) } = *inner(&error).expect("it is idle");
        let there = there as usize;
        assert!(0 < there && back == 0, "{error}");
        assert!(there < sent.get() + 1000, "no more than was sent");
        sender.terminate();
        // In each buffer of the system; none of ours grows.
        assert!(sent.get() < 32 * BIG, "{} bytes are under way", sent.get());
        let first = server.recv_all_bytes(there).await.unwrap();
        assert!(first.iter().enumerate().all(|(n, byte)| *byte == at(n)));
        let second = a.recv_all_bytes(sent.get() - there).await.unwrap();
        assert!(second.iter().enumerate().all(|(n, byte)| *byte == at(there + n)));
        assert_eq!(server.try_recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

/// Returns a byte by its position.
fn at(position: usize) -> u8 {
    (position % 251) as u8
}

#[test]
fn a_copy_is_idle_when_nothing_moves_in_either_direction() {
    each(async |kind| {
        let ((client, a), (b, server)) = (pair(kind), pair(kind));
        client.send_all(b"there").await.unwrap();
        server.send_all(b"back").await.unwrap();
        for (idle, expected) in [(5, (5, 4)), (1, (0, 0))] {
            let idle = Some(Duration::from_millis(idle));
            let error = copy_both(&a, &b, idle).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(inner(&error), Some(&Idle { moved: expected }), "{error}");
        }
        assert_eq!(server.recv_bytes(9).await.unwrap(), "there");
        assert_eq!(client.recv_bytes(9).await.unwrap(), "back");
        // One direction has ended, the other is silent.
        client.shutdown(Shutdown::Write).await.unwrap();
        let error = copy_both(&a, &b, Some(Duration::from_millis(5))).await.unwrap_err();
        assert_eq!(inner(&error), Some(&Idle { moved: (0, 0) }), "{error}");
        assert_eq!(server.recv_bytes(9).await.unwrap(), "", "it was passed on");
    });
}

#[test]
fn motion_in_one_direction_keeps_the_copy_alive() {
    crate::pairs::each_at_once(async |kind| {
        for from_server in [false, true] {
            let ((client, a), (b, server)) = (pair(kind), pair(kind));
            let (near, far) = if from_server { (server, client) } else { (client, server) };
            let copying =
                spawn(async move { copy_both(&a, &b, Some(Duration::from_secs(1))).await });
            // Longer in all than the copy may be idle.
            for _ in 0..15 {
                sleep(Duration::from_millis(100)).await;
                near.send_all(b"x").await.unwrap();
                assert_eq!(far.recv_bytes(9).await.unwrap(), "x");
            }
            assert!(!copying.is_finished());
            let error = copying.await.unwrap().unwrap_err();
            let expected = if from_server { (0, 15) } else { (15, 0) };
            assert_eq!(inner(&error), Some(&Idle { moved: expected }), "{error}");
        }
    });
}

#[test]
fn no_time_is_none() {
    each(async |kind| {
        let ((client, a), (b, server)) = (pair(kind), pair(kind));
        for idle in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            let mut copying = pin!(copy_both(&a, &b, idle));
            assert!(timeout(Duration::from_millis(20), copying.as_mut()).await.is_err());
        }
        let copying = spawn(async move { copy_both(&a, &b, Some(Duration::ZERO)).await });
        client.shutdown(Shutdown::Write).await.unwrap();
        server.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(copying.await.unwrap().unwrap(), (0, 0));
    });
}

/// Copies that are dropped at any point, one after another, while the reader is slow: together they
/// move everything, in order and once.
#[test]
fn a_dropped_copy_loses_no_byte() {
    each_mix_of_each_kind(async |(client, a, b, server)| {
        let sender = sending(&client, pattern(BIG));
        let held = Rc::new(Cell::new(0));
        let seen = Rc::clone(&held);
        let reader = spawn(async move {
            // Not before a copy has come to a halt.
            while seen.get() == 0 {
                yield_now().await;
            }
            let (mut all, mut round) = (Vec::new(), 0);
            loop {
                if round % 4 == 0 {
                    sleep(Duration::from_micros(300)).await;
                }
                round += 1;
                let some = server.recv_bytes(20_000).await.unwrap();
                if some.is_empty() {
                    return all;
                }
                all.extend_from_slice(&some);
            }
        });
        let mut dropped = 0;
        loop {
            let is_over = {
                let mut copying = pin!(copy(&a, &b));
                let mut is_over = false;
                for _ in 0..=dropped % 5 {
                    if let Poll::Ready(copied) = polled(copying.as_mut()).await {
                        copied.unwrap();
                        is_over = true;
                        break;
                    }
                    yield_now().await;
                }
                is_over
            };
            if is_over {
                break;
            }
            dropped += 1;
            held.set(held.get() + usize::from(a.has_received()));
        }
        b.shutdown(Shutdown::Write).await.unwrap();
        let all = reader.await.unwrap();
        assert!(all == pattern(BIG), "{} bytes", all.len());
        assert!(dropped > 5, "{dropped} were dropped, {} with something in hand", held.get());
        sender.await.unwrap().unwrap();
    });
}

/// Polls once in this coroutine.
async fn polled<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Another coroutine is sending when bytes come: they stand in line, and a drop puts them back.
#[test]
fn bytes_that_stand_in_line_behind_another_sender_are_put_back_by_a_drop() {
    each(async |kind| {
        let ((client, a), (b, server)) = (pair(kind), narrow(kind));
        let other = b.clone();
        let sender = started(async move { other.send_all(&pattern(BIG)).await }).await;
        assert!(!sender.is_finished());
        client.send_all(b"in line").await.unwrap();
        {
            let mut copying = Box::pin(copy(&a, &b));
            assert!(timeout(Duration::from_millis(5), copying.as_mut()).await.is_err());
            assert!(!a.has_received(), "the copy has them");
        }
        assert!(a.has_received());
        assert_eq!(a.recv_bytes(3).await.unwrap(), "in ");
        client.shutdown(Shutdown::Write).await.unwrap();
        let copying = spawn(async move { copy(&a, &b).await });
        assert_eq!(server.recv_all_bytes(BIG).await.unwrap(), pattern(BIG));
        assert_eq!(server.recv_all_bytes(4).await.unwrap(), "line");
        assert_eq!(copying.await.unwrap().unwrap(), 4);
        sender.await.unwrap().unwrap();
    });
}

#[test]
fn bytes_that_are_put_back_wake_another_reader() {
    each(async |kind| {
        let ((client, a), (b, _server)) = (pair(kind), narrow(kind));
        let other = b.clone();
        let _sender = started(async move { other.send_all(&pattern(BIG)).await }).await;
        client.send_all(b"back").await.unwrap();
        let mut copying = Box::pin(copy(&a, &b));
        assert!(timeout(Duration::from_millis(5), copying.as_mut()).await.is_err());
        let reader = started({
            let a = a.clone();
            async move { a.recv_bytes(9).await }
        })
        .await;
        assert!(!reader.is_finished());
        drop(copying);
        assert_eq!(reader.await.unwrap().unwrap(), "back");
    });
}

#[test]
fn a_socket_can_be_copied_to_itself() {
    each(async |kind| {
        let (near, far) = narrow(kind);
        let echo = spawn(async move { copy(&far, &far).await.map(|count| (count, far)) });
        let sender = sending(&near, pattern(BIG));
        assert_eq!(near.recv_all_bytes(BIG).await.unwrap(), pattern(BIG));
        let (count, _far) = echo.await.unwrap().unwrap();
        assert_eq!(count, BIG as u64);
        sender.await.unwrap().unwrap();
    });
}

#[test]
fn a_failure_of_either_socket_ends_both_directions() {
    each(async |kind| {
        for of_server in [false, true] {
            let ((client, a), (b, server)) = (pair(kind), pair(kind));
            let copying = started({
                let (a, b) = (a.clone(), b.clone());
                async move { copy_both(&a, &b, None).await }
            })
            .await;
            let kept = if of_server {
                reset(kind, &b, server);
                client
            } else {
                reset(kind, &a, client);
                server
            };
            if kind.is_plain() {
                let error = copying.await.unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
            } else {
                copying.await.unwrap().unwrap_err();
            }
            drop((a, b));
            assert_eq!(kept.recv_bytes(9).await.unwrap_or_default(), "");
        }
    });
}

#[test]
fn what_a_failed_socket_has_not_taken_stays_with_the_other() {
    each(async |kind| {
        let ((client, a), (b, _server)) = (pair(kind), pair(kind));
        b.shutdown(Shutdown::Write).await.unwrap();
        client.send_all(b"kept").await.unwrap();
        let error = copy(&a, &b).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        assert_eq!(a.recv_bytes(9).await.unwrap(), "kept");
    });
}

#[test]
fn a_close_and_a_timeout_of_a_socket_end_the_copy() {
    each(async |kind| {
        for of_second in [false, true] {
            let ((_client, a), (b, _server)) = (pair(kind), pair(kind));
            let copying = started({
                let (a, b) = (a.clone(), b.clone());
                async move { copy_both(&a, &b, None).await }
            })
            .await;
            let closed = if of_second { &b } else { &a };
            closed.close().await.unwrap();
            assert_closed(copying.await.unwrap());
            assert_closed(copy_both(&a, &b, None).await);
            assert_closed(copy(&b, &a).await);
        }
        let ((_client, a), (b, _server)) = (pair(kind), pair(kind));
        a.set_timeout(Some(Duration::from_millis(5)));
        for error in [copy(&a, &b).await.unwrap_err(), copy_both(&b, &a, None).await.unwrap_err()] {
            assert_eq!(inner(&error), Some(&TimedOut { done: 0, rest_queued: false }), "{error}");
        }
    });
}

#[test]
fn sockets_that_are_no_streams_are_refused() {
    run(async || {
        for (near, far) in datagram_pairs("copied").await {
            let (stream, _peer) = pair(Kind::Tcp4);
            far.send(b"x").await.unwrap();
            for error in [
                copy(&near, &stream).await.unwrap_err(),
                copy(&stream, &near).await.unwrap_err(),
                copy_both(&near, &stream, None).await.map(|_| ()).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(inner::<WrongKind>(&error).unwrap().verb.starts_with("copy"));
            }
            assert_eq!(near.recv_bytes(9).await.unwrap(), "x", "nothing was taken");
        }
    });
}

#[test]
fn outside_a_scheduler_both_panic_and_name_themselves() {
    let ((client, a), (b, _server)) = (pair(Kind::Unix), pair(Kind::Unix));
    client.try_send(b"x").unwrap();
    for (verb, text) in [
        ("copy ", crate::within::panic_of(|| poll_once(pin!(copy(&a, &b))).is_ready())),
        (
            "copy_both ",
            crate::within::panic_of(|| poll_once(pin!(copy_both(&a, &b, None))).is_ready()),
        ),
    ] {
        assert!(text.contains(verb) && text.contains("asyncoro::run"), "{text}");
    }
    assert_eq!(a.try_recv(&mut [0; 9]).unwrap(), 1, "nothing was taken");
}

#[cfg(feature = "tls")]
#[test]
fn a_stream_that_ends_without_a_close_notify_is_not_passed_on_as_one_that_has_ended() {
    for kind in [Kind::Tls, Kind::Tls12] {
        run(async move || {
            let ((client, a), (b, server)) = (pair(kind), pair(Kind::Tcp4));
            client.send_all(b"cut").await.unwrap();
            rustix::net::shutdown(&client, rustix::net::Shutdown::Write).unwrap();
            let error = copy_both(&a, &b, None).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
            assert_eq!(server.recv_bytes(9).await.unwrap(), "cut");
            assert_eq!(server.try_recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        });
    }
}

/// A copy that always has something to move in both directions lets others run, and moves both.
#[test]
fn a_busy_copy_lets_others_run_and_serves_both_directions() {
    each(async |kind| {
        let ((client, a), (b, server)) = (pair(kind), pair(kind));
        let copying = spawn(async move { copy_both(&a, &b, None).await });
        let mut counts = Vec::new();
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.clone(), to.clone());
            let count = Rc::new(Cell::new(0));
            counts.push(Rc::clone(&count));
            drop(spawn(async move { while from.send_all(&[0; 1 << 16]).await.is_ok() {} }));
            drop(spawn(async move {
                while let Ok(more) = to.recv_with(<[u8]>::len).await {
                    count.set(count.get() + more);
                }
            }));
        }
        while counts.iter().any(|count| count.get() < 2 * BIG) {
            settle().await;
        }
        println!("{} bytes there and {} back", counts[0].get(), counts[1].get());
        if kind == Kind::Unix {
            // TCP makes a sender wait for its timers when the window gets tiny.
            let [there, back] = [counts[0].get(), counts[1].get()];
            assert!(there < 8 * back && back < 8 * there, "{there} bytes there and {back} back");
        }
        copying.terminate();
        assert!(copying.await.is_err());
    });
}
