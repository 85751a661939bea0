//! Calls that are made together, ahead of their verbs: no byte is lost, doubled or out of order,
//! whatever becomes of the verb, and nobody sees the difference.
//!
//! Unsafe: fork(2) and prctl(2), in processes of their own; a scheduler that another thread uses
//! while its own waits.
#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io::{self, IoSliceMut, Read, Write},
    mem,
    os::fd::{AsFd, AsRawFd},
    pin::pin,
    rc::Rc,
    task::Poll,
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket, Coro,
    coro::{Batching, Scheduler, Statistics, yield_now},
    spawn,
    time::timeout,
};

use tracing_subscriber::filter::LevelFilter;

use crate::{
    fork::{alone, well_in_child},
    pairs::{
        KINDS, Kind, LIMIT, assert_closed, bounded, half, narrow, pair, pattern, poll_once, reset,
        settle, started, statistics, take_now,
    },
    within::logged_from,
};

/// Connections of a test: more than a batch needs, and than a ring is worth.
const MANY: usize = 12;

/// Runs a coroutine once for each of these kinds and each way of making the calls; batches begin
/// with two sockets.
fn each_way<F: Future>(kinds: &'static [Kind], test: impl Fn(Kind) -> F + Send + 'static) {
    bounded(move || {
        for kind in kinds.iter().copied() {
            for how in [Batching::Direct, Batching::Ring] {
                println!("{kind:?}, {how:?}");
                let scheduler = AsynCoro::builder().batching(how).batch_from(2).build().unwrap();
                let run = scheduler.run_until(timeout(LIMIT, test(kind)));
                assert!(run.is_ok(), "{kind:?}, {how:?}: the test hangs");
            }
        }
    });
}

#[test]
fn nothing_is_received_for_a_poll_method_of_a_unix_socket_that_was_given_up() {
    each_way(&[Kind::Unix], |kind| async move {
        let (near, far) = pairs(kind);
        let (first, others) = near.split_first().unwrap();
        let given_up = poll_fn(|cx| first.poll_recv(cx, &mut [0; 64]));
        assert!(poll_once(pin!(given_up)).is_pending());
        let mut waiting = Vec::new();
        for near in others {
            let near = near.clone();
            waiting.push(started(async move { near.recv(&mut [0; 64]).await }).await);
        }
        let (_, sent) = io::pipe().unwrap();
        let before = statistics();
        for far in &far {
            far.send_fds(b"x", &[sent.as_fd()]).await.unwrap();
        }
        batch_after(before).await;
        for each in waiting {
            assert_eq!(each.await.unwrap().unwrap(), 1);
        }
        let (count, fds) = first.recv_fds(&mut [0; 9], 1).await.unwrap();
        assert_eq!((count, fds.len()), (1, 1));
    });
}

/// Without TLS, as in `each_plain`.
const PLAIN: &[Kind] = &[Kind::Tcp4, Kind::Tcp6, Kind::Unix];

/// Makes pairs of connections.
fn pairs(kind: Kind) -> (Vec<Rc<AsyncSocket>>, Vec<AsyncSocket>) {
    (0..MANY).map(|_| pair(kind)).map(|(near, far)| (Rc::new(near), far)).unzip()
}

/// Sends `bytes` on each connection, in their order.
async fn send_on_each(sockets: &[AsyncSocket], bytes: &[u8]) {
    for socket in sockets {
        socket.send_all(bytes).await.unwrap();
    }
}

/// Waits for a batch: calls were made ahead, and the verbs have not been resumed.
async fn batch_after(before: Statistics) {
    while statistics().batches == before.batches {
        yield_now().await;
    }
}

/// Waits for the end of a turn: what was queued has left, and the driver was asked.
async fn next_turn() {
    let before = statistics().turns;
    while statistics().turns == before {
        yield_now().await;
    }
}

