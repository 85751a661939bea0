//! `send_fds` and `recv_fds`: descriptors arrive with their bytes, none is leaked and none is lost
//! without a word.
//!
//! Whether all duplicates of a descriptor are closed is told by the other end of a pipe.

use std::{
    fs::File,
    io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::pin,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket, BlockingSocket, Coro,
    coro::Batching,
    error::{DescriptorsLost, TimedOut, WrongKind},
    spawn,
    time::timeout,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{FdFlags, fcntl_getfd, retry_on_intr},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use socket2::{Domain, Socket, Type};

use crate::{
    fork::alone,
    pairs::{LIMIT, bounded, inner, pair, pattern, poll_once, run, settle, started, statistics},
    verbs::{End, FACES, Face, datagram_pairs, each_face, named},
};

/// The kinds of Unix sockets.
const SHAPES: [Type; 3] = [Type::STREAM, Type::DGRAM, Type::SEQPACKET];

const SHORT: Duration = Duration::from_millis(5);

/// Most descriptors of a call.
const MOST: usize = 253;

type Passed = (usize, Vec<OwnedFd>);

fn unix(shape: Type) -> (AsyncSocket, AsyncSocket) {
    let (near, far) = Socket::pair(Domain::UNIX, shape, None).unwrap();
    (AsyncSocket::new(near).unwrap(), AsyncSocket::new(far).unwrap())
}

/// Runs a coroutine for each kind of Unix socket on each face: an end, and its peer.
fn each_shape_on_each_face(test: impl AsyncFn(Type, End, AsyncSocket) + Copy + Send + 'static) {
    for shape in SHAPES {
        for face in FACES {
            bounded(move || {
                println!("{shape:?}, {face:?}");
                let run = asyncoro::run_until(timeout(LIMIT, async {
                    let (near, far) = unix(shape);
                    test(shape, End::new(face, near).await, far).await;
                }));
                assert!(run.is_ok(), "{shape:?}, {face:?}: the test hangs");
            });
        }
    }
}

/// Sends, where there is room.
async fn send(end: &End, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    match end {
        End::Asynchronous(socket) => socket.send_fds(bytes, fds).await,
        End::Blocking(socket) => socket.send_fds(bytes, fds),
    }
}

/// Receives what has been sent.
async fn receive(end: &End, buffer: &mut [u8], max: usize) -> io::Result<Passed> {
    match end {
        End::Asynchronous(socket) => socket.recv_fds(buffer, max).await,
        End::Blocking(socket) => socket.recv_fds(buffer, max),
    }
}

fn pipes(count: usize) -> (Vec<PipeReader>, Vec<PipeWriter>) {
    (0..count).map(|_| io::pipe().unwrap()).unzip()
}

fn borrowed(writers: &[PipeWriter]) -> Vec<BorrowedFd<'_>> {
    writers.iter().map(AsFd::as_fd).collect()
}

/// Asserts that no duplicate of the writing end is left, in this process or on its way. A process
/// that another test has forked may have one for a moment.
#[track_caller]
fn assert_closed(readers: &[PipeReader]) {
    for reader in readers {
        let mut polled = [PollFd::new(reader, PollFlags::IN)];
        let time = Timespec::try_from(LIMIT / 2).unwrap();
        let ready = retry_on_intr(|| poll(&mut polled, Some(&time))).unwrap();
        assert_eq!((ready, polled[0].revents()), (1, PollFlags::HUP), "it is open somewhere");
    }
}

