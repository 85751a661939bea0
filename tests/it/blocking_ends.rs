//! How a `BlockingSocket` ends: closed by another thread, closed with something queued, dropped.

use std::{
    hint,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use asyncoro::{BlockingSocket, error::TimedOut};
use bytes::Bytes;

use crate::{
    blocking::{SHORT, assert_closed, datagram_pair, fill, inner, unix_pair},
    bounded::Watched,
    pairs::{KINDS, Kind, blocking, blocking_pair, narrow, pattern, settle},
    verbs::{each_face, full, named},
    within::{logged, within},
};

fn closed_while_waiting<T: std::fmt::Debug + Send + 'static>(
    socket: BlockingSocket,
    verb: impl Fn(&BlockingSocket) -> io::Result<T> + Send + Sync + 'static,
) {
    let verb = Arc::new(verb);
    // The first has the lock, the second waits for it.
    let waiting = [socket.clone(), socket.clone()].map(|socket| {
        let verb = Arc::clone(&verb);
        Watched::spawn(move || verb(&socket)).asleep()
    });
    socket.close().unwrap();
    waiting.into_iter().for_each(|waiting| assert_closed(waiting.join()));
    assert_closed(verb(&socket));
}

#[test]
fn close_in_another_thread_wakes_whoever_waits() {
    within(|| {
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            let (near, _far) = blocking_pair(kind);
            closed_while_waiting(near, |socket| socket.recv(&mut [0]));
            let (near, _far) = blocking_pair(kind);
            closed_while_waiting(near, BlockingSocket::recv_msg);
            if !kind.is_plain() {
                // Its close waits for a moment until the peer has taken all; see `closing`.
                continue;
            }
            let (near, _far) = blocking_pair(kind);
            closed_while_waiting(near, |socket| socket.send_all(&vec![0; 64 << 20]));
        }
        // What is full stays full.
        let (near, _far) = unix_pair();
        fill(&near);
        closed_while_waiting(near, |socket| socket.send_msg(b"no room"));
        let server = BlockingSocket::create_server("127.0.0.1:0").unwrap();
        closed_while_waiting(server, BlockingSocket::accept);
        let name = format!("@asyncoro-close-{}", std::process::id());
        let server = BlockingSocket::create_server(&*name).unwrap();
        closed_while_waiting(server, BlockingSocket::accept);
        let (near, far) = datagram_pair();
        closed_while_waiting(near, |socket| socket.recv_from(&mut [0]));
        far.connect(far.local_addr().unwrap()).unwrap();
        closed_while_waiting(far, |socket| socket.recv(&mut [0]));
        let datagram = BlockingSocket::create_datagram(format!("{name}-datagram")).unwrap();
        closed_while_waiting(datagram, |socket| socket.recv_from(&mut [0]));
    });
}

#[test]
fn close_races_with_the_begin_of_a_wait() {
    within(|| {
        for _ in 0..200 {
            let (near, _far) = unix_pair();
            let reader = near.clone();
            let waiting = thread::spawn(move || reader.recv(&mut [0]));
            near.close().unwrap();
            assert_closed(waiting.join().unwrap());
        }
    });
}

#[test]
fn a_descriptor_is_not_used_again_before_the_last_handle_is_gone() {
    within(|| {
        let (near, _far) = unix_pair();
        let other = near.clone();
        let number = near.as_fd().as_raw_fd();
        near.close().unwrap();
        drop(near);
        let (next, _peer) = UnixStream::pair().unwrap();
        assert_ne!(next.as_raw_fd(), number);
        assert_eq!(other.as_fd().as_raw_fd(), number);
    });
}