#[test]
fn calls_are_made_together_if_enough_sockets_are_ready() {
    bounded(|| {
        let batches = |how, from, ready| {
            let scheduler = AsynCoro::builder().batching(how).batch_from(from).build().unwrap();
            scheduler.run_until(async move {
                let (near, far) = pairs(Kind::Tcp4);
                let readers: Vec<_> = near
                    .iter()
                    .map(|near| {
                        let near = Rc::clone(near);
                        spawn(async move { near.recv_bytes(9).await.unwrap() })
                    })
                    .collect();
                settle().await;
                send_on_each(&far[..ready], b"abc").await;
                for reader in readers.into_iter().take(ready) {
                    assert_eq!(reader.await.unwrap(), "abc");
                }
                statistics().batches
            })
        };
        assert_eq!(batches(Batching::Off, 1, MANY), 0);
        assert_eq!(batches(Batching::Direct, MANY + 1, MANY), 0);
        assert_eq!(batches(Batching::Direct, 4, 3), 0);
        for how in [Batching::Direct, Batching::Ring, Batching::Auto] {
            assert!(batches(how, 4, MANY) > 0, "{how:?}");
        }
    });
}

#[test]
fn what_came_ahead_of_a_verb_that_is_dropped_is_the_next_verbs() {
    each_way(KINDS, async |kind| {
        let (near, far) = pairs(kind);
        let mut readers = Vec::new();
        for near in &near {
            let near = Rc::clone(near);
            readers.push(started(async move { near.recv(&mut [0; 100]).await.unwrap() }).await);
        }
        let before = statistics();
        send_on_each(&far, b"kept").await;
        batch_after(before).await;
        // In the queue, behind this coroutine: none has run.
        let told = near.iter().filter(|near| near.has_received()).count();
        assert!(told >= 2, "{told} sockets have received");
        readers.iter().for_each(Coro::terminate);
        for reader in readers {
            assert!(reader.await.is_err(), "its own call was never made");
        }
        for (near, far) in near.iter().zip(&far) {
            far.send_all(b", and more").await.unwrap();
            let mut all = Vec::new();
            while all.len() < 14 {
                all.extend_from_slice(&near.recv_bytes(5).await.unwrap());
            }
            assert_eq!(all, b"kept, and more");
        }
    });
}

#[test]
fn what_comes_between_a_batch_and_its_verbs_is_read_as_well() {
    each_way(KINDS, async |kind| {
        let (near, far) = pairs(kind);
        let mut verbs: Vec<_> = near.iter().map(|near| Box::pin(near.recv_bytes(100))).collect();
        for verb in &mut verbs {
            assert!(poll_once(verb.as_mut()).is_pending());
        }
        let before = statistics();
        send_on_each(&far, b"abc").await;
        batch_after(before).await;
        // Reported, while nobody waits to be woken.
        send_on_each(&far, b"def").await;
        settle().await;
        for (verb, near) in verbs.into_iter().zip(&near) {
            let mut got = verb.await.unwrap().to_vec();
            while got.len() < 6 {
                got.extend_from_slice(&near.recv_bytes(100).await.unwrap());
            }
            assert_eq!(got, b"abcdef");
        }
    });
}

#[test]
fn more_readers_than_a_turn_resumes_read_all_that_comes_in_pieces() {
    each_way(PLAIN, async |kind| {
        const CONNECTIONS: usize = 200;
        const ROUNDS: usize = 20;
        let (near, far): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(|_| pair(kind)).unzip();
        for near in near {
            drop(spawn(async move {
                let mut buffer = [0; 100];
                loop {
                    match near.recv(&mut buffer).await.unwrap() {
                        0 => return,
                        count => near.send_all(&buffer[..count]).await.unwrap(),
                    }
                }
            }));
        }
        settle().await;
        for _ in 0..ROUNDS {
            send_on_each(&far, b"abcd").await;
            next_turn().await;
            send_on_each(&far, b"efgh").await;
            for far in &far {
                assert_eq!(far.recv_all_bytes(8).await.unwrap(), "abcdefgh");
            }
        }
        assert!(statistics().batches > 0);
    });
}

