//! Hostile TLS peers must not delay the other connections of a scheduler; each test has a process
//! of its own. Bounds are in seconds; `cargo test tls::attacks -- --nocapture` prints figures.

use std::{
    collections::VecDeque,
    env,
    future::Future,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use asyncoro::{
    AsyncSocket, BlockingSocket, ClientTls, Tls, TlsVersion, coro, signal, time::timeout,
};
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};
use socket2::SockRef;

use super::{
    VERSIONS, each_version, echo, echo_blocking, listening, listening_blocking,
    records::{Identity, Peer, Sealer},
};
use crate::{
    pairs::{LIMIT, assert_closed, bounded, run},
    programs::Program,
};

/// The environment variable that names the test that this process runs.
const PART: &str = "ASYNCORO_TEST_PART";

/// Runs `test`, the test of this name, for each version in turn, in a process of its own.
fn each_version_alone<F: Future<Output = ()>>(
    name: &str,
    test: impl Fn(TlsVersion) -> F + Send + Copy + 'static,
) {
    if is_own_process(name) {
        for version in VERSIONS {
            // The last one is that of a failure.
            println!("figure: {version}");
            run(move || test(version));
        }
    }
}

/// Tells whether this is the process of the test; if not, starts that process, waits for it, and
/// prints its output.
fn is_own_process(test: &str) -> bool {
    if env::var(PART).is_ok_and(|own| own == test) {
        return true;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([&format!("tls::attacks::{test}"), "--exact", "--nocapture"]).env(PART, test);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    assert!(text.contains("1 passed"), "no such test\n{text}");
    text.lines().filter(|line| line.starts_with("figure")).for_each(|line| println!("{line}"));
    false
}

/// Endless records without content.
#[derive(Clone, Copy, Debug)]
enum Flood {
    /// Empty records and KeyUpdate alternately; rustls refuses many of either alone.
    Keys,
    /// Session tickets, which a server may send at any time.
    Tickets,
    /// Empty records, and a byte of content as often as rustls requires. TLS 1.2 has no record
    /// without content that may be repeated forever.
    Thin,
}

impl Flood {
    fn of(version: TlsVersion) -> &'static [Flood] {
        match version {
            TlsVersion::V1_2 => &[Flood::Thin],
            _ => &[Flood::Keys, Flood::Tickets],
        }
    }

    /// Makes a socket and the peer that will flood it.
    fn ends(self, identity: &Arc<Identity>) -> (BlockingSocket, Peer) {
        if matches!(self, Flood::Tickets) { client(identity) } else { server(identity) }
    }

    /// Makes some of the records.
    fn some(self, sealer: &mut Sealer) -> Vec<u8> {
        let mut some = Vec::new();
        while some.len() < 32 << 10 {
            match self {
                Flood::Keys => {
                    some.extend(sealer.data(b""));
                    some.extend(sealer.key_update());
                }
                Flood::Tickets => some.extend(sealer.ticket()),
                Flood::Thin => {
                    (0..32).for_each(|_| some.extend(sealer.data(b"")));
                    some.extend(sealer.data(b"\0"));
                }
            }
        }
        some
    }

    /// Sends the flood until the other end is closed or the result is dropped.
    fn begin(self, mut peer: Peer) -> Flooding {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopping, counting) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                let some = self.some(&mut peer.sealer);
                if peer.stream.write_all(&some).is_err() {
                    break;
                }
                counting.fetch_add(some.len() as u64, Ordering::Relaxed);
            }
        });
        Flooding { stop, sent, thread: Some(thread), begun: Instant::now() }
    }

    /// Returns a timeout that only content resets.
    fn timeout(self) -> Duration {
        if matches!(self, Flood::Thin) { LIMIT / 2 } else { Duration::from_millis(100) }
    }

    /// Checks the result of a verb with [`Flood::timeout`].
    #[track_caller]
    fn judge(self, outcome: io::Result<()>) {
        match (self, outcome) {
            (Flood::Thin, outcome) => outcome.unwrap(),
            (_, outcome) => {
                let error = outcome.expect_err("there is no content");
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{self:?}: {error:?}");
            }
        }
    }
}

/// Makes an accepted socket, and its peer.
pub(super) fn server(identity: &Arc<Identity>) -> (BlockingSocket, Peer) {
    let (listener, port) = listening_blocking(&identity.both().0);
    let identity = Arc::clone(identity);
    let connecting = thread::spawn(move || identity.connect(port));
    let socket = listener.accept().unwrap().0;
    socket.flush().unwrap();
    (socket, connecting.join().unwrap())
}

