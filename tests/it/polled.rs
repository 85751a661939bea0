//! Poll methods: one waker for each direction, nothing kept between two calls, in turns with verbs.

use std::{
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    mem::MaybeUninit,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket,
    coro::{Batching, Scheduler, yield_now},
    error, spawn,
    time::timeout,
};

use crate::pairs::{KINDS, Kind, LIMIT, bounded, each, narrow, pair, run};

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until the waker was woken.
    async fn woken(&self) {
        while self.get() == 0 {
            yield_now().await;
        }
    }
}

/// Polls for at most 64 bytes, once.
fn poll(socket: &AsyncSocket, waker: &Waker) -> Poll<io::Result<Vec<u8>>> {
    let mut buffer = [0; 64];
    let polled = socket.poll_recv(&mut Context::from_waker(waker), &mut buffer);
    polled.map_ok(|count| buffer[..count].to_vec())
}

/// Awaits at most 64 bytes by polling.
async fn polled(socket: &AsyncSocket) -> Vec<u8> {
    poll_fn(|cx| poll(socket, cx.waker())).await.unwrap()
}

/// Sends all by polling.
async fn send(socket: &AsyncSocket, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = poll_fn(|cx| socket.poll_send(cx, bytes)).await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

#[test]
fn a_poll_method_that_is_not_called_again_has_lost_nothing() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        let (count, waker) = Count::new();
        assert!(poll(&near, &waker).is_pending());
        far.send_all(b"for a verb").await.unwrap();
        count.woken().await;
        assert_eq!(near.recv_all_bytes(10).await.unwrap(), "for a verb");
        assert!(poll(&near, &waker).is_pending());
        far.send_all(b"polled").await.unwrap();
        assert_eq!(polled(&near).await, b"polled");
    });
}

#[test]
fn each_receiving_poll_method_gets_what_its_verb_would() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        for _ in 0..2 {
            far.send_all(b"0123456789").await.unwrap();
            // Held, so that each finds its part.
            assert_eq!(near.recv_until(b"0", 10).await.unwrap(), "0");
            let mut buffer = [0; 2];
            assert_eq!(poll_fn(|cx| near.poll_recv(cx, &mut buffer)).await.unwrap(), 2);
            assert_eq!(&buffer, b"12");
            let mut room = [MaybeUninit::uninit(); 2];
            assert_eq!(poll_fn(|cx| near.poll_recv_uninit(cx, &mut room)).await.unwrap(), 2);
            let (mut one, mut two) = ([0; 1], [0; 2]);
            let got = poll_fn(|cx| {
                let buffers = &mut [&mut one[..], &mut two[..]].map(io::IoSliceMut::new);
                near.poll_recv_vectored(cx, buffers)
            });
            assert_eq!(got.await.unwrap(), 3);
            assert_eq!((&one, &two), (b"5", b"67"));
            let rest = poll_fn(|cx| near.poll_recv_bytes(cx, 100)).await.unwrap();
            assert_eq!(rest, "89");
        }
        drop(far);
        assert_eq!(polled(&near).await, b"");
    });
}

#[test]
fn the_last_waker_of_a_direction_wins() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        let ((first, first_waker), (last, last_waker)) = (Count::new(), Count::new());
        assert!(poll(&near, &first_waker).is_pending());
        assert!(poll(&near, &last_waker).is_pending());
        far.send_all(b"x").await.unwrap();
        last.woken().await;
        assert_eq!((first.get(), last.get()), (0, 1));
        assert_eq!(polled(&near).await, b"x");
    });
}

#[test]
fn a_poll_method_waits_for_the_verb_that_waits_in_its_direction() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        let (count, waker) = Count::new();
        let verb = spawn({
            let near = near.clone();
            async move { near.recv_all_bytes(2).await.unwrap() }
        });
        yield_now().await;
        assert!(poll(&near, &waker).is_pending());
        far.send_all(b"a").await.unwrap();
        far.send_all(b"b").await.unwrap();
        assert_eq!(verb.await.unwrap(), "ab");
        count.woken().await;
        assert!(poll(&near, &waker).is_pending());
        far.send_all(b"c").await.unwrap();
        assert_eq!(polled(&near).await, b"c");
    });
}