/// Receives in every way, with verbs that are dropped and polled again in between, until the end of
/// the stream. Each byte tells its place.
async fn receive_in_every_way(near: Rc<AsyncSocket>, seed: usize, len: usize) {
    let expected = pattern(len);
    let mut got: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 100_000];
    let mut turn = seed;
    while got.len() < len {
        turn += 1;
        let room = [1, 7, 64, 100, 4096, 4097, 20_000, 65_536][turn % 8];
        let left = len - got.len();
        let limit = if turn.is_multiple_of(5) { Duration::from_micros(50) } else { LIMIT };
        let before = got.len();
        match turn % 9 {
            0 => {
                if let Ok(count) = timeout(limit, near.recv(&mut buffer[..room])).await {
                    got.extend_from_slice(&buffer[..count.unwrap()]);
                }
            }
            1 => {
                if let Ok(bytes) = timeout(limit, near.recv_bytes(room)).await {
                    got.extend_from_slice(&bytes.unwrap());
                }
            }
            2 => {
                let bytes = timeout(limit, near.recv_all_bytes(room.min(left))).await;
                got.extend_from_slice(&bytes.map(Result::unwrap).unwrap_or_default());
            }
            3 => {
                let lent = near.recv_with_limit(room, |bytes| got.extend_from_slice(bytes));
                let _ = timeout(limit, lent).await;
            }
            4 => {
                let (one, two) = buffer.split_at_mut(room / 2);
                let mut slices = [IoSliceMut::new(one), IoSliceMut::new(&mut two[..room])];
                let read = timeout(limit, near.recv_vectored(&mut slices)).await;
                if let Ok(count) = read {
                    got.extend_from_slice(&buffer[..count.unwrap()]);
                }
            }
            5 => {
                let read = near.recv_uninit(|| Box::<[u8]>::new_uninit_slice(room));
                if let Ok(read) = timeout(limit, read).await {
                    let (memory, count) = read.unwrap();
                    // SAFETY: the verb has initialised so many.
                    got.extend(memory[..count].iter().map(|byte| unsafe { byte.assume_init() }));
                }
            }
            6 => {
                let count = room.min(left);
                near.recv_all(&mut buffer[..count]).await.unwrap();
                got.extend_from_slice(&buffer[..count]);
            }
            7 => {
                if let Ok(count) = timeout(limit, near.peek(&mut buffer[..room])).await {
                    let count = count.unwrap();
                    let next = &expected[got.len()..];
                    assert!(next.starts_with(&buffer[..count]), "peek at {}", got.len());
                }
            }
            _ => {
                let _ = timeout(limit, near.readable()).await;
                if let Ok(count) = near.try_recv(&mut buffer[..room]) {
                    got.extend_from_slice(&buffer[..count]);
                }
            }
        }
        assert!(got[before..] == expected[before..got.len()], "turn {turn}, at {before}");
    }
    assert_eq!(near.recv(&mut buffer).await.unwrap(), 0);
}

#[test]
fn every_verb_gets_every_byte_in_its_order() {
    each_way(KINDS, async |kind| {
        const LEN: usize = 150_000;
        let (near, far) = pairs(kind);
        let readers: Vec<_> = near
            .into_iter()
            .enumerate()
            .map(|(seed, near)| spawn(receive_in_every_way(near, seed, LEN)))
            .collect();
        let bytes = pattern(LEN);
        let (mut from, mut turn) = (0, 0);
        while from < LEN {
            turn += 1;
            let len = [1, 3, 60, 200, 2048, 4096, 5000, 30_000][turn * 7 % 8].min(LEN - from);
            send_on_each(&far, &bytes[from..from + len]).await;
            from += len;
            next_turn().await;
        }
        drop(far);
        for reader in readers {
            reader.await.unwrap();
        }
        assert!(statistics().batches > 0);
    });
}