#[test]
fn a_dropped_socket_sends_its_rest_if_there_is_room_and_else_says_what_is_lost() {
    const SIZE: usize = 300 << 10;
    for kind in KINDS.iter().copied() {
        within(move || {
            println!("{kind:?}");
            let unsent = || {
                let (near, far) = narrow(kind);
                let (near, far) = (blocking(near), blocking(far));
                near.set_timeout(Some(SHORT));
                let error = near.send_msg(&pattern(SIZE)).unwrap_err();
                assert!(inner::<TimedOut>(&error).rest_queued);
                (near, far)
            };
            let (near, far) = unsent();
            far.recv_all_bytes(32 << 10).unwrap();
            near.options().set_send_buffer_size(1 << 20).unwrap();
            assert_eq!(logged(|| drop(near)), "");
            let rest = SIZE + 4 - (32 << 10);
            assert_eq!(far.recv_all_bytes(rest).unwrap(), pattern(SIZE)[SIZE - rest..]);
            assert_eq!(far.recv_bytes(1).unwrap(), "");

            let (near, far) = unsent();
            let log = logged(|| drop(near));
            if kind.is_plain() {
                assert!(log.contains("could not be sent at once, and they are lost"), "{log}");
            } else {
                // A thread goes on with it.
                assert_eq!(log, "");
                assert_eq!(far.recv_msg().unwrap().unwrap(), pattern(SIZE));
                assert_eq!(far.recv_msg().unwrap(), None);
            }
        });
    }
}

#[test]
fn a_close_that_flushes_wakes_the_readers_first() {
    each_face(async |kind, face| {
        let (end, far) = full(kind, face).await;
        let reading = end.begin(named("recv"), &[]).await;
        let closer = end.clone();
        let closing = asyncoro::spawn(async move { closer.close().await });
        assert_closed(reading.result().await);
        settle().await;
        assert!(!closing.is_finished());
        drop(far);
        closing.await.unwrap().unwrap_err();
    });
}

/// If a close ends another thread's send, what was queued before it and was not sent is lost, and
/// the close reports that.
#[test]
fn a_close_tells_what_was_queued_before_a_thread_that_waits_to_send() {
    for &kind in KINDS {
        for is_message in [false, true] {
            within(move || {
                let (near, far) = blocking_pair(kind);
                let mut said = fill(&near);
                if is_message {
                    let message = Bytes::from_static(&[0; 996]);
                    while near.try_send_msg(&message).is_ok() {
                        said += 1000;
                    }
                }
                let sender = near.clone();
                let (over, is_over) = mpsc::channel();
                let sending = Watched::spawn(move || {
                    let sent = sender.send_all(&vec![0; 16 << 20]);
                    over.send(()).unwrap();
                    sent
                })
                .asleep();
                let reading = thread::spawn(move || {
                    is_over.recv().unwrap();
                    let mut came = 0;
                    while let Ok(count @ 1..) = far.recv(&mut [0; 4096]) {
                        came += count;
                    }
                    came
                });
                let closed = near.close();
                assert_closed(sending.join());
                let came = reading.join().unwrap();
                match closed {
                    Ok(()) => assert!(came >= said, "{kind:?}: {came} of {said} bytes came"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{kind:?}: {error}");
                        assert!(came < said, "{kind:?}: {came} of {said} bytes came");
                    }
                }
                // TCP moves bytes on by itself, so that there may have been room again.
                assert!(came < said || kind != Kind::Unix || !is_message, "nothing was queued");
            });
        }
    }
}

/// The same if the waiting thread has sealed what was queued before into its own records.
#[test]
fn a_close_tells_what_was_queued_though_another_thread_has_begun_to_send_it() {
    for &kind in KINDS {
        for (taken, queued) in
            (1..=8).flat_map(|count| [1, 20, 100].map(|queued| (count << 13, queued)))
        {
            within(move || {
                let (near, far) = narrow(kind);
                let (near, far) = (blocking(near), blocking(far));
                let mut said = fill(&near);
                let taken = taken.min(said / 2);
                let message = Bytes::from_static(&[0; 996]);
                let queues = |_: &usize| near.try_send_msg(&message).is_ok();
                said += 1000 * (0..queued).take_while(queues).count();
                far.recv_all(&mut vec![0; taken]).unwrap();
                let sender = near.clone();
                let sending = Watched::spawn(move || sender.send_all(&vec![0; 16 << 20])).asleep();
                let closing = thread::spawn(move || near.close());
                assert_closed(sending.join());
                let mut came = taken;
                while let Ok(count @ 1..) = far.recv(&mut [0; 4096]) {
                    came += count;
                }
                let (closed, case) =
                    (closing.join().unwrap(), format!("{kind:?} {queued} {taken}"));
                match closed {
                    Ok(()) => assert!(came >= said, "{case}: {came} of {said} bytes came"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{case}: {error}");
                        assert!(came < said, "{case}: {came} of {said} bytes came");
                    }
                }
            });
        }
    }
}