#[test]
fn a_verb_that_comes_later_wakes_the_poll_method_when_it_is_done_or_dropped() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        for dropped in [false, true] {
            let (count, waker) = Count::new();
            assert!(poll(&near, &waker).is_pending());
            {
                let mut buffer = [0; 1];
                let mut verb = pin!(near.recv(&mut buffer));
                let begun = poll_fn(|cx| Poll::Ready(verb.as_mut().poll(cx))).await;
                assert!(begun.is_pending());
                if !dropped {
                    far.send_all(b"v").await.unwrap();
                    assert_eq!(verb.await.unwrap(), 1);
                }
            }
            count.woken().await;
            assert!(poll(&near, &waker).is_pending());
            far.send_all(b"p").await.unwrap();
            assert_eq!(polled(&near).await, b"p");
        }
    });
}

#[test]
fn halves_are_polled_by_two_coroutines() {
    const TOTAL: usize = 3 << 20;
    each(|kind| async move {
        let (near, far) = narrow(kind);
        let bytes: Arc<[u8]> = (0..TOTAL).map(|at| (at % 251) as u8).collect();
        let echo = spawn(async move {
            let mut buffer = [0; 10_000];
            loop {
                match poll_fn(|cx| far.poll_recv(cx, &mut buffer)).await? {
                    0 => break poll_fn(|cx| far.poll_shutdown(cx)).await,
                    count => send(&far, &buffer[..count]).await?,
                }
            }
        });
        let writer = spawn({
            let (near, bytes) = (near.clone(), Arc::clone(&bytes));
            async move {
                send(&near, &bytes).await?;
                poll_fn(|cx| near.poll_shutdown(cx)).await
            }
        });
        let mut all = Vec::new();
        loop {
            let piece = poll_fn(|cx| near.poll_recv_bytes(cx, 20_000)).await.unwrap();
            if piece.is_empty() {
                break;
            }
            all.extend_from_slice(&piece);
        }
        assert!(all == *bytes, "{} of {TOTAL} bytes", all.len());
        writer.await.unwrap().unwrap();
        echo.await.unwrap().unwrap();
    });
}

#[test]
fn sending_by_polling_stops_where_the_peer_does_not_read_and_goes_on() {
    each(|kind| async move {
        let (near, far) = narrow(kind);
        let (count, waker) = Count::new();
        let mut cx = Context::from_waker(&waker);
        let piece = [7; 50_000];
        let mut sent = 0;
        loop {
            match near.poll_send(&mut cx, &piece) {
                Poll::Ready(more) => sent += more.unwrap(),
                // It steps back now and then, and wakes.
                Poll::Pending if count.0.swap(0, Ordering::Relaxed) > 0 => yield_now().await,
                Poll::Pending => break,
            }
        }
        assert!(sent > 0);
        assert!(near.poll_flush(&mut cx).is_pending() || near.poll_flush(&mut cx).is_ready());
        let mut got = 0;
        while got < sent {
            got += far.recv_bytes(1 << 20).await.unwrap().len();
        }
        assert_eq!(got, sent);
        poll_fn(|cx| near.poll_flush(cx)).await.unwrap();
        send(&near, b"more").await.unwrap();
        assert_eq!(far.recv_all_bytes(4).await.unwrap(), "more");
    });
}

#[test]
fn many_parts_are_sent_in_order() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        let texts: Vec<String> = (0..40).map(|at| "part".repeat(at % 3)).collect();
        let all = texts.concat();
        let mut parts: Vec<IoSlice> = texts.iter().map(|t| IoSlice::new(t.as_bytes())).collect();
        let mut left = &mut parts[..];
        while !left.is_empty() {
            let sent = poll_fn(|cx| near.poll_send_vectored(cx, left)).await.unwrap();
            IoSlice::advance_slices(&mut left, sent);
        }
        assert_eq!(far.recv_all_bytes(all.len()).await.unwrap(), all);
        assert_eq!(poll_fn(|cx| near.poll_send_vectored(cx, &[])).await.unwrap(), 0);
    });
}

#[test]
fn a_datagram_is_sent_of_all_its_parts_and_received() {
    run(|| async {
        let (near, far) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let (near, far) = (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap());
        let parts = [IoSlice::new(b"x"); 40];
        assert_eq!(poll_fn(|cx| near.poll_send_vectored(cx, &parts)).await.unwrap(), 40);
        assert_eq!(polled(&far).await, [b'x'; 40]);
    });
}

