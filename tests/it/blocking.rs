//! `BlockingSocket`: the same verbs for plain threads, with the same behaviour.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use asyncoro::{
    AsyncSocket, BlockingSocket, DatagramBatch,
    error::{Closed, Incomplete, MessageTooLong, TimedOut},
    socket2::{Domain, Type},
};
use bytes::Bytes;

use crate::{
    bounded::{Watched, run},
    pairs::{KINDS, Kind, blocking_pair, each_at_once, pair, pattern},
    verbs::{READERS, UNIT, WRITERS, named, unit},
    within::within,
};

pub(crate) const SHORT: Duration = Duration::from_millis(30);

fn tcp_pair() -> (BlockingSocket, BlockingSocket) {
    blocking_pair(Kind::Tcp4)
}

pub(crate) fn unix_pair() -> (BlockingSocket, BlockingSocket) {
    blocking_pair(Kind::Unix)
}

pub(crate) fn datagram_pair() -> (BlockingSocket, BlockingSocket) {
    let near = BlockingSocket::create_datagram("127.0.0.1:0").unwrap();
    (near, BlockingSocket::create_datagram("127.0.0.1:0").unwrap())
}

pub(crate) fn inner<T: std::error::Error + Copy + 'static>(error: &io::Error) -> T {
    *error.get_ref().and_then(|inner| inner.downcast_ref()).expect("the typed inner error")
}

pub(crate) fn assert_closed<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
    inner::<Closed>(&error);
}