/// Asserts that these are the writing ends, closed on exec, and closes them.
#[track_caller]
fn assert_are(fds: Vec<OwnedFd>, readers: &mut [PipeReader]) {
    assert_eq!(fds.len(), readers.len());
    for (number, (fd, reader)) in fds.into_iter().zip(&mut *readers).enumerate() {
        assert!(fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
        let mut text = [0; 3];
        File::from(fd).write_all(format!("{number:03}").as_bytes()).unwrap();
        reader.read_exact(&mut text).unwrap();
        assert_eq!(text, format!("{number:03}").as_bytes());
    }
    assert_closed(readers);
}

#[test]
fn descriptors_arrive_with_their_bytes_and_are_closed_on_exec() {
    each_shape_on_each_face(async |_, end, far| {
        for count in [0, 1, 2, 3, MOST] {
            let (mut readers, writers) = pipes(count);
            let mut buffer = [0; 9];
            // Both ends on the face.
            assert_eq!(send(&end, b"there", &borrowed(&writers)).await.unwrap(), 5);
            drop(writers);
            let (got, fds) = far.recv_fds(&mut buffer, count).await.unwrap();
            assert_eq!(&buffer[..got], b"there");
            let given: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            assert_eq!(far.send_fds(b"back", &given).await.unwrap(), 4);
            drop(fds);
            let (got, fds) = receive(&end, &mut buffer, MOST).await.unwrap();
            assert_eq!(&buffer[..got], b"back");
            assert_are(fds, &mut readers);
        }
    });
}

#[test]
fn those_of_two_calls_never_come_together() {
    each_shape_on_each_face(async |_, end, far| {
        let (mut readers, writers) = pipes(3);
        for (text, fds) in [(b"one", 0..1), (b"two", 1..1), (b"six", 1..3)] {
            far.send_fds(text, &borrowed(&writers[fds])).await.unwrap();
        }
        drop(writers);
        let (mut text, mut counts, mut all) = (Vec::new(), Vec::new(), Vec::new());
        while text.len() < 9 {
            let mut buffer = [0; 100];
            let (got, fds) = receive(&end, &mut buffer, 3).await.unwrap();
            text.extend_from_slice(&buffer[..got]);
            counts.extend((!fds.is_empty()).then_some((fds.len(), text.len())));
            all.extend(fds);
        }
        assert_eq!(text, b"onetwosix");
        assert_eq!(counts, [(1, 3), (2, 9)], "how many, and up to which byte");
        assert_are(all, &mut readers);
    });
}

#[test]
fn more_than_asked_for_are_closed_and_an_error_says_so() {
    each_shape_on_each_face(async |_, end, far| {
        for (sent, max) in [(1, 0), (2, 1), (3, 2), (MOST, 1), (MOST, MOST - 1)] {
            let (readers, writers) = pipes(sent);
            far.send_fds(b"many", &borrowed(&writers)).await.unwrap();
            drop(writers);
            let mut buffer = [0; 9];
            let error = receive(&end, &mut buffer, max).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{sent} and not {max}: {error}");
            assert_eq!(inner(&error), Some(&DescriptorsLost { bytes: 4 }));
            assert_eq!(&buffer[..4], b"many");
            assert_closed(&readers);
        }
        // The socket goes on.
        let (mut readers, writers) = pipes(1);
        far.send_fds(b"next", &borrowed(&writers)).await.unwrap();
        drop(writers);
        let mut buffer = [0; 9];
        let (got, fds) = receive(&end, &mut buffer, 1).await.unwrap();
        assert_eq!(&buffer[..got], b"next");
        assert_are(fds, &mut readers);
    });
}

#[test]
fn what_cannot_be_passed_is_refused_before_anything_is_sent() {
    each_shape_on_each_face(async |shape, end, far| {
        let (readers, writers) = pipes(1);
        let many = vec![writers[0].as_fd(); MOST + 1];
        let refused = send(&end, b"x", &many).await;
        let mut errors = vec![refused.unwrap_err()];
        if shape == Type::STREAM {
            errors.push(send(&end, b"", &many[..1]).await.unwrap_err());
            assert_eq!(send(&end, b"", &[]).await.unwrap(), 0);
            assert_eq!(receive(&end, &mut [], 1).await.unwrap().0, 0);
        } else {
            assert_eq!(send(&end, b"", &many[..1]).await.unwrap(), 0);
            let (got, fds) = far.recv_fds(&mut [0], 1).await.unwrap();
            assert_eq!((got, fds.len()), (0, 1), "an empty datagram may have one");
        }
        errors.push(receive(&end, &mut [0], MOST + 1).await.unwrap_err());
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        drop(many);
        drop(writers);
        assert_closed(&readers);
        assert_eq!(far.try_recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[track_caller]
fn assert_wrong_kind<T: std::fmt::Debug>(result: io::Result<T>, verb: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(inner::<WrongKind>(&error).expect("a typed inner error").verb, verb);
}

#[test]
fn other_sockets_and_tls_are_refused() {
    each_face(async |kind, face| {
        if kind == crate::pairs::Kind::Unix {
            return;
        }
        let (near, far) = pair(kind);
        let end = End::new(face, near).await;
        let (_reader, writer) = io::pipe().unwrap();
        assert_wrong_kind(send(&end, b"x", &[writer.as_fd()]).await, "send_fds");
        far.send_all(b"x").await.unwrap();
        assert_wrong_kind(receive(&end, &mut [0], 1).await, "recv_fds");
        assert_eq!(end.call(named("recv"), &[]).await.unwrap(), b"x", "nothing was taken");
    });
    run(async || {
        for (near, _far) in datagram_pairs("no-fds").await.into_iter().take(2) {
            assert_wrong_kind(near.recv_fds(&mut [0], 1).await, "recv_fds");
            assert_wrong_kind(near.send_fds(b"x", &[]).await, "send_fds");
        }
    });
}

#[cfg(feature = "tls")]
#[test]
fn a_unix_socket_with_tls_is_refused() {
    for version in crate::tls::VERSIONS {
        run(async move || {
            let (near, far) = crate::pairs::raw(crate::pairs::Kind::Unix);
            let (near, far) = crate::tls::secured_by(version, near, far);
            for end in [End::Blocking(far), End::Asynchronous(near.into_async().unwrap())] {
                let (_reader, writer) = io::pipe().unwrap();
                assert_wrong_kind(send(&end, b"x", &[writer.as_fd()]).await, "send_fds");
                assert_wrong_kind(receive(&end, &mut [0], 1).await, "recv_fds");
            }
        });
    }
}

#[test]
fn what_is_queued_is_sent_first() {
    for face in FACES {
        run(async move || {
            let (near, far) = unix(Type::STREAM);
            near.try_send_queued(b"queued, ").unwrap();
            let end = End::new(face, near).await;
            if let End::Asynchronous(near) = &end {
                near.send_queued(b"too, ").await.unwrap();
            }
            let (mut readers, writers) = pipes(1);
            send(&end, b"passed", &borrowed(&writers)).await.unwrap();
            drop(writers);
            let (mut text, mut all) = (Vec::new(), Vec::new());
            while !text.ends_with(b"passed") {
                let mut buffer = [0; 100];
                let (got, fds) = far.recv_fds(&mut buffer, 1).await.unwrap();
                text.extend_from_slice(&buffer[..got]);
                all.extend(fds);
            }
            assert!(text.starts_with(b"queued, "));
            assert_are(all, &mut readers);
        });
    }
}

#[test]
fn a_send_that_is_given_up_has_passed_nothing() {
    each_shape_on_each_face(async |_, end, far| {
        let mut sent = 0;
        while let Ok(more) = end.try_send(&pattern(1000)) {
            sent += more;
        }
        let (readers, writers) = pipes(1);
        end.set_timeout(Some(SHORT));
        let error = send(&end, b"late", &borrowed(&writers)).await.unwrap_err();
        assert_eq!(inner(&error), Some(&TimedOut { done: 0, rest_queued: false }), "{error}");
        end.set_timeout(None);
        if let End::Asynchronous(near) = &end {
            let fds = borrowed(&writers);
            let mut waiting = pin!(near.send_fds(b"late", &fds));
            assert!(poll_once(waiting.as_mut()).is_pending());
        }
        drop(writers);
        assert_closed(&readers);
        while sent > 0 {
            sent -= far.recv_fds(&mut [0; 1000], 1).await.unwrap().0;
        }
        assert_eq!(far.try_recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_send_that_waits_for_room_passes_all_when_there_is_some() {
    each_shape_on_each_face(async |_, end, far| {
        let End::Asynchronous(near) = end else { return };
        let mut sent = 0;
        while let Ok(more) = near.try_send(&pattern(1000)) {
            sent += more;
        }
        let (mut readers, writers) = pipes(2);
        let waiting =
            started(async move { near.send_fds(b"late", &borrowed(&writers)).await }).await;
        assert!(!waiting.is_finished());
        let mut all = Vec::new();
        while sent + 4 > 0 && all.is_empty() {
            let (got, fds) = far.recv_fds(&mut [0; 1000], 2).await.unwrap();
            sent = sent.saturating_sub(got);
            all = fds;
        }
        assert_eq!(waiting.await.unwrap().unwrap(), 4);
        assert_are(all, &mut readers);
    });
}

#[test]
fn a_receive_that_is_given_up_takes_nothing() {
    each_shape_on_each_face(async |_, end, far| {
        let (mut readers, writers) = pipes(1);
        end.set_timeout(Some(SHORT));
        let error = receive(&end, &mut [0; 9], 1).await.unwrap_err();
        assert_eq!(inner(&error), Some(&TimedOut { done: 0, rest_queued: false }), "{error}");
        end.set_timeout(None);
        if let End::Asynchronous(near) = &end {
            let mut buffer = [0; 9];
            // Dropped after they have come, before and after the scheduler knows it.
            for settles in [false, true] {
                let mut waiting = Box::pin(near.recv_fds(&mut buffer, 1));
                assert!(poll_once(waiting.as_mut()).is_pending());
                if !settles {
                    far.send_fds(b"passed", &borrowed(&writers)).await.unwrap();
                } else {
                    settle().await;
                }
                drop(waiting);
                if !settles {
                    let mut peeked = [0; 6];
                    // Shows the bytes; the descriptors stay with them.
                    assert_eq!(near.peek(&mut peeked).await.unwrap(), 6);
                    near.readable().await.unwrap();
                    let (got, fds) = near.recv_fds(&mut buffer, 1).await.unwrap();
                    assert_eq!((&buffer[..got], fds.len()), (&b"passed"[..], 1));
                    let other = near.clone();
                    let terminated =
                        started(async move { other.recv_fds(&mut [0; 9], 1).await }).await;
                    far.send_fds(b"again", &borrowed(&writers)).await.unwrap();
                    terminated.terminate();
                    assert!(terminated.await.is_err());
                    let (got, fds) = near.recv_fds(&mut buffer, 1).await.unwrap();
                    assert_eq!((&buffer[..got], fds.len()), (&b"again"[..], 1));
                }
            }
        }
        far.send_fds(b"passed", &borrowed(&writers)).await.unwrap();
        drop(writers);
        let mut buffer = [0; 9];
        let (got, fds) = receive(&end, &mut buffer, 1).await.unwrap();
        assert_eq!(&buffer[..got], b"passed");
        assert_are(fds, &mut readers);
    });
}

/// What the documentation warns of: the system closes what a call has no room for.
#[test]
fn another_verb_loses_the_descriptors_and_none_is_leaked() {
    each_shape_on_each_face(async |_, end, far| {
        for verb in ["recv", "recv_bytes", "recv_with", "recv_vectored"] {
            let (readers, writers) = pipes(1);
            far.send_fds(b"passed", &borrowed(&writers)).await.unwrap();
            drop(writers);
            assert_eq!(end.call(named(verb), &[]).await.unwrap(), b"passed", "{verb}");
            assert_closed(&readers);
        }
    });
}

#[test]
fn what_another_verb_has_left_comes_first_and_alone() {
    for face in FACES {
        run(async move || {
            let (near, far) = unix(Type::STREAM);
            let end = End::new(face, near).await;
            far.send_all(b"line\nrest").await.unwrap();
            let line = end.call(named("recv_until"), &[]).await.unwrap();
            assert_eq!(line, b"line\n");
            let (mut readers, writers) = pipes(1);
            far.send_fds(b"passed", &borrowed(&writers)).await.unwrap();
            drop(writers);
            let mut buffer = [0; 100];
            let (got, fds) = receive(&end, &mut buffer, 1).await.unwrap();
            assert_eq!((&buffer[..got], fds.len()), (&b"rest"[..], 0));
            let (got, fds) = receive(&end, &mut buffer, 1).await.unwrap();
            assert_eq!(&buffer[..got], b"passed");
            assert_are(fds, &mut readers);
        });
    }
}

#[test]
fn the_end_of_a_connection_is_no_byte_and_no_descriptor() {
    each_shape_on_each_face(async |shape, end, far| {
        if shape == Type::DGRAM {
            return;
        }
        let (mut readers, writers) = pipes(1);
        far.send_fds(b"last", &borrowed(&writers)).await.unwrap();
        drop((writers, far));
        let mut buffer = [0; 9];
        let (got, fds) = receive(&end, &mut buffer, 1).await.unwrap();
        assert_eq!(&buffer[..got], b"last");
        assert_are(fds, &mut readers);
        for _ in 0..2 {
            let (got, fds) = receive(&end, &mut buffer, 1).await.unwrap();
            assert_eq!((got, fds.len()), (0, 0));
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn credentials_leave_the_descriptors_their_room() {
    each_shape_on_each_face(async |_, end, far| {
        rustix::net::sockopt::set_socket_passcred(&end, true).unwrap();
        for count in [1, MOST] {
            let (mut readers, writers) = pipes(count);
            far.send_fds(b"passed", &borrowed(&writers)).await.unwrap();
            drop(writers);
            let (got, fds) = receive(&end, &mut [0; 9], count).await.unwrap();
            assert_eq!(got, 6);
            assert_are(fds, &mut readers);
        }
    });
}

/// Many sockets that are ready at once: the scheduler makes the calls of those that wait in other
/// verbs ahead, without room for descriptors.
#[test]
fn nothing_is_received_ahead_of_a_verb_that_waits_for_descriptors() {
    for how in [Batching::Direct, Batching::Ring] {
        bounded(move || {
            let scheduler = AsynCoro::builder().batching(how).batch_from(2).build().unwrap();
            let run = scheduler.run_until(timeout(LIMIT, async {
                let pairs: Vec<_> = (0..12).map(|_| unix(Type::STREAM)).collect();
                let (mut readers, writers) = pipes(12);
                let mut waiting = Vec::new();
                let mut plain = Vec::new();
                for (number, (near, _)) in pairs.iter().enumerate() {
                    let near = near.clone();
                    if number % 3 == 0 {
                        plain.push(started(async move { near.recv_bytes(9).await }).await);
                        continue;
                    }
                    waiting.push(spawn(async move {
                        if number % 3 == 1 {
                            // A verb that lets calls be made ahead came first.
                            timeout(SHORT, near.recv(&mut [0; 9])).await.unwrap_err();
                        }
                        near.recv_fds(&mut [0; 9], 1).await
                    }));
                }
                asyncoro::time::sleep(4 * SHORT).await;
                settle().await;
                let before = statistics().batches;
                for ((_, far), writer) in pairs.iter().zip(&writers) {
                    far.send_fds(b"passed", &[writer.as_fd()]).await.unwrap();
                }
                drop(writers);
                let mut all = Vec::new();
                for waiting in waiting {
                    let (got, fds) = waiting.await.unwrap().unwrap();
                    assert_eq!((got, fds.len()), (6, 1));
                    all.extend(fds);
                }
                for plain in plain {
                    assert_eq!(plain.await.unwrap().unwrap(), "passed");
                }
                assert!(statistics().batches > before, "calls were made together");
                let mut number = 0;
                readers.retain(|_| {
                    number += 1;
                    number % 3 != 1
                });
                assert_are(all, &mut readers);
            }));
            assert!(run.is_ok(), "the test hangs");
        });
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn no_descriptor_is_left_open_whatever_is_cut_or_dropped() {
    alone("fds::no_descriptor_is_left_open_whatever_is_cut_or_dropped", || {
        asyncoro::run_until(async {
            let before = descriptors();
            for shape in SHAPES {
                for round in 0..200 {
                    let (near, far) = unix(shape);
                    let (_readers, writers) = pipes(1 + round % 5);
                    far.send_fds(b"passed", &borrowed(&writers)).await.unwrap();
                    let mut buffer = [0; 9];
                    match round % 4 {
                        0 => drop(near.recv_fds(&mut buffer, round % 7).await),
                        1 => drop(near.recv(&mut buffer).await),
                        2 => {
                            let taken = started(async move {
                                let passed = near.recv_fds(&mut [0; 9], 9).await;
                                std::future::pending::<()>().await;
                                drop(passed);
                            })
                            .await;
                            taken.terminate();
                            assert!(taken.await.is_err());
                        }
                        _ => {}
                    }
                }
            }
            settle().await;
            assert_eq!(descriptors(), before);
        });
    });
}

#[test]
fn descriptors_that_the_process_may_not_open_are_lost_with_an_error() {
    alone("fds::descriptors_that_the_process_may_not_open_are_lost_with_an_error", || {
        let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let (near, far) = (BlockingSocket::new(near).unwrap(), BlockingSocket::new(far).unwrap());
        let (readers, writers) = pipes(3);
        far.send_fds(b"passed", &borrowed(&writers)).unwrap();
        far.send_fds(b"later", &borrowed(&writers[..1])).unwrap();
        drop(writers);
        let limits = getrlimit(Resource::Nofile);
        let mut fillers = Vec::new();
        let few = Rlimit { current: Some(descriptors() as u64 + 20), ..limits };
        setrlimit(Resource::Nofile, few).unwrap();
        while let Ok(file) = File::open("/dev/null") {
            fillers.push(file);
        }
        fillers.pop();
        let mut buffer = [0; 9];
        let error = near.recv_fds(&mut buffer, 3).unwrap_err();
        assert_eq!(inner(&error), Some(&DescriptorsLost { bytes: 6 }), "{error}");
        drop(fillers);
        assert_closed(&readers[1..]);
        // The one that had arrived was closed, too: there is room for it again.
        let (got, fds) = near.recv_fds(&mut buffer, 1).unwrap();
        assert_eq!((&buffer[..got], fds.len()), (&b"later"[..], 1));
        drop(fds);
        assert_closed(&readers);
    });
}

#[test]
fn receivers_in_line_get_theirs_in_order() {
    run(async || {
        for shape in SHAPES {
            let (near, far) = unix(shape);
            let mut waiting: Vec<Coro<io::Result<Passed>>> = Vec::new();
            for _ in 0..3 {
                let near = near.clone();
                waiting.push(started(async move { near.recv_fds(&mut [0; 9], 3).await }).await);
            }
            for count in 1..=3 {
                let (_, writers) = pipes(count);
                far.send_fds(b"passed", &borrowed(&writers)).await.unwrap();
            }
            for (count, waiting) in (1..).zip(waiting) {
                assert_eq!(waiting.await.unwrap().unwrap().1.len(), count);
            }
        }
    });
}

/// A close wakes whoever waits for descriptors.
#[test]
fn a_close_ends_the_verbs_that_pass_descriptors() {
    run(async || {
        for shape in SHAPES {
            let (near, _far) = unix(shape);
            let other = near.clone();
            let waiting = started(async move { other.recv_fds(&mut [0; 9], 1).await }).await;
            near.close().await.unwrap();
            crate::pairs::assert_closed(waiting.await.unwrap());
            crate::pairs::assert_closed(near.send_fds(b"x", &[]).await);
            let blocking = End::new(Face::Blocking, unix(shape).0).await;
            blocking.close().await.unwrap();
            crate::pairs::assert_closed(receive(&blocking, &mut [0], 1).await);
            crate::pairs::assert_closed(send(&blocking, b"x", &[]).await);
        }
    });
}
