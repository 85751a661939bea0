//! Large amounts of bytes, connections and messages, and things that must cost nothing. Peers are
//! sockets of the standard library. Resources of a process are measured in a process of its own.

use std::{
    cell::Cell,
    env, fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Command, Stdio},
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use asyncoro::{
    AsynCoro, AsyncSocket,
    error::{Incomplete, MessageTooLong},
    time::{sleep, timeout},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    bounded::run,
    pairs::{KINDS, Kind, each, half, inner, pair, pattern, reset, settle},
    programs::skipped,
    within::within,
};

/// The environment variable that names the part that this process plays.
const PART: &str = "ASYNCORO_TEST_PART";

/// Runs `part` in a process of its own, which is started with this test only.
fn in_own_process(test: &str, part: impl FnOnce() + Send + 'static) {
    if env::var(PART).is_ok_and(|own| own == test) {
        return within(part);
    }
    within(again(test, test));
}

/// Runs a test of this file in a process that plays a part, and checks that it succeeds.
fn again(test: &str, part: &str) -> impl FnOnce() + Send + 'static {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([&format!("heavy_load::{test}"), "--exact", "--nocapture"]).env(PART, part);
    let part = part.to_owned();
    move || {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{part}: {}\n{text}\n{errors}", output.status);
        assert!(text.contains("1 passed"), "{part}: no such test\n{text}");
    }
}

async fn server() -> (AsyncSocket, SocketAddr) {
    let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().socket_addr().unwrap();
    (server, address)
}

#[test]
fn full_duplex_100_mb_each_way() {
    each(async |kind| {
        let total = if kind == Kind::Tcp4 { 100_000_000 } else { 5_000_000 };
        let pattern: Arc<[u8]> = pattern(total).into();
        let theirs = Arc::clone(&pattern);
        let (socket, mut reader) = half(kind);
        let peer = thread::spawn(move || {
            let mut writer = reader.try_clone().unwrap();
            let bytes = Arc::clone(&theirs);
            let writing = thread::spawn(move || writer.write_all(&bytes).unwrap());
            let mut buffer = vec![0; 1 << 18];
            let mut got = 0;
            while got < total {
                let count = reader.read(&mut buffer).unwrap();
                assert!(count > 0 && buffer[..count] == theirs[got..got + count], "after {got}");
                got += count;
            }
            writing.join().unwrap();
        });
        let (writer, bytes) = (socket.clone(), Arc::clone(&pattern));
        let writing = asyncoro::spawn(async move { writer.send_all(&bytes).await });
        let mut got = 0;
        while got < total {
            let right = |bytes: &[u8]| {
                (bytes.len(), !bytes.is_empty() && *bytes == pattern[got..got + bytes.len()])
            };
            let (count, is_right) = socket.recv_with(right).await.unwrap();
            assert!(is_right, "after {got}");
            got += count;
        }
        writing.await.unwrap().unwrap();
        asyncoro::pool::run(move || peer.join().unwrap()).await;
    });
}

#[test]
fn two_coroutines_send_10000_messages_each_on_one_socket() {
    each(async |kind| {
        let count = if kind == Kind::Tcp4 { 10_000 } else { 2_000 };
        let (socket, mut far) = half(kind);
        let peer = thread::spawn(move || {
            let mut bytes = Vec::new();
            far.read_to_end(&mut bytes).unwrap();
            let mut next = [0, 0];
            let mut rest = &bytes[..];
            while let Some((header, after)) = rest.split_first_chunk::<4>() {
                let (payload, after) = after.split_at(u32::from_be_bytes(*header) as usize);
                let (start, filling) = payload.split_at(5);
                let who = usize::from(start[0]);
                let number = u32::from_be_bytes(start[1..].try_into().unwrap());
                assert_eq!(number, next[who], "in order");
                assert_eq!(filling.len(), length(number));
                assert!(filling.iter().all(|byte| *byte == start[0]), "whole");
                next[who] += 1;
                rest = after;
            }
            assert_eq!((rest.len(), next), (0, [count; 2]));
        });
        let senders = [0, 1].map(|who| {
            let socket = socket.clone();
            asyncoro::spawn(async move {
                for number in 0..count {
                    let mut message = vec![who];
                    message.extend_from_slice(&number.to_be_bytes());
                    message.resize(5 + length(number), who);
                    socket.send_msg(&message).await.unwrap();
                }
            })
        });
        for sender in senders {
            sender.await.unwrap();
        }
        socket.close().await.unwrap();
        asyncoro::pool::run(move || peer.join().unwrap()).await;
    });
}