/// Makes a connected client socket, and its peer.
fn client(identity: &Arc<Identity>) -> (BlockingSocket, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = identity.both().1;
    let identity = Arc::clone(identity);
    let accepting = thread::spawn(move || identity.accept(&listener));
    let socket = BlockingSocket::create_tls_connection(("localhost", port), &client);
    (socket.unwrap(), accepting.join().unwrap())
}

struct Flooding {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    begun: Instant,
}

impl Flooding {
    /// Returns the rate so far, in megabytes per second.
    fn rate(&self) -> u64 {
        self.sent.load(Ordering::Relaxed) / self.begun.elapsed().as_millis().max(1) as u64 / 1000
    }

    fn goes_on(&self) -> bool {
        !self.thread.as_ref().unwrap().is_finished()
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Returns the 99th percentile and the maximum of a proper client's round-trip times.
fn honest(port: u16, questions: usize) -> (Duration, Duration) {
    let socket = BlockingSocket::create_connection(("127.0.0.1", port)).unwrap();
    socket.set_timeout(Some(LIMIT));
    let mut times: Vec<Duration> = (0..questions)
        .map(|_| {
            let begun = Instant::now();
            socket.send_msg(b"question").unwrap();
            assert_eq!(socket.recv_msg().unwrap().unwrap(), "question");
            begun.elapsed()
        })
        .collect();
    socket.close().unwrap();
    times.sort();
    (times[questions * 99 / 100], times[questions - 1])
}

/// More bytes than a flood sends while a test runs.
const MUCH: usize = 1 << 30;

#[test]
fn records_without_content_hold_up_nobody() {
    each_version_alone("records_without_content_hold_up_nobody", async |version| {
        for &flood in Flood::of(version) {
            let identity = Arc::new(Identity::new(version));
            let (socket, peer) = flood.ends(&identity);
            let socket = socket.into_async().unwrap();
            let server = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
            let port = server.local_addr().unwrap().port().unwrap();
            let serving = coro::spawn(async move { echo(&server.accept().await.unwrap().0).await });

            let flooding = flood.begin(peer);
            let reader = socket.clone();
            let reading = coro::spawn(async move { reader.recv_all_bytes(MUCH).await });
            let asking = thread::spawn(move || honest(port, 40));
            while !asking.is_finished() {
                asyncoro::time::sleep(Duration::from_millis(5)).await;
            }
            let (most, slowest) = asking.join().unwrap();
            serving.await.unwrap().unwrap();

            // A signal is heeded while it goes on.
            let heeding = coro::spawn(async {
                signal::terminate().await.unwrap();
                Instant::now()
            });
            coro::yield_now().await;
            let sent = Instant::now();
            kill_process(getpid(), Signal::TERM).unwrap();
            let heeded = heeding.await.unwrap() - sent;
            assert!(!reading.is_finished() && flooding.goes_on());
            reading.terminate();
            let _ = reading.await;

            // So are timeouts, a verb's own too, unless there is content.
            let begun = Instant::now();
            let all = socket.recv_all_bytes(MUCH);
            timeout(Duration::from_millis(300), all).await.unwrap_err();
            let around = begun.elapsed();
            let mut own = Vec::new();
            socket.set_timeout(Some(flood.timeout()));
            for verb in 0..4 {
                let begun = Instant::now();
                let outcome = match verb {
                    0 => socket.recv(&mut [0; 99]).await.map(drop),
                    1 => socket.recv_msg().await.map(drop),
                    2 => socket.peek(&mut [0; 99]).await.map(drop),
                    _ => socket.readable().await,
                };
                flood.judge(outcome);
                own.push(begun.elapsed());
            }
            println!(
                "figure: flood {flood:?}, {} MB/s: honest p99 {most:?}, slowest {slowest:?}, \
                 SIGTERM heeded after {heeded:?}, timeout(300 ms) after {around:?}, own 100 ms \
                 after {own:?}",
                flooding.rate(),
            );
            assert!(slowest < Duration::from_secs(5), "{slowest:?}");
            assert!(heeded < Duration::from_secs(1), "{heeded:?}");
            assert!(around < Duration::from_secs(3), "{around:?}");
            assert!(own.iter().all(|own| *own < Duration::from_secs(3)), "{own:?}");
            socket.set_timeout(None);
            drop(socket);
            drop(flooding);
        }
    });
}

#[test]
fn a_threads_timeout_does_not_count_records_without_content() {
    each_version(|version| {
        let identity = Arc::new(Identity::new(version));
        for &flood in Flood::of(version) {
            let (socket, peer): (BlockingSocket, Peer) = flood.ends(&identity);
            let flooding = flood.begin(peer);
            socket.set_timeout(Some(flood.timeout()));
            for verb in 0..3 {
                let begun = Instant::now();
                let outcome = match verb {
                    0 => socket.recv(&mut [0; 99]).map(drop),
                    1 => socket.recv_msg().map(drop),
                    _ => socket.readable(),
                };
                flood.judge(outcome);
                assert!(begun.elapsed() < Duration::from_secs(3));
            }
            // While one thread receives, another one sends, and ends it.
            socket.set_timeout(None);
            let reader = socket.clone();
            let reading = thread::spawn(move || reader.recv_all_bytes(MUCH));
            socket.send_all(b"meanwhile").unwrap();
            assert!(!reading.is_finished() && flooding.goes_on());
            let _ = socket.close();
            assert_closed(reading.join().unwrap());
            drop(flooding);
        }
    });
}

/// Records that a peer may send a few times before TLS 1.2 ends the connection.
#[test]
fn records_without_content_that_end_a_connection_of_tls_1_2_hold_up_nobody() {
    type Make = fn(&mut Sealer) -> Vec<u8>;
    let floods: [(&str, Make, bool); 3] = [
        ("empty records", |sealer| sealer.data(b""), false),
        ("warnings", Sealer::warning, false),
        ("requests of a handshake", Sealer::hello_request, true),
    ];
    bounded(move || {
        let identity = Arc::new(Identity::new(TlsVersion::V1_2));
        for (what, make, of_server) in floods {
            for blocking in [false, true] {
                let (socket, mut peer) =
                    if of_server { client(&identity) } else { server(&identity) };
                let some: Vec<_> = (0..40).map(|_| make(&mut peer.sealer)).collect();
                peer.send(&some);
                socket.set_timeout(Some(LIMIT / 4));
                let outcome = if blocking {
                    socket.recv(&mut [0; 9])
                } else {
                    asyncoro::run(
                        async move { socket.into_async().unwrap().recv(&mut [0; 9]).await },
                    )
                };
                let error = outcome.expect_err(what);
                assert_eq!(error.kind(), ErrorKind::InvalidData, "{what}: {error:?}");
            }
        }
    });
}

/// Counts the descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Connects, sends a message and resets the connection, `times` times.
fn resetting(identity: &Arc<Identity>, port: u16, times: usize) -> JoinHandle<()> {
    let identity = Arc::clone(identity);
    thread::spawn(move || {
        for _ in 0..times {
            let mut peer = identity.connect(port);
            let data = peer.sealer.data(b"\0\0\0\x04ping");
            peer.send(&[data]);
            SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    })
}

#[test]
fn connections_that_are_reset_give_their_descriptors_back_at_once() {
    const SOON: Duration = Duration::from_secs(3);
    const TEST: &str = "connections_that_are_reset_give_their_descriptors_back_at_once";
    // Handshakes take long where nothing is optimized.
    const RESETS: usize = if cfg!(debug_assertions) { 100 } else { 400 };
    each_version_alone(TEST, async |version| {
        let identity = Arc::new(Identity::new(version));
        let (listener, port) = listening(&identity.both().0).await;
        let before = descriptors();
        let peers = resetting(&identity, port, RESETS);
        let mut serving = Vec::new();
        for _ in 0..RESETS {
            let socket = listener.accept().await.unwrap().0;
            serving.push(coro::spawn(async move {
                let _ = echo(&socket).await;
            }));
        }
        for served in serving {
            served.await.unwrap();
        }
        let begun = Instant::now();
        while !peers.is_finished() || descriptors() > before + 8 {
            assert!(begun.elapsed() < SOON, "{} descriptors", descriptors());
            asyncoro::time::sleep(Duration::from_millis(10)).await;
        }
        println!(
            "figure: {RESETS} resets: {} descriptors more after {:?}",
            descriptors() as i64 - before as i64,
            begun.elapsed()
        );
        peers.join().unwrap();

        let (listener, port) = listening_blocking(&identity.both().0);
        let before = descriptors();
        let peers = resetting(&identity, port, RESETS);
        for _ in 0..RESETS {
            let socket = listener.accept().unwrap().0;
            let _ = echo_blocking(&socket);
        }
        peers.join().unwrap();
        let begun = Instant::now();
        while descriptors() > before + 8 {
            assert!(begun.elapsed() < SOON, "{} descriptors of threads", descriptors());
            asyncoro::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

/// Opens `in_a_second` silent connections per second, until the result is dropped.
fn silent(port: u16, in_a_second: u32) -> Silent {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopping, opened) = (Arc::clone(&stop), Arc::new(AtomicU64::new(0)));
    let counting = Arc::clone(&opened);
    let thread = thread::spawn(move || {
        let (begun, mut open) = (Instant::now(), VecDeque::new());
        while !stopping.load(Ordering::Relaxed) {
            let due = (begun.elapsed().as_secs_f64() * f64::from(in_a_second)) as u64;
            while counting.load(Ordering::Relaxed) < due {
                if let Ok(socket) = TcpStream::connect(("127.0.0.1", port)) {
                    open.push_back(socket);
                }
                counting.fetch_add(1, Ordering::Relaxed);
                if open.len() > 300 {
                    open.pop_front();
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    Silent { stop, opened, thread: Some(thread) }
}

struct Silent {
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Relays a connection to `port` with a delay of 50 ms in each direction.
fn far_away(port: u16) -> u16 {
    const LATE: Duration = Duration::from_millis(50);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let near = listener.accept().unwrap().0;
        thread::sleep(LATE);
        let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let pass_on = |mut from: TcpStream, mut to: TcpStream| {
            let mut buffer = [0; 9999];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                thread::sleep(LATE);
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        };
        let (back, forth) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        thread::spawn(move || pass_on(far, back));
        pass_on(near, forth);
    });
    own
}

/// Runs `count` distant clients, one after the other; returns how many were served, and how long
/// each took.
fn far_clients(client: &ClientTls, port: u16, count: usize) -> (usize, Vec<Duration>) {
    let served = (0..count).filter_map(|_| {
        let begun = Instant::now();
        let to = ("localhost", far_away(port));
        let socket = BlockingSocket::create_tls_connection(to, client).ok()?;
        socket.set_timeout(Some(LIMIT / 2));
        socket.send_msg(b"question").ok()?;
        (socket.recv_msg().ok()?? == "question").then(|| begun.elapsed())
    });
    let times: Vec<_> = served.collect();
    (times.len(), times)
}

async fn serve(listener: AsyncSocket) {
    loop {
        let socket = listener.accept().await.unwrap().0;
        drop(coro::spawn(async move {
            let _ = echo(&socket).await;
        }));
    }
}

#[test]
fn silent_connections_keep_no_client_out_however_far_away_it_is() {
    const TEST: &str = "silent_connections_keep_no_client_out_however_far_away_it_is";
    // What the release build is to bear; the other one is slower than such a crowd.
    const RATE: u32 = if cfg!(debug_assertions) { 100 } else { 2000 };
    const CLIENTS: usize = if cfg!(debug_assertions) { 3 } else { 10 };
    if !is_own_process(TEST) {
        return;
    }
    run(async || {
        let (server, client) = Identity::new(TlsVersion::V1_3).both();
        // So few at once that a round trip takes longer than all of them.
        let server = if cfg!(debug_assertions) { server.handshakes(16) } else { server };
        let (listener, port) = listening(&server).await;
        let serving = coro::spawn(serve(listener.clone()));
        let silent = silent(port, RATE);
        let asking = thread::spawn(move || {
            thread::sleep(Duration::from_millis(500));
            far_clients(&client, port, CLIENTS)
        });
        while !asking.is_finished() {
            asyncoro::time::sleep(Duration::from_millis(5)).await;
        }
        let (served, times) = asking.join().unwrap();
        println!(
            "figure: {} silent connections, {} made room: {served} of {CLIENTS} served, {times:?}",
            silent.opened.load(Ordering::Relaxed),
            listener.failed_handshakes(),
        );
        assert_eq!(served, CLIENTS);
        serving.terminate();
        let _ = serving.await;
        drop((silent, listener));
    });
}

#[test]
fn silent_connections_keep_no_client_out_when_descriptors_run_out() {
    const TEST: &str = "silent_connections_keep_no_client_out_when_descriptors_run_out";
    const CLIENTS: usize = 3;
    if env::var(PART).is_err() {
        // The server is a process of its own, with 64 descriptors; here are its clients.
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([&format!("tls::attacks::{TEST}"), "--exact", "--nocapture"]).env(PART, TEST);
        let server = Program::start(&mut command);
        let port = server.line_with("port ");
        let port = port.rsplit(' ').next().unwrap().parse().unwrap();
        let silent = silent(port, 500);
        thread::sleep(Duration::from_millis(500));
        let client = Tls::client().unwrap().danger_accept_any_certificate();
        let (served, times) = far_clients(&client, port, CLIENTS);
        println!(
            "figure: 64 descriptors, {} silent connections: {served} of {CLIENTS}, {times:?}",
            silent.opened.load(Ordering::Relaxed),
        );
        assert_eq!(served, CLIENTS);
        return;
    }
    bounded(|| {
        asyncoro::run_until(async {
            let limits = getrlimit(Resource::Nofile);
            setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limits }).unwrap();
            let (listener, port) = listening(&Identity::new(TlsVersion::V1_3).both().0).await;
            println!("port {port}");
            serve(listener).await;
        });
    });
}
