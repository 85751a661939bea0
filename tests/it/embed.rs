//! Features for embedders: borrowed descriptors, a callback around waits, signals that end a
//! blocking verb, memory of their own.
//!
//! Unsafe: memory that a verb has initialised; sockets whose descriptor the test keeps; a handler
//! that does nothing, and a signal for one thread.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd},
        unix::thread::JoinHandleExt,
    },
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use asyncoro::{AsynCoro, AsyncSocket, BlockingSocket, coro::Scheduler, time::sleep};

use crate::{
    pairs::{each, half, poll_once},
    verbs::{READERS, Verb, WRITERS},
    within::{run_within, within},
};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_borrowed_descriptor_outlives_the_socket_however_it_ends() {
    run_within(|| async {
        let (mut peer, owner) = pair();
        // SAFETY: `owner` lives to the end of the test.
        let borrow = || unsafe { AsyncSocket::borrow_raw(owner.as_raw_fd()).unwrap() };
        let dropped = borrow();
        dropped.send_all(b"1").await.unwrap();
        drop(dropped);
        let closed = borrow();
        closed.send_msg(b"").await.unwrap();
        closed.close().await.unwrap();
        assert_ne!(closed.as_fd().as_raw_fd(), owner.as_raw_fd(), "it lets go of the number");
        assert!(asyncoro::error::is_closed(&closed.send(b"2").await.unwrap_err()));
        let refused = borrow().into_parts().await.unwrap_err();
        assert_eq!(refused.error.kind(), io::ErrorKind::InvalidInput);
        let blocking = refused.socket.into_blocking().await.unwrap();
        blocking.send_all(b"3").unwrap();
        drop(blocking);
        (&owner).write_all(b"4").unwrap();
        let mut got = [0; 7];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"1\0\0\0\x0034");
    });
}

#[test]
fn a_disowned_socket_goes_on_and_leaves_the_descriptor_to_its_new_owner() {
    run_within(|| async {
        let (mut peer, ours) = pair();
        let socket = AsyncSocket::new(ours).unwrap();
        // SAFETY: `owner` lives longer than `socket`.
        let owner = unsafe { socket.disown() }.unwrap();
        // SAFETY: as above.
        assert!(unsafe { socket.disown() }.is_none(), "it has an owner already");
        peer.write_all(b"abc").unwrap();
        assert_eq!(socket.recv_all_bytes(3).await.unwrap(), "abc");
        socket.close().await.unwrap();
        drop(socket);
        TcpStream::from(owner).write_all(b"still open").unwrap();
        let mut got = [0; 10];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"still open");
    });
}

#[test]
fn around_waits_tells_of_each_real_wait_and_of_no_other() {
    within(|| {
        let count = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let told = |which: usize| {
            let count = Arc::clone(&count);
            move || {
                let before = count[1 - which].load(Ordering::Relaxed);
                let now = count[which].fetch_add(1, Ordering::Relaxed);
                assert_eq!(now + which, before, "they alternate");
            }
        };
        let builder = AsynCoro::builder().around_waits(told(0), told(1));
        let scheduler = builder.build().unwrap();
        scheduler.enter(async {
            for _ in 0..1000 {
                asyncoro::coro::yield_now().await;
            }
        });
        assert_eq!(count[0].load(Ordering::Relaxed), 0, "nobody has waited");
        scheduler.enter(sleep(Duration::from_millis(5)));
        let waits = count[0].load(Ordering::Relaxed);
        assert!(waits > 0);
        assert_eq!(waits, count[1].load(Ordering::Relaxed));
    });
}

#[test]
fn around_queueing_tells_of_the_first_bytes_of_a_turn_and_of_their_end() {
    within(|| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let tell = |what: &'static str| {
            let seen = Arc::clone(&seen);
            move || seen.lock().unwrap().push(what)
        };
        let builder = AsynCoro::builder().around_queueing(tell("first"), tell("sent"));
        let scheduler = builder.build().unwrap();
        let (mut peer, ours) = pair();
        let (_other_peer, other) = pair();
        scheduler.enter(async {
            let (socket, other) =
                (AsyncSocket::new(ours).unwrap(), AsyncSocket::new(other).unwrap());
            socket.send_queued(b"a").await.unwrap();
            socket.send_queued(b"b").await.unwrap();
            other.send_queued(b"c").await.unwrap();
            tell("still in the turn")();
            sleep(Duration::from_millis(1)).await;
            tell("next turn")();
            socket.send_all(b"d").await.unwrap();
            let mut got = [0; 3];
            peer.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"abd");
        });
        let expected = ["first", "still in the turn", "sent", "next turn"];
        // The last is sent at once: nothing of it is queued.
        assert_eq!(*seen.lock().unwrap(), expected);
    });
}

