//! Rare errors of system calls, injected by strace(1). What each means is in
//! `src/sys/errno.rs`.
//!
//! A test runs this binary again under strace, with that test only and with errors injected.

use std::{
    env, fs,
    io::{self, ErrorKind},
    net::{TcpStream, UdpSocket},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use asyncoro::{AsyncSocket, BlockingSocket, DatagramBatch, time::timeout};

use crate::{
    pairs::{KINDS, Kind, blocking_pair, bounded, each_at_once, run},
    programs,
};

/// The environment variable that is set in the process whose system calls fail.
const INSIDE: &str = "ASYNCORO_TEST_INJECTED";

/// Runs `test` under strace, once for each of `errors`, which `calls` return; returns how many
/// calls were made in each run.
fn injected(
    name: &str,
    calls: &str,
    errors: &[&str],
    when: &str,
    test: impl FnOnce(),
) -> Option<Vec<usize>> {
    if env::var_os(INSIDE).is_some() {
        test();
        return None;
    }
    let strace = programs::tool("strace")?;
    let program = strace.get_program().to_owned();
    let counts = errors.iter().map(|error| {
        let log = env::temp_dir().join(format!(
            "asyncoro-injected-{}-{error}-{}",
            name.replace("::", "-"),
            std::process::id()
        ));
        let mut command = Command::new("timeout");
        command.arg("30").arg(&program).args(["-f", "-qq", "-o"]).arg(&log);
        command.args(["-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:error={error}:when={when}")]);
        command.arg(env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
        let output = command.env(INSIDE, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{error}: {text}\n{said}");
        let trace = fs::read_to_string(&log).unwrap();
        fs::remove_file(&log).unwrap();
        trace.lines().filter(|line| line.contains("(INJECTED)")).count()
    });
    Some(counts.collect())
}

/// Makes two sockets that other threads have connected: strace counts calls by thread, so that
/// errors begin with what is sent on them.
fn pair(kind: Kind) -> (BlockingSocket, BlockingSocket) {
    thread::spawn(move || blocking_pair(kind)).join().unwrap()
}

const SENDS: &str = "sendto,sendmsg,sendmmsg";
const RECEIVES: &str = "recvfrom,recvmsg,recvmmsg";

#[test]
fn a_message_that_finds_no_memory_leaves_at_the_end_of_a_pause() {
    let name = "injected::a_message_that_finds_no_memory_leaves_at_the_end_of_a_pause";
    let counts = injected(name, SENDS, &["ENOBUFS", "ENOMEM"], "1..4", || {
        each_at_once(async |kind| {
            let (near, far) = pair(kind);
            let near = near.into_async().unwrap();
            // Nobody waits for it but the peer.
            near.send_msg(b"reply").await.unwrap();
            let reading = asyncoro::pool::run(move || far.recv_msg().unwrap().unwrap()).await;
            assert_eq!(reading, "reply");
        });
    });
    // Four for each message, and those of handshakes.
    let each = 4 * KINDS.len();
    assert!(counts.is_none_or(|counts| counts.iter().all(|&count| count >= each)));
}

#[test]
fn a_queue_that_finds_no_memory_is_sent_before_the_scheduler_ends() {
    let name = "injected::a_queue_that_finds_no_memory_is_sent_before_the_scheduler_ends";
    injected(name, SENDS, &["ENOBUFS"], "1..3", || {
        for kind in KINDS.iter().copied() {
            for drops in [true, false] {
                bounded(move || {
                    println!("{kind:?}, {drops}");
                    let (near, far) = pair(kind);
                    asyncoro::run(async move {
                        let near = near.into_async().unwrap();
                        near.send_msg(b"reply").await.unwrap();
                        if !drops {
                            near.close().await.unwrap();
                        }
                    });
                    assert_eq!(far.recv_msg().unwrap().unwrap(), "reply");
                });
            }
        }
    });
}

/// Sends and receives with each verb, on both faces.
fn move_bytes() {
    each_at_once(move_bytes_of_a_stream);
    each_at_once(async |kind| move_bytes_of_a_stream_in_threads(kind));
    run(async || {
        let near = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let far = AsyncSocket::create_datagram("127.0.0.1:0").await.unwrap();
        let to = far.local_addr().unwrap();
        near.send_to(b"one", &to).await.unwrap();
        assert_eq!(far.recv_from(&mut [0; 8]).await.unwrap().0, 3);
        let batch = [("two", to.clone()), ("three", to)];
        assert_eq!(near.send_batch(&batch).await.unwrap(), 2);
        let (mut room, mut got) = (DatagramBatch::new(8, 64), 0);
        while got < 2 {
            got += far.recv_batch(&mut room).await.unwrap();
        }
    });
    bounded(|| {
        let near = BlockingSocket::create_datagram("127.0.0.1:0").unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = asyncoro::Address::from(far.local_addr().unwrap());
        near.send_to(b"one", &to).unwrap();
        near.send_batch(&[("two", to.clone()), ("three", to)]).unwrap();
    });
}

async fn move_bytes_of_a_stream(kind: Kind) {
    let (near, far) = pair(kind);
    let (near, far) = (near.into_async().unwrap(), far.into_async().unwrap());
    let big = vec![7; 200_000];
    let (reader, long) = (far.clone(), big.len());
    let reading = asyncoro::spawn(async move {
        assert_eq!(reader.recv_bytes(3).await.unwrap(), "abc");
        assert_eq!(reader.recv_all_bytes(long).await.unwrap().len(), long);
        assert_eq!(reader.recv_msg().await.unwrap().unwrap(), "small");
        assert_eq!(reader.recv_msg().await.unwrap().unwrap().len(), long);
        assert_eq!(reader.recv_until(b"\n", 100).await.unwrap(), "line\n");
        let mut rest = [0; 4];
        reader.recv_all(&mut rest).await.unwrap();
        let make = || Box::<[u8]>::new_uninit_slice(8);
        assert_eq!(reader.recv_uninit(make).await.unwrap().1, 1);
        reader.send_all(b"!").await.unwrap();
    });
    near.send_all(b"abc").await.unwrap();
    near.send_all(&big).await.unwrap();
    near.send_msg(b"small").await.unwrap();
    near.send_msg(&big).await.unwrap();
    near.send_queued(b"line\n").await.unwrap();
    near.send_vectored(&[b"re", b"st"]).await.unwrap();
    near.flush().await.unwrap();
    near.send(b"x").await.unwrap();
    assert_eq!(near.recv(&mut [0; 8]).await.unwrap(), 1);
    reading.await.unwrap();
}

fn move_bytes_of_a_stream_in_threads(kind: Kind) {
    let (near, far) = pair(kind);
    let reader = thread::spawn(move || {
        assert_eq!(far.recv_msg().unwrap().unwrap(), "small");
        assert_eq!(far.recv_all_bytes(3).unwrap(), "abc");
        let make = || Box::<[u8]>::new_uninit_slice(8);
        assert_eq!(far.recv_uninit(make).unwrap().1, 1);
        far.send_all(b"!").unwrap();
    });
    near.send_msg(b"small").unwrap();
    near.send_all(b"abc").unwrap();
    near.send(b"x").unwrap();
    assert_eq!(near.recv(&mut [0; 8]).unwrap(), 1);
    reader.join().unwrap();
}

#[test]
fn a_send_that_finds_no_memory_or_a_signal_is_made_again_by_every_verb() {
    let name = "injected::a_send_that_finds_no_memory_or_a_signal_is_made_again_by_every_verb";
    injected(name, SENDS, &["ENOBUFS", "ENOMEM", "EINTR"], "1+2", move_bytes);
}

/// The system has no memory for records that TLS has sealed already, and no event reports memory.
#[cfg(feature = "tls")]
#[test]
fn a_record_that_finds_no_memory_leaves_at_the_end_of_a_pause() {
    use crate::pairs::pair;
    let name = "injected::a_record_that_finds_no_memory_leaves_at_the_end_of_a_pause";
    injected(name, SENDS, &["ENOBUFS", "ENOMEM"], "5+3", || {
        for kind in [Kind::Tls, Kind::Tls12] {
            run(async move || {
                let (near, far) = pair(kind);
                let sending = asyncoro::spawn(async move {
                    near.send_all(&[7; 300_000]).await.unwrap();
                    near.send_msg(&[7; 300_000]).await.unwrap();
                    near
                });
                assert_eq!(far.recv_all_bytes(300_000).await.unwrap().len(), 300_000);
                assert_eq!(far.recv_msg().await.unwrap().unwrap().len(), 300_000);
                let near = sending.await.unwrap().into_blocking().await.unwrap();
                let sending = thread::spawn(move || {
                    near.send_all(&[7; 300_000]).unwrap();
                    near.send_msg(&[7; 300_000]).unwrap();
                });
                assert_eq!(far.recv_all_bytes(300_000).await.unwrap().len(), 300_000);
                assert_eq!(far.recv_msg().await.unwrap().unwrap().len(), 300_000);
                sending.join().unwrap();
            });
        }
    });
}

#[test]
fn a_receive_that_finds_no_memory_or_a_signal_is_made_again_by_every_verb() {
    let name = "injected::a_receive_that_finds_no_memory_or_a_signal_is_made_again_by_every_verb";
    injected(name, RECEIVES, &["ENOBUFS", "ENOMEM", "EINTR"], "1+2", move_bytes);
}

#[test]
fn a_lack_of_memory_that_lasts_is_bounded_by_the_timeout_and_does_not_spin() {
    let name = "injected::a_lack_of_memory_that_lasts_is_bounded_by_the_timeout_and_does_not_spin";
    const LONG: Duration = Duration::from_millis(200);
    // A handshake needs no more than three calls of a thread.
    let counts = injected(name, SENDS, &["ENOBUFS"], "4+", || {
        each_at_once(async |kind| {
            let (near, _far) = pair(kind);
            let near = near.into_async().unwrap();
            for _ in 0..3 {
                near.send_all(b"x").await.unwrap();
            }
            near.set_timeout(Some(LONG));
            let before = Instant::now();
            let error = near.send_all(b"x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(before.elapsed() >= LONG);
            let (near, _far) = pair(kind);
            near.set_timeout(Some(LONG));
            let before = Instant::now();
            assert_eq!(near.send_all(b"x").unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(before.elapsed() >= LONG);
        });
    });
    // 10 pauses fit into each of the two waits; what comes with registering, and with the end of
    // TLS, is in the rest.
    let each = KINDS.len();
    let all = counts.map_or(4 * each, |counts| counts[0]);
    assert!((4 * each..=100 * each).contains(&all), "{all} calls");
}

#[test]
fn no_error_of_a_connection_ends_accept() {
    let name = "injected::no_error_of_a_connection_ends_accept";
    let errors = [
        "ECONNABORTED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENONET",
        "ENOPROTOOPT",
        "EOPNOTSUPP",
        "EPERM",
        "EPROTO",
        "ETIMEDOUT",
        "EINTR",
        "ENOBUFS",
        "ENOMEM",
        "EMFILE",
        "ENFILE",
    ];
    injected(name, "accept4", &errors, "1..2", || {
        let accepted = |server: std::net::SocketAddr| {
            thread::spawn(move || TcpStream::connect(server).unwrap())
        };
        run(async move || {
            let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap().socket_addr().unwrap();
            for _ in 0..2 {
                let client = accepted(address);
                server.accept().await.unwrap();
                client.join().unwrap();
            }
        });
        bounded(move || {
            let server = BlockingSocket::create_server("127.0.0.1:0").unwrap();
            let address = server.local_addr().unwrap().socket_addr().unwrap();
            for _ in 0..2 {
                let client = accepted(address);
                server.accept().unwrap();
                client.join().unwrap();
            }
        });
    });
}

#[test]
fn an_error_that_each_accept_gives_does_not_spin() {
    let name = "injected::an_error_that_each_accept_gives_does_not_spin";
    let counts = injected(name, "accept4", &["EPERM"], "1+", || {
        run(async || {
            let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
            timeout(Duration::from_millis(200), server.accept()).await.unwrap_err();
        });
    });
    // 64 in a row, then a pause of 20 ms, and so on.
    assert!(counts.is_none_or(|counts| (64..=64 * 14).contains(&counts[0])));
}

#[test]
fn other_errors_of_accept_are_told() {
    let name = "injected::other_errors_of_accept_are_told";
    injected(name, "accept4", &["EINVAL", "ENOTSOCK"], "1+", || {
        run(async || {
            let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
            let told: io::Error = server.accept().await.unwrap_err();
            assert!(told.raw_os_error().is_some(), "{told}");
        });
    });
}