#[test]
fn messages_come_whole_and_in_their_order() {
    each_way(KINDS, async |kind| {
        let (near, far) = pairs(kind);
        let readers: Vec<_> = near
            .into_iter()
            .map(|near| {
                spawn(async move {
                    for number in 0.. {
                        match timeout(Duration::from_micros(100), near.recv_msg()).await {
                            Ok(message) => match message.unwrap() {
                                Some(message) => assert_eq!(message, pattern(number % 3000)),
                                None => return number,
                            },
                            // The same one again.
                            Err(_) => {
                                let message = near.recv_msg().await.unwrap();
                                let Some(message) = message else { return number };
                                assert_eq!(message, pattern(number % 3000));
                            }
                        }
                    }
                    unreachable!()
                })
            })
            .collect();
        for number in 0..300 {
            for far in &far {
                far.send_msg(&pattern(number % 3000)).await.unwrap();
            }
            if number % 7 == 0 {
                next_turn().await;
            }
        }
        for far in far {
            far.close().await.unwrap();
        }
        for reader in readers {
            assert_eq!(reader.await.unwrap(), 300);
        }
        assert!(statistics().batches > 0);
    });
}

#[test]
fn readable_leaves_the_bytes_in_the_kernel() {
    each_way(PLAIN, async |kind| {
        let (near, far) = pairs(kind);
        let mut waiting = Vec::new();
        for near in &near {
            // A verb before it, which has waited as well.
            let near = Rc::clone(near);
            waiting.push(spawn(async move {
                assert_eq!(near.recv_bytes(100).await.unwrap(), "one");
                near.readable().await.unwrap();
                assert!(!near.has_received());
                let mut bytes = [0; 9];
                // SAFETY: the buffer has so many bytes.
                let got = unsafe {
                    libc::recv(
                        near.as_fd().as_raw_fd(),
                        bytes.as_mut_ptr().cast(),
                        9,
                        libc::MSG_DONTWAIT,
                    )
                };
                assert_eq!((got, &bytes[..3]), (3, &b"two"[..]));
            }));
        }
        settle().await;
        send_on_each(&far, b"one").await;
        settle().await;
        send_on_each(&far, b"two").await;
        for waiting in waiting {
            waiting.await.unwrap();
        }
    });
}

#[test]
fn ends_and_failures_reach_their_verbs() {
    each_way(PLAIN, async |kind| {
        let (near, far) = pairs(kind);
        let readers: Vec<_> = near
            .iter()
            .map(|near| {
                let near = Rc::clone(near);
                spawn(async move { [near.recv(&mut [0; 9]).await, near.recv(&mut [0; 9]).await] })
            })
            .collect();
        settle().await;
        for (number, far) in far.into_iter().enumerate() {
            match number % 3 {
                0 => far.close().await.unwrap(),
                1 => {
                    far.send_all(b"last").await.unwrap();
                    far.close().await.unwrap();
                }
                _ => reset(kind, &*near[number], far),
            }
        }
        for (number, reader) in readers.into_iter().enumerate() {
            let [first, second] = reader.await.unwrap();
            match number % 3 {
                0 => assert_eq!((first.unwrap(), second.unwrap()), (0, 0)),
                1 => assert_eq!((first.unwrap(), second.unwrap()), (4, 0)),
                _ => {
                    let kinds = [first, second].map(|result| result.map_err(|error| error.kind()));
                    let reset = Err(io::ErrorKind::ConnectionReset);
                    assert_eq!(kinds, [reset, reset]);
                }
            }
        }
    });
}

#[test]
fn a_socket_that_is_closed_or_moved_with_bytes_ahead_loses_nothing() {
    each_way(KINDS, async |kind| {
        let (near, far) = pairs(kind);
        let mut readers = Vec::new();
        for near in &near {
            let near = Rc::clone(near);
            readers.push(started(async move { near.recv_bytes(100).await }).await);
        }
        let before = statistics();
        send_on_each(&far, b"abc").await;
        batch_after(before).await;
        // All before one of them is resumed.
        let mut closing = Vec::new();
        for (number, (near, reader)) in near.iter().zip(&readers).enumerate() {
            if number % 2 == 1 {
                reader.terminate();
                continue;
            }
            let mut close = Box::pin(near.close());
            match poll_once(close.as_mut()) {
                Poll::Ready(closed) => closed.unwrap(),
                Poll::Pending => closing.push(close),
            }
        }
        for close in closing {
            close.await.unwrap();
        }
        for (number, (near, reader)) in near.into_iter().zip(readers).enumerate() {
            let ended = reader.await;
            if number % 2 == 0 {
                assert_closed(ended.unwrap());
                continue;
            }
            assert!(ended.is_err());
            let near = Rc::into_inner(near).unwrap();
            let near = near.into_blocking().await.unwrap();
            let moved = thread::spawn(move || {
                let mut bytes = [0; 3];
                near.recv_all(&mut bytes).unwrap();
                bytes
            });
            assert_eq!(&moved.join().unwrap(), b"abc");
        }
    });
}