#[test]
fn flush_queued_sends_in_the_midst_of_a_turn_what_the_system_takes() {
    within(|| {
        let scheduler = Rc::new(AsynCoro::builder().build().unwrap());
        let (mut peer, ours) = pair();
        scheduler.enter(async {
            let socket = AsyncSocket::new(ours).unwrap();
            socket.send_queued(b"queued").await.unwrap();
            assert!(scheduler.flush_queued());
            let mut got = [0; 6];
            peer.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"queued");
            assert!(scheduler.flush_queued(), "there is nothing");

            // The system takes no more, until the peer reads: no coroutine is resumed meanwhile.
            while socket.try_send(&[0; 1 << 16]).is_ok() {}
            socket.send_queued(b"end").await.unwrap();
            assert!(!scheduler.flush_queued());
            peer.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            let mut last = Vec::new();
            while !last.ends_with(b"end") {
                let mut got = vec![0; 1 << 20];
                let read = peer.read(&mut got).unwrap_or(0);
                last.extend_from_slice(&got[..read]);
                last.drain(..last.len().saturating_sub(3));
                scheduler.flush_queued();
            }
            assert!(scheduler.flush_queued());
        });
    });
}

#[test]
fn flush_queued_may_be_called_wherever_foreign_code_runs() {
    within(|| {
        let scheduler = Rc::new(AsynCoro::builder().build().unwrap());
        let (mut peer, ours) = pair();
        scheduler.enter(async {
            let socket = AsyncSocket::new(ours).unwrap();
            let mut sent = |what: &[u8]| {
                assert!(scheduler.flush_queued());
                let mut got = [0; 3];
                peer.read_exact(&mut got).unwrap();
                assert_eq!(&got, what);
                peer.write_all(b"x").unwrap();
            };
            let flushes = || Asks(Rc::clone(&scheduler), [MaybeUninit::uninit()]);
            socket.send_queued(b"one").await.unwrap();
            sent(b"one");
            socket.send_queued(b"two").await.unwrap();
            socket.recv_with(|_| sent(b"two")).await.unwrap();
            socket.send_queued(b"six").await.unwrap();
            let memory = || {
                sent(b"six");
                flushes()
            };
            socket.recv_uninit(memory).await.unwrap();
            socket.send_queued(b"ten").await.unwrap();
            // Dropped in the coroutine that sends, and in one that is ended.
            drop(Flushes(flushes()));
            let other = Flushes(flushes());
            asyncoro::spawn(async move {
                let _other = other;
                std::future::pending::<()>().await;
            })
            .terminate();
            socket.send_queued(b"two").await.unwrap();
            sleep(Duration::from_millis(1)).await;
            let mut got = [0; 6];
            peer.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"tentwo");
        });
    });
}

/// Memory that has the scheduler flush when it is asked for.
struct Asks(Rc<Scheduler>, [MaybeUninit<u8>; 1]);

impl AsMut<[MaybeUninit<u8>]> for Asks {
    fn as_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        self.0.flush_queued();
        &mut self.1
    }
}

/// Has the scheduler flush when it is dropped.
struct Flushes(Asks);

impl Drop for Flushes {
    fn drop(&mut self) {
        self.0.as_mut();
    }
}

extern "C" fn nothing(_: libc::c_int) {}

/// Interrupts a thread that waits in `verb` until its check ends the verb.
fn ends_by_signal(verb: impl FnOnce(&BlockingSocket) -> io::Error + Send + 'static) {
    within(move || {
        let handler = nothing as extern "C" fn(libc::c_int);
        // SAFETY: the handler does nothing, which is safe in any thread at any time.
        unsafe { libc::signal(libc::SIGUSR2, handler as libc::sighandler_t) };
        let (_peer, ours) = pair();
        let socket = BlockingSocket::new(ours).unwrap();
        let (done, is_done) = mpsc::channel();
        let waiting = thread::spawn(move || {
            let count = Arc::new(AtomicUsize::new(0));
            BlockingSocket::on_interrupt(move || match count.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(()),
                _ => Err(io::Error::other("asked twice")),
            });
            let error = verb(&socket);
            done.send(()).unwrap();
            error
        });
        while is_done.recv_timeout(Duration::from_millis(5)).is_err() {
            // SAFETY: the thread is not joined yet, so its id is valid.
            unsafe { libc::pthread_kill(waiting.as_pthread_t(), libc::SIGUSR2) };
        }
        assert_eq!(waiting.join().unwrap().to_string(), "asked twice");
    });
}