/// Returns the length of a message: small, and now and then more than the queue takes.
fn length(number: u32) -> usize {
    if number % 1000 == 999 { 100_000 } else { (number % 500) as usize }
}

const CONNECTIONS: usize = 19_000;

#[test]
fn one_process_holds_19000_connections() {
    const OWN: &str = "one_process_holds_19000_connections";
    let limits = getrlimit(Resource::Nofile);
    let needed = CONNECTIONS as u64 + 500;
    if limits.maximum.is_some_and(|most| most < needed) {
        skipped(format_args!("a process may open {:?} files, not {needed}", limits.maximum));
        return;
    }
    match env::var(PART) {
        Ok(part) if part == OWN => {
            raise(limits);
            within(|| run(serve_many()));
        }
        Ok(part) => {
            raise(limits);
            within(move || connect_many(part.parse().unwrap()));
        }
        Err(_) => within(again(OWN, OWN)),
    }
}

/// Raises a limit as far as the system allows.
fn raise(limits: Rlimit) {
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).unwrap();
}

async fn serve_many() {
    let (server, address) = server().await;
    let client = again("one_process_holds_19000_connections", &address.to_string());
    let client = asyncoro::spawn(asyncoro::pool::run(client));
    let (open, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let mut connections = Vec::new();
    while connections.len() < CONNECTIONS {
        let (socket, _) = server.accept().await.unwrap();
        let (open, most) = (Rc::clone(&open), Rc::clone(&most));
        connections.push(asyncoro::spawn(async move {
            open.set(open.get() + 1);
            most.set(most.get().max(open.get()));
            while let Some(message) = socket.recv_msg().await.unwrap() {
                socket.send_msg(&message).await.unwrap();
            }
            open.set(open.get() - 1);
        }));
    }
    for connection in connections {
        connection.await.unwrap();
    }
    assert_eq!((open.get(), most.get()), (0, CONNECTIONS));
    client.await.unwrap();
}

fn connect_many(server: SocketAddr) {
    let connect = |index: usize| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        // Several addresses, so that there are ports enough, also right after another run.
        let own = SocketAddr::from(([127, 0, 0, 2 + (index % 64) as u8], 0));
        socket.bind(&own.into()).unwrap();
        socket.connect(&server.into()).unwrap();
        TcpStream::from(socket)
    };
    let mut sockets: Vec<TcpStream> = (0..CONNECTIONS).map(connect).collect();
    for (index, socket) in (0_u32..).zip(&mut sockets) {
        let mut message = *b"\0\0\0\x04....";
        message[4..].copy_from_slice(&index.to_be_bytes());
        socket.write_all(&message).unwrap();
    }
    for (index, socket) in (0_u32..).zip(&mut sockets) {
        let mut message = [0; 8];
        socket.read_exact(&mut message).unwrap();
        assert_eq!(
            (&message[..4], &message[4..]),
            (&4_u32.to_be_bytes()[..], &index.to_be_bytes()[..])
        );
    }
}