#[test]
fn the_end_of_sending_comes_behind_all_that_was_queued_and_receiving_goes_on() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        near.send_msg(b"queued").await.unwrap();
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "queued");
        assert_eq!(far.recv_msg().await.unwrap(), None);
        far.send_all(b"still").await.unwrap();
        assert_eq!(polled(&near).await, b"still");
        let error = poll_fn(|cx| near.poll_send(cx, b"late")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
    });
}

#[test]
fn the_end_of_sending_is_no_error_once_the_peer_has_ended_the_connection() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
        far.close().await.unwrap();
        assert_eq!(polled(&near).await, b"");
        // On TCP the system says ENOTCONN from now on.
        poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
    });
}

#[test]
fn a_close_wakes_poll_methods_and_they_fail() {
    each(|kind| async move {
        let (near, _far) = pair(kind);
        let (count, waker) = Count::new();
        assert!(poll(&near, &waker).is_pending());
        near.close().await.unwrap();
        assert!(count.get() > 0);
        let Poll::Ready(Err(error)) = poll(&near, &waker) else { panic!("it must fail") };
        assert!(error.get_ref().is_some_and(|inner| inner.is::<error::Closed>()), "{error}");
    });
}

#[test]
fn a_poll_method_outside_a_scheduler_panics_and_names_itself() {
    let (near, _far) = pair(KINDS[0]);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = poll(&near, Waker::noop());
    }));
    let payload = panic.unwrap_err();
    let text = payload.downcast_ref::<String>().unwrap();
    assert!(text.starts_with("poll_recv needs a running scheduler"), "{text}");
}

#[test]
fn polling_gives_way_to_others_and_never_spins_for_ever() {
    const COUNT: usize = 10_000;
    run(|| async {
        let (near, far) = pair(KINDS[0]);
        far.send_all(&[1; 2 * COUNT]).await.unwrap();
        let others = spawn(async {
            let mut turns = 0;
            loop {
                turns += 1;
                yield_now().await;
                if turns > 10 {
                    break;
                }
            }
        });
        // Without a way back to the scheduler, as an executor within a coroutine may poll.
        let mut byte = [0];
        let mut got = 0;
        while got < COUNT {
            match near.poll_recv(&mut Context::from_waker(Waker::noop()), &mut byte) {
                Poll::Ready(count) => got += count.unwrap(),
                Poll::Pending => {}
            }
        }
        assert!(!others.is_finished());
        for _ in 0..COUNT {
            let count = poll_fn(|cx| near.poll_recv(cx, &mut byte)).await.unwrap();
            assert_eq!(count, 1);
        }
        assert!(others.is_finished(), "the others had their turn meanwhile");
    });
}

#[test]
fn a_timeout_of_the_socket_is_for_verbs_alone() {
    run(|| async {
        let (near, far) = pair(KINDS[0]);
        near.set_timeout(Some(Duration::from_millis(1)));
        let polling = spawn({
            let near = near.clone();
            async move { polled(&near).await }
        });
        yield_now().await;
        let verb = timeout(LIMIT, far.recv_bytes(1));
        assert!(timeout(Duration::from_millis(20), verb).await.is_err());
        far.send_all(b"x").await.unwrap();
        assert_eq!(polling.await.unwrap(), b"x");
    });
}

#[test]
fn a_socket_that_is_used_on_another_scheduler_wakes_who_polled_it_on_the_first() {
    bounded(|| {
        let (first, second) = (Scheduler::new().unwrap(), Scheduler::new().unwrap());
        let (near, far) = pair(KINDS[0]);
        let (count, waker) = Count::new();
        first.enter(async { assert!(poll(&near, &waker).is_pending()) });
        second.enter(async {
            assert!(poll(&near, Waker::noop()).is_pending());
            assert_eq!(count.get(), 1, "it would hear of nothing any more");
            far.send_all(b"x").await.unwrap();
            assert_eq!(polled(&near).await, b"x");
        });
    });
}