#[test]
fn a_signal_ends_a_blocking_verb_if_whoever_is_asked_says_so() {
    ends_by_signal(|socket| socket.recv(&mut [0; 9]).unwrap_err());
    ends_by_signal(|socket| socket.recv_msg().unwrap_err());
    ends_by_signal(|socket| socket.send_all(&vec![0; 64 << 20]).unwrap_err());
}

#[test]
fn a_signal_ends_each_blocking_verb_if_whoever_is_asked_says_so() {
    for &verb in READERS {
        ends_by_signal(move |socket| (verb.block)(socket, &[]).unwrap_err());
    }
    // These two wait for nothing but what is queued.
    let waits = |verb: &&Verb| !["flush", "shutdown"].contains(&verb.name);
    for &verb in WRITERS.iter().filter(waits) {
        ends_by_signal(move |socket| {
            loop {
                while socket.try_send(&[0; 4096]).is_ok() {}
                // Some more room may come by itself.
                if let Err(error) = (verb.block)(socket, &[0; 4096]) {
                    break error;
                }
            }
        });
    }
}

#[test]
fn a_thread_in_line_for_its_turn_is_asked_too() {
    ends_by_signal(|socket| {
        let other = socket.clone();
        let (started, has_started) = mpsc::channel();
        thread::spawn(move || {
            started.send(()).unwrap();
            let _ = other.recv(&mut [0; 9]);
        });
        has_started.recv().unwrap();
        let error = socket.recv(&mut [0; 9]).unwrap_err();
        // Lets the other one go.
        socket.close().unwrap();
        error
    });
}

/// Returns the bytes that `recv_uninit` has initialised.
pub(crate) fn taken((memory, count): (Box<[MaybeUninit<u8>]>, usize)) -> Vec<u8> {
    // SAFETY: so says the verb.
    memory[..count].iter().map(|byte| unsafe { byte.assume_init() }).collect()
}

#[test]
fn recv_uninit_asks_for_memory_when_there_is_something_to_receive() {
    each(async |kind| {
        let (socket, mut peer) = half(kind);
        let made = Cell::new(0);
        let make = || {
            made.set(made.get() + 1);
            Box::<[u8]>::new_uninit_slice(2)
        };
        {
            let mut waiting = pin!(socket.recv_uninit(make));
            assert!(poll_once(waiting.as_mut()).is_pending());
            made.set(0);
            assert!(poll_once(waiting.as_mut()).is_pending());
            assert_eq!(made.get(), 0, "a verb that waits has no memory");
            peer.write_all(b"abcde").unwrap();
            assert_eq!(taken(waiting.await.unwrap()), b"ab");
        }
        // What was read ahead comes the same way, with nothing of what follows.
        assert_eq!(socket.recv_all_bytes(1).await.unwrap(), "c");
        assert_eq!(taken(socket.recv_uninit(make).await.unwrap()), b"de");
        drop(peer);
        assert_eq!(taken(socket.recv_uninit(make).await.unwrap()), b"");
    });
}

#[test]
fn recv_uninit_of_a_thread_waits_for_something_to_receive() {
    within(|| {
        let (mut peer, socket) = pair();
        let socket = BlockingSocket::new(socket).unwrap();
        let reader = socket.clone();
        let make = || Box::<[u8]>::new_uninit_slice(2);
        let waiting = thread::spawn(move || taken(reader.recv_uninit(make).unwrap()));
        peer.write_all(b"ab").unwrap();
        assert_eq!(waiting.join().unwrap(), b"ab");
        peer.write_all(b"cde").unwrap();
        assert_eq!(socket.recv_all_bytes(1).unwrap(), "c");
        assert_eq!(taken(socket.recv_uninit(make).unwrap()), b"de");
        drop(peer);
        assert_eq!(taken(socket.recv_uninit(make).unwrap()), b"");
    });
}