/// Fills the buffers to the peer until nothing fits for a while, since TCP moves bytes on by
/// itself. Returns how many bytes were sent.
pub(crate) fn fill(socket: &BlockingSocket) -> usize {
    let timeout = socket.timeout();
    socket.set_timeout(Some(SHORT));
    let error = socket.send_all(&vec![7; 64 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    socket.set_timeout(timeout);
    inner::<TimedOut>(&error).done
}

const _: () = {
    const fn crosses_threads<T: Clone + Send + Sync + 'static>() {}
    crosses_threads::<BlockingSocket>();
};

fn receives_in_every_way(near: &BlockingSocket, far: &BlockingSocket) {
    near.send_all(b"recv.bytes.with.peek.vectored.all.allbytes.line\nrest").unwrap();
    far.readable().unwrap();
    let mut five = [0; 5];
    assert_eq!((far.recv(&mut five).unwrap(), &five), (5, b"recv."));
    assert_eq!(far.recv_bytes(6).unwrap(), "bytes.");
    assert_eq!(far.peek(&mut five).unwrap(), 5);
    assert_eq!(&five, b"with.");
    far.recv_all(&mut five).unwrap();
    assert_eq!(&five, b"with.");
    assert_eq!(far.recv_all_bytes(5).unwrap(), "peek.");
    let (mut four, mut rest) = ([0; 4], [0; 5]);
    let parts = &mut [IoSliceMut::new(&mut four), IoSliceMut::new(&mut rest)];
    assert_eq!(far.recv_vectored(parts).unwrap(), 9);
    assert_eq!((&four, &rest), (b"vect", b"ored."));
    assert_eq!(far.recv_until(b"\n", 100).unwrap(), "all.allbytes.line\n");
    assert_eq!(far.recv_with_limit(3, <[u8]>::to_vec).unwrap(), b"res");
    assert_eq!(far.recv_with(<[u8]>::to_vec).unwrap(), b"t");
    let error = far.try_recv(&mut five).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

fn sends_in_every_way(near: &BlockingSocket, far: &BlockingSocket) {
    near.writable().unwrap();
    assert_eq!(near.send(b"send.").unwrap(), 5);
    assert_eq!(near.try_send(b"try.").unwrap(), 4);
    near.send_all(b"all.").unwrap();
    assert_eq!(near.send_vectored(&[b"vec", b"", b"tored."]).unwrap(), 9);
    near.send_queued(b"queued.").unwrap();
    near.flush().unwrap();
    near.try_send_msg(&Bytes::from_static(b"try")).unwrap();
    near.send_msg(b"message").unwrap();
    near.send_msg(b"").unwrap();
    let raw = b"send.try.all.vectored.queued.";
    assert_eq!(far.recv_all_bytes(raw.len()).unwrap(), &raw[..]);
    assert_eq!(far.recv_msg().unwrap().unwrap(), "try");
    let mut into = b"old".to_vec();
    assert_eq!(far.recv_msg_into(&mut into).unwrap(), Some(7));
    assert_eq!(into, b"message");
    assert_eq!(far.recv_msg().unwrap().unwrap(), "");
}

/// Calls every verb once.
fn all_verbs(near: &BlockingSocket, far: &BlockingSocket) {
    for &verb in READERS {
        let unit = unit(7);
        near.send_all(&unit).unwrap();
        let got = (verb.block)(far, &[]).unwrap();
        let expected = if verb.name == "readable" { &[][..] } else { &unit };
        assert_eq!(got, expected, "{verb:?}");
        if verb.only_looks() {
            assert_eq!(far.recv(&mut [0; UNIT]).unwrap(), UNIT, "{verb:?}");
        }
    }
    for &verb in WRITERS.iter().filter(|verb| verb.name != "shutdown") {
        (verb.block)(near, &unit(7)).unwrap();
        if verb.name.starts_with("send") {
            assert_eq!(far.recv_all_bytes(UNIT).unwrap(), unit(7)[..], "{verb:?}");
        }
    }
}

fn ends(near: &BlockingSocket, far: &BlockingSocket) {
    near.send_all(b"\0\0").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let error = far.recv_msg().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(inner::<Incomplete>(&error), Incomplete { got: 2, expected: 4 });
    assert_eq!(far.recv(&mut [0; 9]).unwrap(), 2);
    assert_eq!(far.recv(&mut [0; 9]).unwrap(), 0);
    assert_eq!(far.recv_bytes(9).unwrap(), "");
    assert_eq!(far.recv_msg().unwrap(), None);
    assert_eq!(far.recv_all_bytes(1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    far.send_all(b"other way").unwrap();
    assert_eq!(near.recv_bytes(100).unwrap(), "other way");
}

#[test]
fn every_stream_verb_works_in_a_thread() {
    within(|| {
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            let (near, far) = blocking_pair(kind);
            receives_in_every_way(&near, &far);
            sends_in_every_way(&near, &far);
            all_verbs(&near, &far);
            ends(&near, &far);
            near.close().unwrap();
            near.close().unwrap();
            assert_closed(near.recv(&mut [0]));
            assert_closed(near.send_msg(b"x"));
            assert_closed(near.local_addr());
        }
    });
}

#[test]
fn every_datagram_verb_works_in_a_thread() {
    within(|| {
        let (near, far) = datagram_pair();
        let to = far.local_addr().unwrap();
        assert_eq!(near.send_to(b"one", &to).unwrap(), 3);
        let mut buffer = [0; 9];
        assert_eq!(far.recv_from(&mut buffer).unwrap(), (3, near.local_addr().unwrap()));
        let many = [("two", to.clone()), ("three", to.clone())];
        assert_eq!(near.send_batch(&many).unwrap(), 2);
        let mut batch = DatagramBatch::new(2, 100);
        let mut seen = Vec::new();
        while seen.len() < 2 {
            far.recv_batch(&mut batch).unwrap();
            seen.extend(batch.iter().map(|datagram| datagram.bytes.to_vec()));
        }
        assert_eq!(seen, [&b"two"[..], b"three"]);
        near.connect(&to).unwrap();
        assert_eq!(near.peer_addr().unwrap(), to);
        near.send(b"").unwrap();
        assert_eq!(far.recv(&mut buffer).unwrap(), 0);
        assert_eq!(near.recv_msg().unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn sockets_are_made_step_by_step_as_in_bsd() {
    within(|| {
        let unix = format!("@asyncoro-steps-{}", std::process::id());
        for (domain, any) in
            [(Domain::IPV4, "127.0.0.1:0"), (Domain::IPV6, "[::1]:0"), (Domain::UNIX, &*unix)]
        {
            let server = BlockingSocket::open(domain, Type::STREAM).unwrap();
            server.options().set_reuse_address(true).unwrap();
            server.bind(any).unwrap();
            server.listen(8).unwrap();
            assert!(server.bind("localhost:0").unwrap_err().to_string().contains("localhost"));
            let client = BlockingSocket::open(domain, Type::STREAM).unwrap();
            client.connect(server.local_addr().unwrap()).unwrap();
            let (accepted, from) = server.accept().unwrap();
            assert_eq!(from, client.local_addr().unwrap());
            assert_eq!(accepted.local_addr().unwrap(), client.peer_addr().unwrap());
            assert!(client.take_error().unwrap().is_none());
            assert!(client.as_fd().as_raw_fd() > 0);
            let name = if domain == Domain::UNIX { "Unix stream socket" } else { "TCP socket" };
            assert!(format!("{client:?}").contains(name), "{client:?}");
            assert!(!client.options().nonblocking().unwrap() || client.into_parts().is_ok());
        }
    });
}

#[test]
fn each_waiting_verb_times_out() {
    within(|| {
        let server = BlockingSocket::create_server("127.0.0.1:0").unwrap();
        let datagram = BlockingSocket::create_datagram("127.0.0.1:0").unwrap();
        let (near, far) = unix_pair();
        for socket in [&server, &datagram, &near] {
            socket.set_timeout(Some(SHORT));
            assert_eq!(socket.timeout(), Some(SHORT));
        }
        fill(&near);
        let before = Instant::now();
        let waits: [&dyn Fn() -> io::Error; 11] = [
            &|| server.accept().unwrap_err(),
            &|| datagram.recv_from(&mut [0]).unwrap_err(),
            &|| datagram.recv_batch(&mut DatagramBatch::new(1, 1)).unwrap_err(),
            &|| near.recv(&mut [0]).unwrap_err(),
            &|| near.recv_all(&mut [0; 2]).unwrap_err(),
            &|| near.recv_until(b"x", 9).unwrap_err(),
            &|| near.recv_msg().unwrap_err(),
            &|| near.readable().unwrap_err(),
            &|| near.send(b"x").unwrap_err(),
            &|| near.send_msg(b"x").unwrap_err(),
            &|| near.writable().unwrap_err(),
        ];
        for wait in &waits {
            let error = wait();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            assert_eq!(inner::<TimedOut>(&error), TimedOut { done: 0, rest_queued: false });
        }
        assert!(before.elapsed() >= SHORT * waits.len() as u32, "none is early");
        near.set_timeout(None);
        assert_eq!(near.timeout(), None);
        far.send_msg(b"all in order").unwrap();
        assert_eq!(near.recv_msg().unwrap().unwrap(), "all in order");
    });
}

#[test]
fn a_timeout_in_a_message_loses_no_byte() {
    within(|| {
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            let (near, far) = blocking_pair(kind);
            let message = unit(7);
            for verb in ["recv_msg", "recv_msg_into"].map(named) {
                far.set_timeout(Some(Duration::from_millis(5)));
                for byte in &message[..UNIT - 1] {
                    near.send_all(&[*byte]).unwrap();
                    let error = (verb.block)(&far, &[]).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut, "{verb:?}");
                }
                far.set_timeout(None);
                near.send_all(&message[UNIT - 1..]).unwrap();
                assert_eq!((verb.block)(&far, &[]).unwrap(), message, "{verb:?}");
            }
        }
    });
}

#[test]
fn progress_starts_the_timeout_anew() {
    each_at_once(async |kind| {
        let (near, far) = pair(kind);
        let near = near.into_blocking().await.unwrap();
        let far = far.into_blocking().await.unwrap();
        let pause = Duration::from_millis(100);
        far.set_timeout(Some(pause * 4));
        let writer = thread::spawn(move || {
            for byte in b"slowly" {
                thread::sleep(pause);
                near.send_all(&[*byte]).unwrap();
            }
            near
        });
        assert_eq!(far.recv_all_bytes(6).unwrap(), "slowly");
        writer.join().unwrap();
    });
}

#[test]
fn the_rest_of_a_message_that_timed_out_is_queued_and_sent() {
    within(|| {
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            let (near, far) = blocking_pair(kind);
            near.set_timeout(Some(SHORT));
            let len = if kind == Kind::Tcp4 { 32 << 20 } else { 8 << 20 };
            let long = pattern(len);
            let error = near.send_msg(&long).unwrap_err();
            let timed_out = inner::<TimedOut>(&error);
            assert!(timed_out.rest_queued && timed_out.done > 0, "{error}");
            assert!(error.to_string().contains("queued"), "{error}");
            // The next one is not begun: it stands behind the rest, and nothing of it has left.
            let error = near.send_msg(b"withdrawn").unwrap_err();
            assert_eq!(inner::<TimedOut>(&error), TimedOut { done: 0, rest_queued: false });
            assert_eq!(near.flush().unwrap_err().kind(), ErrorKind::TimedOut);

            let reader = thread::spawn(move || {
                let first = far.recv_msg().unwrap().unwrap();
                (first, far.recv_msg().unwrap().unwrap())
            });
            near.set_timeout(None);
            near.send_msg(b"next").unwrap();
            let (first, second) = reader.join().unwrap();
            assert!(first == long, "the rest came behind the beginning");
            assert_eq!(second, "next");
        }
    });
}

#[test]
fn one_thread_reads_while_another_writes() {
    within(|| {
        const TOTAL: usize = 8 << 20;
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            let (near, far) = blocking_pair(kind);
            let mut threads = Vec::new();
            for socket in [near, far] {
                let writer = socket.clone();
                threads.push(thread::spawn(move || writer.send_all(&vec![3; TOTAL]).unwrap()));
                threads.push(thread::spawn(move || {
                    assert!(socket.recv_all_bytes(TOTAL).unwrap().iter().all(|byte| *byte == 3));
                }));
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn readers_in_two_threads_take_turns_and_each_message_is_whole() {
    within(|| {
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            let (near, far) = blocking_pair(kind);
            let seen = Arc::new(AtomicUsize::new(0));
            let readers = [far.clone(), far].map(|far| {
                let seen = Arc::clone(&seen);
                thread::spawn(move || {
                    while let Some(message) = far.recv_msg().unwrap() {
                        assert_eq!(message, vec![message.len() as u8; message.len()]);
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                })
            });
            for count in 0..1000 {
                let len = count % 200;
                near.send_msg(&vec![len as u8; len]).unwrap();
            }
            near.shutdown(Shutdown::Write).unwrap();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
            assert_eq!(seen.load(Ordering::Relaxed), 1000);
        }
    });
}

#[test]
fn messages_from_two_threads_arrive_whole() {
    within(|| {
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            let (near, far) = blocking_pair(kind);
            let writers = [(near.clone(), 1), (near, 2)].map(|(near, mark)| {
                thread::spawn(move || {
                    for count in 0..500 {
                        near.send_msg(&vec![mark; count * 7 % 3000]).unwrap();
                    }
                })
            });
            for _ in 0..1000 {
                let message = far.recv_msg().unwrap().unwrap();
                assert!(message.windows(2).all(|pair| pair[0] == pair[1]));
            }
            writers.into_iter().for_each(|writer| writer.join().unwrap());
        }
    });
}

#[test]
fn a_second_reader_times_out_while_the_first_has_the_lock() {
    within(|| {
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            let (near, far) = blocking_pair(kind);
            let reader = far.clone();
            let first = Watched::spawn(move || reader.recv_bytes(9).unwrap()).asleep();
            far.set_timeout(Some(SHORT));
            assert_eq!(far.recv(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
            let error = far.try_recv(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            near.send_all(b"first").unwrap();
            assert_eq!(first.join(), "first");
        }
    });
}

#[test]
fn read_and_write_traits_work_owned_and_shared() {
    /// Writes in each way, and then reads it in each way.
    fn talk(mut near: impl Write, mut far: impl Read) {
        let name = "fmt";
        write!(near, "write_{name}.").unwrap();
        assert_eq!(near.write(b"write.").unwrap(), 6);
        near.write_all(b"write_all.").unwrap();
        // How many parts it takes is its own affair.
        let parts = [b"vec".as_slice(), b"tored"].map(IoSlice::new);
        let taken = near.write_vectored(&parts).unwrap();
        near.write_all(&b"vectored"[taken..]).unwrap();
        near.flush().unwrap();
        let mut ten = [0; 10];
        far.read_exact(&mut ten).unwrap();
        assert_eq!(&ten, b"write_fmt.");
        let (mut three, mut rest) = ([0; 3], [0; 3]);
        let mut parts = [&mut three[..], &mut rest[..]].map(IoSliceMut::new);
        let taken = far.read_vectored(&mut parts).unwrap();
        far.read_exact(&mut ten[..6 - taken]).unwrap();
        let all = [&three[..], &rest].concat();
        assert_eq!([&all[..taken], &ten[..6 - taken]].concat(), b"write.");
        let mut byte = [0];
        let mut got = Vec::new();
        while !got.ends_with(b"vectored") {
            assert_eq!(far.read(&mut byte).unwrap(), 1);
            got.push(byte[0]);
        }
        assert_eq!(got, b"write_all.vectored");
    }
    within(|| {
        for kind in KINDS.iter().copied() {
            println!("{kind:?}");
            let (near, far) = blocking_pair(kind);
            talk(&near, &far);
            talk(near.clone(), far.clone());
            writeln!(&near, "the").unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            let mut text = String::new();
            (&far).read_to_string(&mut text).unwrap();
            assert_eq!(text, "the\n");
            let (mut near, mut far) = (near, far);
            far.write_all(b"end").unwrap();
            far.close().unwrap();
            let mut back = Vec::new();
            near.read_to_end(&mut back).unwrap();
            assert_eq!(back, b"end");
        }
    });
}

#[test]
fn accept_yields_blocking_sockets_without_the_timeout() {
    within(|| {
        let server = BlockingSocket::create_server("127.0.0.1:0").unwrap();
        server.set_timeout(Some(Duration::from_secs(20)));
        server.set_message_limit(3);
        let mut client = TcpStream::connect(server.local_addr().unwrap().to_string()).unwrap();
        let (accepted, from) = server.accept().unwrap();
        assert_eq!(from, client.local_addr().unwrap().into());
        assert_eq!(accepted.timeout(), None);
        client.write_all(b"\0\0\0\x04four").unwrap();
        let error = accepted.recv_msg().unwrap_err();
        assert_eq!(inner::<MessageTooLong>(&error), MessageTooLong { len: 4, limit: 3 });
        assert_eq!(accepted.recv_msg().unwrap_err().kind(), ErrorKind::InvalidData, "it sticks");
        accepted.set_message_limit(4);
        assert_eq!(accepted.recv_msg().unwrap().unwrap(), "four");
    });
}

#[test]
fn into_async_takes_leftovers_and_settings_along() {
    let (near, far) = within(tcp_pair);
    near.send_msg(b"first").unwrap();
    near.send_msg(b"second").unwrap();
    near.send_all(b"raw").unwrap();
    // All three are there before the first is taken, so that the rest is left over.
    while far.peek(&mut [0; 64]).unwrap() < 4 + 5 + 4 + 6 + 3 {
        thread::yield_now();
    }
    assert_eq!(far.recv_msg().unwrap().unwrap(), "first");
    far.set_timeout(Some(SHORT));
    let far = far.into_async().unwrap();
    assert_eq!(far.timeout(), Some(SHORT));
    run(async move {
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "second");
        assert_eq!(far.recv_bytes(9).await.unwrap(), "raw");
        near.send_msg(b"later").unwrap();
        assert_eq!(far.recv_msg().await.unwrap().unwrap(), "later");
        near.send_all(b"\0\0\0\x09part").unwrap();
        assert_eq!(far.recv_msg().await.unwrap_err().kind(), ErrorKind::TimedOut);

        let far = far.into_blocking().await.unwrap();
        near.send_all(b"ial--").unwrap();
        assert_eq!(far.recv_msg().unwrap().unwrap(), "partial--");
        near.send_all(b"\0\0\0\x09left").unwrap();
        assert_eq!(far.recv_msg().unwrap_err().kind(), ErrorKind::TimedOut);
        let (socket, left) = far.into_parts().unwrap();
        assert_eq!(left, &b"\0\0\0\x09left"[..]);
        assert!(!socket.nonblocking().unwrap());
    });
}

#[test]
fn try_recv_after_into_async_sees_what_has_come_since() {
    let (near, far) = within(tcp_pair);
    near.send_all(b"one").unwrap();
    assert_eq!(far.recv(&mut [0; 9]).unwrap(), 3);
    near.send_all(b"two").unwrap();
    far.readable().unwrap();
    let far = far.into_async().unwrap();
    assert_eq!(far.try_recv(&mut [0; 9]).unwrap(), 3);
    assert_eq!(far.try_recv(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    near.send_all(b"three").unwrap();
    assert_eq!(far.try_recv(&mut [0; 9]).unwrap(), 5);
}

#[test]
fn into_blocking_sends_what_is_queued_first() {
    let (near, far) = within(tcp_pair);
    let near = near.into_async().unwrap();
    let near = run(async move {
        near.send_msg(b"queued").await.unwrap();
        near.into_blocking().await.unwrap()
    });
    assert_eq!(far.recv_msg().unwrap().unwrap(), "queued");
    near.send_msg(b"at once").unwrap();
    assert_eq!(far.recv_msg().unwrap().unwrap(), "at once");
}

#[test]
fn conversions_are_refused_with_clones_and_give_the_socket_back() {
    let (near, far) = within(tcp_pair);
    let clone = near.clone();
    let refused = near.into_async().unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::ResourceBusy);
    assert!(refused.to_string().contains("clones"), "{refused}");
    let refused = refused.socket.into_parts().unwrap_err();
    drop(clone);
    let near = refused.socket.into_async().unwrap();
    run(async move {
        let clone = near.clone();
        let refused = near.into_blocking().await.unwrap_err();
        assert_eq!(refused.error.kind(), ErrorKind::ResourceBusy);
        let refused = refused.socket.into_parts().await.unwrap_err();
        drop(clone);
        refused.socket.send_msg(b"unharmed").await.unwrap();
        let (socket, left) = refused.socket.into_parts().await.unwrap();
        assert!(left.is_empty());
        let near = BlockingSocket::new(socket).unwrap();
        assert_eq!(far.recv_msg().unwrap().unwrap(), "unharmed");
        near.close().unwrap();
        let refused = near.into_async().unwrap_err();
        assert_eq!(refused.error.kind(), ErrorKind::NotConnected);
        assert_closed::<()>(Err(refused.socket.into_parts().unwrap_err().into()));
    });
}

#[test]
fn a_socket_of_the_standard_library_goes_in_and_comes_out_as_it_was() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = BlockingSocket::new(listener).unwrap();
    let (accepted, _) = server.accept().unwrap();
    accepted.send_msg(b"x").unwrap();
    let mut message = [0; 5];
    client.read_exact(&mut message).unwrap();
    assert_eq!(&message, b"\0\0\0\x01x");
    let listener: TcpListener = server.into_parts().unwrap().0.into();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // A blocking accept would fail if the listener had been left non-blocking and were empty.
    let (accepted, _) = listener.accept().unwrap();
    assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
}

#[test]
fn blocking_calls_work_in_the_thread_of_a_scheduler() {
    run(async {
        let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        let client = BlockingSocket::create_connection(server.local_addr().unwrap()).unwrap();
        client.send_msg(b"from a coroutine").unwrap();
        let (accepted, _) = server.accept().await.unwrap();
        assert_eq!(accepted.recv_msg().await.unwrap().unwrap(), "from a coroutine");
        let own = BlockingSocket::create_server("127.0.0.1:0").unwrap();
        let client = AsyncSocket::create_connection(own.local_addr().unwrap()).await.unwrap();
        own.accept().unwrap().0.send_msg(b"back").unwrap();
        assert_eq!(client.recv_msg().await.unwrap().unwrap(), "back");
    });
}

#[test]
fn a_unix_connect_waits_for_room_in_the_queue_of_the_listener() {
    within(|| {
        let path = format!("@asyncoro-blocking-queue-{}", std::process::id());
        let path = &*path;
        let server = BlockingSocket::open(Domain::UNIX, Type::STREAM).unwrap();
        server.bind(path).unwrap();
        server.listen(0).unwrap();
        let _first = BlockingSocket::create_connection(path).unwrap();
        let second = BlockingSocket::open(Domain::UNIX, Type::STREAM).unwrap();
        second.set_timeout(Some(SHORT));
        assert_eq!(second.connect(path).unwrap_err().kind(), ErrorKind::TimedOut);
        second.set_timeout(None);
        let accepting = thread::spawn(move || (server.accept().unwrap(), server.accept().unwrap()));
        second.connect(path).unwrap();
        accepting.join().unwrap();
    });
}

/// Returns the texts of the source files in `folder`, recursively.
fn sources(folder: &Path) -> Vec<String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() { sources(&path) } else { vec![fs::read_to_string(path).unwrap()] }
        })
        .collect()
}

/// Returns the names of the public functions in the `impl` blocks of `type_name` in a source file.
fn public_verbs(text: &str, type_name: &str) -> BTreeSet<String> {
    let mut verbs = BTreeSet::new();
    let mut is_inside = false;
    for line in text.lines() {
        if line.starts_with("impl") {
            is_inside = line == format!("impl {type_name} {{");
        }
        let function = ["    pub fn ", "    pub async fn "];
        let name = function.iter().find_map(|start| line.strip_prefix(start));
        if let (true, Some(name)) = (is_inside, name) {
            let end = name.find(['(', '<']).unwrap();
            verbs.insert(name[..end].to_owned());
        }
    }
    verbs
}

#[test]
fn both_faces_have_word_for_word_the_same_verbs() {
    let texts = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/socket")));
    let verbs = |type_name| -> BTreeSet<String> {
        texts.iter().flat_map(|text| public_verbs(text, type_name)).collect()
    };
    let (mut asynchronous, mut blocking) = (verbs("AsyncSocket"), verbs("BlockingSocket"));
    assert!(asynchronous.len() > 40, "{asynchronous:?}");
    // The one word in which they must differ.
    assert!(asynchronous.remove("into_blocking") && blocking.remove("into_async"));
    // A thread waits in the call.
    asynchronous.retain(|verb| !verb.starts_with("poll_"));
    // What only one of them has: a queue that outlives the verb, a wait that a signal ends.
    assert!(asynchronous.remove("is_full") && blocking.remove("on_interrupt"));
    assert_eq!(asynchronous, blocking);
}