/// The same if the close comes while a thread is queueing.
#[test]
fn a_close_tells_what_was_queued_though_it_meets_a_thread_in_the_middle_of_queueing() {
    for kind in KINDS.repeat(10) {
        within(move || {
            let (near, far) = blocking_pair(kind);
            let mut said = fill(&near);
            let (sender, begun) = (near.clone(), Arc::new(AtomicUsize::new(0)));
            let sending = thread::spawn({
                let begun = Arc::clone(&begun);
                move || {
                    let message = Bytes::from_static(&[0; 996]);
                    let mut said = 0;
                    loop {
                        begun.fetch_add(1, Ordering::Relaxed);
                        match sender.try_send_msg(&message) {
                            Ok(()) => said += 1000,
                            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                            Err(error) => {
                                assert_closed::<()>(Err(error));
                                return said;
                            }
                        }
                    }
                }
            });
            while begun.load(Ordering::Relaxed) < 200 {
                thread::yield_now();
            }
            let reading = thread::spawn({
                let sender = sending;
                move || {
                    let said: usize = sender.join().unwrap();
                    let mut came = 0;
                    while let Ok(count @ 1..) = far.recv(&mut [0; 4096]) {
                        came += count;
                    }
                    (said, came)
                }
            });
            let closed = near.close();
            let (more, came) = reading.join().unwrap();
            said += more;
            match closed {
                Ok(()) => assert!(came >= said, "{kind:?}: {came} of {said} bytes came"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{kind:?}: {error}"),
            }
        });
    }
}

/// The same if the close comes when the time of a thread's verb is up, whose bytes are queued then.
#[test]
fn a_close_tells_what_a_verb_has_left_whose_time_is_up_just_then() {
    const SIZE: usize = 16_000;
    for kind in KINDS.repeat(8) {
        within(move || {
            let (near, far) = narrow(kind);
            let (near, far) = (blocking(near), blocking(far));
            near.set_timeout(Some(SHORT));
            let (sender, begun, begins) = (near.clone(), Arc::default(), Instant::now());
            let sending = thread::spawn({
                let begun = Arc::<AtomicUsize>::clone(&begun);
                move || {
                    let mut said = 0;
                    loop {
                        begun.store(begins.elapsed().as_micros() as usize, Ordering::Release);
                        match sender.send_queued(&[0; SIZE]) {
                            Ok(()) => said += SIZE,
                            Err(error) => return (said, error),
                        }
                    }
                }
            });
            let time_is_up = || {
                let last = Duration::from_micros(begun.load(Ordering::Acquire) as u64);
                begins.elapsed() >= last + SHORT
            };
            while !time_is_up() {
                hint::spin_loop();
            }
            let closing = thread::spawn(move || near.close());
            let (mut said, error) = sending.join().unwrap();
            if !asyncoro::error::is_closed(&error) && inner::<TimedOut>(&error).rest_queued {
                said += SIZE;
            }
            let mut came = 0;
            while let Ok(count @ 1..) = far.recv(&mut [0; 4096]) {
                came += count;
            }
            match closing.join().unwrap() {
                Ok(()) => assert!(came >= said, "{kind:?}: {came} of {said} bytes came: {error}"),
                Err(told) => assert!(came < said, "{kind:?}: {came} of {said}: {told}, {error}"),
            }
        });
    }
}