#[test]
fn bytes_received_ahead_of_a_poll_method_that_is_not_called_again_stay_with_the_socket() {
    for kind in KINDS.iter().copied() {
        bounded(move || {
            let builder = AsynCoro::builder().batching(Batching::Direct).batch_from(1);
            let scheduler = builder.build().unwrap();
            scheduler.run(async move {
                let (count, waker) = Count::new();
                let (near, far) = pair(kind);
                assert!(poll(&near, &waker).is_pending());
                far.send_all(b"ahead").await.unwrap();
                count.woken().await;
                assert_eq!(near.recv_all_bytes(5).await.unwrap(), "ahead");
                // What is not for a verb stays in the kernel.
                assert!(poll(&near, &waker).is_pending());
                let readable = spawn({
                    let near = near.clone();
                    async move { near.readable().await }
                });
                yield_now().await;
                far.send_all(b"kernel").await.unwrap();
                readable.await.unwrap().unwrap();
                assert!(kind.is_plain() != near.has_received(), "{kind:?}");
                assert_eq!(near.recv_all_bytes(6).await.unwrap(), "kernel");
                assert!(poll(&near, &waker).is_pending());
                count.0.store(0, Ordering::Relaxed);
                far.send_all(b"parts").await.unwrap();
                count.woken().await;
                let (_socket, received) = near.into_parts().await.unwrap();
                // Descriptors may come over a Unix socket.
                let ahead = if matches!(kind, Kind::Unix) { "" } else { "parts" };
                assert_eq!(received, ahead, "{kind:?}");
            });
        });
    }
}

#[test]
fn a_stream_that_is_cut_is_no_end_to_a_poll_method() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        far.send_all(b"part").await.unwrap();
        // Without a close_notify.
        rustix::net::shutdown(&far, rustix::net::Shutdown::Write).unwrap();
        assert_eq!(polled(&near).await, b"part");
        let mut room = [MaybeUninit::uninit(); 2];
        let mut buffer = [0; 2];
        let ends = [
            poll_fn(|cx| poll(&near, cx.waker())).await.map(|got| got.len()),
            poll_fn(|cx| near.poll_recv_uninit(cx, &mut room)).await,
            poll_fn(|cx| near.poll_recv_bytes(cx, 9)).await.map(|got| got.len()),
            poll_fn(|cx| near.poll_recv_vectored(cx, &mut [io::IoSliceMut::new(&mut buffer)]))
                .await,
        ];
        for end in ends {
            match end {
                Ok(count) => assert!(kind.is_plain() && count == 0, "{kind:?}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                    assert!(!kind.is_plain(), "{kind:?}");
                }
            }
        }
        // An empty buffer asks nothing.
        assert_eq!(poll_fn(|cx| near.poll_recv(cx, &mut [])).await.unwrap(), 0);
    });
}

#[test]
fn more_buffers_than_the_system_takes_are_received_into_in_part() {
    each(|kind| async move {
        let (near, far) = pair(kind);
        far.send_all(&[7; 5000]).await.unwrap();
        let mut bytes = [0; 4000];
        let mut got = 0;
        while got < 5000 {
            let mut buffers: Vec<_> = bytes.chunks_mut(2).map(io::IoSliceMut::new).collect();
            buffers.insert(0, io::IoSliceMut::new(&mut []));
            let count = poll_fn(|cx| near.poll_recv_vectored(cx, &mut buffers)).await.unwrap();
            assert!(count > 0);
            drop(buffers);
            assert!(bytes[..count].iter().all(|&byte| byte == 7));
            bytes = [0; 4000];
            got += count;
        }
        assert_eq!(got, 5000);
    });
}

#[test]
fn the_end_of_a_scheduler_wakes_who_waits_for_it_in_another_executor() {
    bounded(|| {
        let scheduler = Scheduler::new().unwrap();
        let [(polls, poller), (verbs, verb), (sleeps, sleeper)] = [(); 3].map(|()| Count::new());
        let (near, _far) = pair(KINDS[0]);
        let (other, _its_peer) = pair(KINDS[0]);
        let mut buffer = [0];
        let mut waiting = pin!(other.recv(&mut buffer));
        let mut sleeping = pin!(asyncoro::time::sleep(Duration::from_secs(1000)));
        scheduler.enter(async {
            assert!(poll(&near, &poller).is_pending());
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&verb)).is_pending());
            assert!(sleeping.as_mut().poll(&mut Context::from_waker(&sleeper)).is_pending());
        });
        assert_eq!([&polls, &verbs, &sleeps].map(|count| count.get()), [0; 3]);
        drop(scheduler);
        assert_eq!([&polls, &verbs, &sleeps].map(|count| count.get()), [1; 3]);
    });
}