#[test]
fn a_header_of_ffffffff_is_an_error_and_grows_nothing() {
    in_own_process("a_header_of_ffffffff_is_an_error_and_grows_nothing", || {
        each(async |kind| {
            let (socket, mut peer) = half(kind);
            // The buffers that every receive uses are there.
            peer.write_all(b"\0\0\0\x01x").unwrap();
            assert_eq!(socket.recv_msg().await.unwrap().unwrap(), "x");
            let before = most_memory();
            peer.write_all(&[0xff; 1000]).unwrap();
            for _ in 0..100 {
                let error = socket.recv_msg().await.unwrap_err();
                let told = inner::<MessageTooLong>(&error);
                assert_eq!(told, Some(&MessageTooLong { len: 0xffff_ffff, limit: 64 << 20 }));
            }
            // Where the limit allows it, too, memory grows with what has come and not before.
            socket.set_message_limit(usize::MAX);
            peer.shutdown(Shutdown::Write).unwrap();
            let error = socket.recv_msg().await.unwrap_err();
            let told = inner::<Incomplete>(&error);
            assert_eq!(told, Some(&Incomplete { got: 996, expected: 0xffff_ffff }));
            let grown = most_memory().saturating_sub(before);
            // AddressSanitizer keeps what was freed for a while.
            let bound = if cfg!(asan) { 64 << 20 } else { 4 << 20 };
            assert!(grown < bound, "memory has grown by {grown} bytes");
        });
    });
}

/// Returns the peak memory of this process, in bytes.
fn most_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: usize = line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap();
    kilobytes << 10
}

#[test]
fn a_connection_reset_while_idle_costs_nothing() {
    in_own_process("a_connection_reset_while_idle_costs_nothing", || {
        run(async {
            let mut idle = Vec::new();
            for kind in KINDS.iter().copied() {
                for is_reset in [true, false] {
                    let (socket, peer) = pair(kind);
                    // The driver watches it from here on, and nobody waits any more.
                    let waiting = timeout(Duration::from_millis(1), socket.recv_msg()).await;
                    waiting.unwrap_err();
                    if is_reset {
                        reset(kind, &socket, peer);
                    } else {
                        socket.shutdown(Shutdown::Write).await.unwrap();
                        drop(peer);
                    }
                    idle.push((kind, is_reset, socket));
                }
            }
            settle().await;
            let (turns, time) = (AsynCoro::current().statistics().turns, processor_time());
            sleep(Duration::from_millis(300)).await;
            let turns = AsynCoro::current().statistics().turns - turns;
            let time = processor_time() - time;
            assert!(turns < 100, "{turns} turns while nothing was to be done");
            // A loop that is busy takes all 300 ms.
            assert!(time < Duration::from_millis(100), "{time:?} of processor time");
            for (kind, is_reset, socket) in idle {
                match socket.recv_msg().await {
                    Ok(end) => assert!(!is_reset && end.is_none(), "{kind:?}"),
                    Err(error) => {
                        let code = std::io::ErrorKind::ConnectionReset;
                        assert!(is_reset && error.kind() == code, "{kind:?}: {error}");
                    }
                }
            }
        });
    });
}

/// Returns the processor time of this process so far, to 10 ms.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

#[test]
fn a_message_of_many_megabytes_in_small_pieces_arrives() {
    each(async |kind| {
        let (socket, mut far) = half(kind);
        let peer = thread::spawn(move || {
            let payload = pattern(3 << 20);
            far.write_all(&(payload.len() as u32).to_be_bytes()).unwrap();
            payload.chunks(1447).for_each(|piece| far.write_all(piece).unwrap());
        });
        assert!(socket.recv_msg().await.unwrap().unwrap() == pattern(3 << 20));
        assert_eq!(socket.recv_msg().await.unwrap(), None);
        asyncoro::pool::run(move || peer.join().unwrap()).await;
    });
}

#[test]
fn send_vectored_of_more_parts_than_one_call_takes_goes_on() {
    each(async |kind| {
        let (near, far) = pair(kind);
        let parts = [&b"x"[..]; 40];
        assert_eq!(near.send_vectored(&parts).await.unwrap(), 16);
        assert_eq!(near.send_vectored(&parts).await.unwrap(), 16);
        near.send_msg(b"m").await.unwrap();
        assert_eq!(near.send_vectored(&parts).await.unwrap(), 16);
        near.send_all(b"end").await.unwrap();
        assert_eq!(far.recv_all_bytes(32 + 5 + 16 + 3).await.unwrap().len(), 56);
    });
}