#[test]
fn a_forgotten_verb_costs_one_socket_its_bytes_at_most_until_they_are_taken_out() {
    each_way(PLAIN, async |kind| {
        // More rounds than there are batches whose bytes can wait.
        for _ in 0..6 {
            let (near, far) = pairs(kind);
            for near in &near {
                let near = Rc::clone(near);
                let buffer = Box::leak(Box::new([0; 100]));
                // SAFETY: leaked with the socket that it borrows.
                let kept: &'static AsyncSocket = unsafe { &*Rc::into_raw(near) };
                let mut verb = Box::pin(kept.recv(buffer));
                assert!(poll_once(verb.as_mut()).is_pending());
                mem::forget(verb);
            }
            let readers: Vec<_> = (0..2)
                .map(|_| pair(kind))
                .map(|(near, far)| (spawn(async move { near.recv_bytes(9).await.unwrap() }), far))
                .collect();
            settle().await;
            let before = statistics();
            send_on_each(&far, b"kept").await;
            for (_, far) in &readers {
                far.send_all(b"abc").await.unwrap();
            }
            batch_after(before).await;
            for (reader, _far) in readers {
                assert_eq!(reader.await.unwrap(), "abc");
            }
            for near in near {
                // SAFETY: the handle that was leaked for the verb, which nobody polls.
                unsafe { Rc::decrement_strong_count(Rc::as_ptr(&near)) };
                let near = Rc::into_inner(near).unwrap();
                let (mut socket, received) = near.into_parts().await.unwrap();
                let mut all = Vec::from(received);
                if all.is_empty() {
                    all = vec![0; 4];
                    socket.set_nonblocking(true).unwrap();
                    socket.read_exact(&mut all).unwrap();
                }
                assert_eq!(all, b"kept");
            }
        }
    });
}

/// Runs `test` for each kind and each way of making the calls, with two schedulers.
fn each_way_in_two(test: impl Fn(Kind, Scheduler, Scheduler) + Send + 'static) {
    bounded(move || {
        for kind in KINDS.iter().copied() {
            for how in [Batching::Direct, Batching::Ring] {
                println!("{kind:?}, {how:?}");
                let make = || AsynCoro::builder().batching(how).batch_from(2).build().unwrap();
                test(kind, make(), make());
            }
        }
    });
}

/// Enters a scheduler, with a time limit.
fn enter<T>(scheduler: &Scheduler, future: impl Future<Output = T>) -> T {
    scheduler.enter(timeout(LIMIT, future)).expect("the test hangs")
}

#[test]
fn a_verb_that_goes_on_in_another_scheduler_takes_along_what_came_ahead() {
    each_way_in_two(|kind, first, second| {
        let (near, far) = pairs(kind);
        let mut verbs: Vec<_> = near.iter().map(|near| Box::pin(near.recv_bytes(100))).collect();
        enter(&first, async {
            for verb in &mut verbs {
                assert!(poll_once(verb.as_mut()).is_pending());
            }
            let before = statistics();
            send_on_each(&far, b"abc").await;
            batch_after(before).await;
        });
        let mut verbs: Vec<_> = near.iter().zip(&far).zip(verbs).collect();
        let staying = verbs.split_off(MANY / 2);
        enter(&second, async {
            for ((near, far), verb) in verbs {
                assert_eq!(verb.await.unwrap(), "abc");
                // Bound to this scheduler by the next wait.
                let mut next = pin!(near.recv_bytes(100));
                assert!(poll_once(next.as_mut()).is_pending());
                far.send_all(b"def").await.unwrap();
                assert_eq!(next.await.unwrap(), "def");
            }
        });
        // The others of the batch are not touched by that.
        enter(&first, async {
            for ((near, far), verb) in staying {
                assert_eq!(verb.await.unwrap(), "abc");
                far.send_all(b"def").await.unwrap();
                assert_eq!(near.recv_bytes(100).await.unwrap(), "def");
            }
        });
    });
}

#[test]
fn a_socket_that_is_bound_anew_keeps_what_came_ahead_of_a_verb_that_waits() {
    each_way_in_two(|kind, first, second| {
        let (near, far): (Vec<_>, Vec<_>) = (0..MANY).map(|_| narrow(kind)).unzip();
        let mut verbs: Vec<_> = near.iter().map(|near| Box::pin(near.recv_bytes(100))).collect();
        enter(&first, async {
            for verb in &mut verbs {
                assert!(poll_once(verb.as_mut()).is_pending());
            }
            let before = statistics();
            send_on_each(&far, b"abc").await;
            batch_after(before).await;
        });
        // The verbs' scheduler ends, and with it its memory.
        drop(first);
        enter(&second, async {
            for (number, (near, far)) in near.iter().zip(&far).enumerate() {
                if number % 2 == 0 {
                    // Another verb has to wait, and binds the socket.
                    while near.try_send(&[0; 1 << 14]).is_ok()
                        // TCP may have moved something on meanwhile.
                        || poll_once(pin!(near.writable())).is_ready()
                    {}
                    assert!(near.has_received());
                }
                far.send_all(b"def").await.unwrap();
            }
            for (near, verb) in near.iter().zip(verbs) {
                let mut got = verb.await.unwrap().to_vec();
                while got.len() < 6 {
                    got.extend_from_slice(&near.recv_bytes(100).await.unwrap());
                }
                assert_eq!(got, b"abcdef");
            }
        });
    });
}

#[test]
fn a_verb_that_is_kept_and_not_polled_holds_up_no_batch() {
    each_way(PLAIN, async |kind| {
        let (near, far) = pair(kind);
        let mut kept = pin!(near.recv_bytes(100));
        assert!(poll_once(kept.as_mut()).is_pending());
        let (others, peers) = pairs(kind);
        for round in 0..20 {
            let readers: Vec<_> = others
                .iter()
                .map(|other| {
                    let other = Rc::clone(other);
                    spawn(async move { other.recv_bytes(9).await.unwrap() })
                })
                .collect();
            settle().await;
            if round == 0 {
                far.send_all(b"kept").await.unwrap();
            }
            let before = statistics();
            send_on_each(&peers, b"abc").await;
            batch_after(before).await;
            for reader in readers {
                assert_eq!(reader.await.unwrap(), "abc");
            }
        }
        assert_eq!(kept.await.unwrap(), "kept");
    });
}

#[test]
fn a_fork_between_a_batch_and_its_verbs_doubles_nothing() {
    alone("batching::a_fork_between_a_batch_and_its_verbs_doubles_nothing", || {
        for how in [Batching::Direct, Batching::Ring] {
            let scheduler = AsynCoro::builder().batching(how).batch_from(2).build().unwrap();
            scheduler.run(async move {
                let (near, far): (Vec<_>, Vec<_>) = (0..MANY).map(|_| half(Kind::Tcp4)).unzip();
                let got = Rc::new(RefCell::new(Vec::new()));
                let mut readers = Vec::new();
                for near in near {
                    let got = Rc::clone(&got);
                    readers.push(
                        started(async move {
                            let bytes = near.recv_bytes(100).await.unwrap();
                            got.borrow_mut().push(bytes);
                            near.send_all(b"answer").await.unwrap();
                        })
                        .await,
                    );
                }
                let before = statistics();
                for mut far in &far {
                    far.write_all(b"abc").unwrap();
                }
                batch_after(before).await;
                assert!(well_in_child(|| {
                    // A scheduler of its own, with batches of its own.
                    let scheduler =
                        AsynCoro::builder().batching(how).batch_from(2).build().unwrap();
                    scheduler.run(async {
                        let (near, far) = pairs(Kind::Unix);
                        let readers: Vec<_> = near
                            .into_iter()
                            .map(|near| spawn(async move { near.recv_bytes(9).await.unwrap() }))
                            .collect();
                        settle().await;
                        send_on_each(&far, b"own").await;
                        for reader in readers {
                            assert_eq!(reader.await.unwrap(), "own");
                        }
                    });
                }));
                for reader in readers {
                    reader.await.unwrap();
                }
                assert_eq!(*got.borrow(), ["abc"; MANY]);
                for mut far in &far {
                    let mut bytes = [0; 7];
                    far.shutdown(std::net::Shutdown::Write).unwrap();
                    assert_eq!(far.read(&mut bytes).unwrap(), 6);
                    assert_eq!(&bytes[..6], b"answer");
                }
            });
        }
    });
}

/// A scheduler in the hands of another thread, as Python's in those of its watcher.
struct Lent<'a>(&'a Scheduler);

// SAFETY: its own thread waits meanwhile, in code of a coroutine, and holds no borrow.
unsafe impl Send for Lent<'_> {}

#[test]
fn another_thread_that_flushes_leaves_the_ring_alone() {
    bounded(|| {
        let builder = AsynCoro::builder().batching(Batching::Ring).batch_from(2);
        let scheduler = builder.build().unwrap();
        enter(&scheduler, async {
            let (near, far) = pairs(Kind::Tcp4);
            for round in 0..3 {
                // By the scheduler, through its ring.
                for near in &near {
                    near.send_queued(b"own").await.unwrap();
                }
                next_turn().await;
                for near in &near {
                    near.send_queued(b"other").await.unwrap();
                }
                let lent = Lent(&scheduler);
                let flush = move || {
                    let lent = lent;
                    assert!(lent.0.flush_queued());
                };
                let text = thread::scope(|scope| {
                    let other = scope.spawn(|| logged_from(LevelFilter::DEBUG, flush));
                    other.join().unwrap()
                });
                assert!(!text.contains("io_uring"), "round {round}: {text}");
                for far in &far {
                    assert_eq!(take_now(far, 8), b"ownother");
                }
            }
        });
    });
}

/// Makes the kernel answer these calls of this thread, and of those that it starts, with an error,
/// as a sandbox does.
pub(crate) fn forbid(calls: &[libc::c_long], error: i32) {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for call in calls {
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, *call as u32));
        let answer = libc::SECCOMP_RET_ERRNO | error as u32;
        program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, answer));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter is complete, and the kernel copies it. It holds for this thread and those
    // that it starts.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter), 0);
    }
}

/// Sends something on many connections, again and again, and checks what comes.
async fn echo_many(rounds: usize) {
    let (near, far) = pairs(Kind::Tcp4);
    for near in near {
        drop(spawn(async move {
            while let Some(message) = near.recv_msg().await.unwrap() {
                near.send_msg(&message).await.unwrap();
            }
        }));
    }
    for round in 0..rounds {
        for far in &far {
            far.send_msg(&pattern(round)).await.unwrap();
        }
        for far in &far {
            assert_eq!(far.recv_msg().await.unwrap().unwrap(), pattern(round));
        }
    }
}

#[test]
fn where_io_uring_is_forbidden_calls_are_made_directly() {
    alone("batching::where_io_uring_is_forbidden_calls_are_made_directly", || {
        let rounds = || {
            let ring = AsynCoro::builder().batching(Batching::Ring).batch_from(2).build().unwrap();
            ring.run_until(async {
                echo_many(50).await;
                let before = statistics().batches;
                assert!(before > 0);
                // The second time, the first of these calls is forbidden in the middle of its use.
                forbid(&[libc::SYS_io_uring_enter], libc::EPERM);
                echo_many(50).await;
                assert!(statistics().batches > before);
            });
        };
        let told = |text: &str| text.matches("io_uring is not used").count();
        let text = logged_from(LevelFilter::DEBUG, rounds);
        assert_eq!(told(&text), 1, "{text}");
        for error in [libc::EPERM, libc::ENOSYS] {
            forbid(&[libc::SYS_io_uring_setup], error);
            let text = logged_from(LevelFilter::DEBUG, rounds);
            assert_eq!(told(&text), 1, "{text}");
        }
    });
}
