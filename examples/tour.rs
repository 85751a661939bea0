//! A tour of asyncoro in one process: a message server, 1,000 client coroutines, a client in a
//! thread, a pair of UDP sockets, a timeout, and a clean end.
//!
//! ```text
//! cargo run --release --example tour
//! ```
//!
//! It takes no argument and a few seconds, and prints a table of what happened and a last line that
//! begins with `ok:`. It checks its results; if one is wrong, it says which, and the exit code is
//! 1.

use std::{
    cell::RefCell,
    io,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};

use asyncoro::{Address, AsynCoro, AsyncSocket, BlockingSocket, pool, time::timeout};
use hdrhistogram::Histogram;
use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressDrawTarget};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CLIENTS: u64 = 1_000;
/// How many messages each client sends, and gets back, one after another.
const MESSAGES: u64 = 100;
const LENGTH: usize = 64;
const LONG: usize = 3 << 20;
const DATAGRAMS: u64 = 10_000;
const TIMEOUT: Duration = Duration::from_millis(20);
/// How long it may take, in case something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    match tour() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tour() -> io::Result<()> {
    allow_open_files(2 * CLIENTS + 100)?;
    let bar = ProgressBar::new((CLIENTS + 1) * MESSAGES + DATAGRAMS);
    // Draws on a terminal only.
    bar.set_draw_target(ProgressDrawTarget::stdout());
    let begun = Instant::now();
    let tour = asyncoro::run_until(timeout(PATIENCE, everything(&bar)))??;
    let took = begun.elapsed();
    bar.finish_and_clear();

    println!(
        "{:24} {:>10} {:>10} {:>12} {:>9} {:>9}",
        "", "messages", "bytes", "rate", "p50", "p99"
    );
    tour.rows.iter().for_each(Row::print);
    println!("a timeout of {TIMEOUT:?} came after {:.1?} and lost nothing", tour.waited);
    let messages = HumanCount(tour.rows.iter().map(|row| row.round_trips.len()).sum());
    let conversations = tour.conversations;
    println!("ok: {messages} messages came back, {conversations} conversations ended, {took:.1?}");
    Ok(())
}

struct Tour {
    rows: [Row; 3],
    waited: Duration,
    conversations: u64,
}

async fn everything(bar: &ProgressBar) -> io::Result<Tour> {
    let server = AsyncSocket::create_server("127.0.0.1:0").await?;
    let address = server.local_addr()?;
    let serving = asyncoro::spawn(serve(server.clone()));

    let thread = pool::run({
        let (address, bar) = (address.clone(), bar.clone());
        move || in_a_thread(address, &bar)
    });
    let coroutines = in_coroutines(&address, bar).await?;
    let rows = [coroutines, thread.await?, datagrams(bar).await?];
    let waited = late_message(&address).await?;

    server.close().await?;
    let conversations = serving.await??;
    check(conversations == CLIENTS + 2, "every conversation has ended")?;
    let left = AsynCoro::current().statistics();
    check(left.sockets == 0 && left.timers <= 1, "no socket and no timer is left but our own")?;
    Ok(Tour { rows, waited, conversations })
}

/// Sends each message back; ends when the socket is closed and all clients have disconnected.
async fn serve(server: AsyncSocket) -> io::Result<u64> {
    let mut conversations = Vec::new();
    loop {
        match server.accept().await {
            Ok((client, _)) => conversations.push(asyncoro::spawn(echo(client))),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => break,
            Err(error) => return Err(error),
        }
    }
    let count = conversations.len() as u64;
    for conversation in conversations {
        conversation.await??;
    }
    Ok(count)
}

async fn echo(client: AsyncSocket) -> io::Result<()> {
    while let Some(message) = client.recv_msg().await? {
        client.send_msg(&message).await?;
    }
    Ok(())
}

async fn in_coroutines(address: &Address, bar: &ProgressBar) -> io::Result<Row> {
    // All coroutines are on this thread, so they share the row without a lock.
    let row = Rc::new(RefCell::new(Row::new("1,000 coroutines", bar)?));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|id| {
            let (address, row) = (address.clone(), Rc::clone(&row));
            asyncoro::spawn(async move {
                let socket = AsyncSocket::create_connection(address).await?;
                for number in 0..MESSAGES {
                    let message = message(id, number);
                    let asked = Instant::now();
                    socket.send_msg(&message).await?;
                    let answer = socket.recv_msg().await?;
                    check(answer.as_deref() == Some(&message), "a message comes back as it went")?;
                    row.borrow_mut().count(asked, LENGTH);
                }
                socket.close().await
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    Ok(Rc::unwrap_or_clone(row).into_inner())
}

/// Does the same with a blocking socket; the last message is a long one.
fn in_a_thread(address: Address, bar: &ProgressBar) -> io::Result<Row> {
    let mut row = Row::new("a thread, blocking", bar)?;
    let socket = BlockingSocket::create_connection(address)?;
    for number in 0..MESSAGES {
        let mut message = message(CLIENTS, number).to_vec();
        message.resize(if number + 1 == MESSAGES { LONG } else { LENGTH }, 7);
        let asked = Instant::now();
        socket.send_msg(&message)?;
        let answer = socket.recv_msg()?;
        check(answer.as_deref() == Some(&message), "a thread's message comes back as it went")?;
        row.count(asked, message.len());
    }
    socket.close()?;
    Ok(row)
}

async fn datagrams(bar: &ProgressBar) -> io::Result<Row> {
    let mut row = Row::new("a pair of UDP sockets", bar)?;
    let near = AsyncSocket::create_datagram("127.0.0.1:0").await?;
    let far = AsyncSocket::create_datagram("127.0.0.1:0").await?;
    let address = far.local_addr()?;
    let echo = asyncoro::spawn(async move {
        let mut buffer = [0; LENGTH];
        for _ in 0..DATAGRAMS {
            let (length, from) = far.recv_from(&mut buffer).await?;
            far.send_to(&buffer[..length], from).await?;
        }
        io::Result::Ok(())
    });
    let mut buffer = [0; LENGTH];
    for number in 0..DATAGRAMS {
        let message = message(0, number);
        let asked = Instant::now();
        near.send_to(&message, &address).await?;
        let (length, _) = near.recv_from(&mut buffer).await?;
        check(buffer[..length] == message, "a datagram comes back as it went")?;
        row.count(asked, length);
    }
    echo.await??;
    Ok(row)
}

/// Waits for a message until a timeout, then without one.
async fn late_message(address: &Address) -> io::Result<Duration> {
    let socket = AsyncSocket::create_connection(address).await?;
    let asked = Instant::now();
    let nothing = timeout(TIMEOUT, socket.recv_msg()).await;
    let waited = asked.elapsed();
    check(nothing.is_err() && waited >= TIMEOUT, "a timeout comes, and not too early")?;
    socket.send_msg(b"late").await?;
    let answer = socket.recv_msg().await?;
    check(answer.as_deref() == Some(b"late"), "after a timeout the socket is as good as before")?;
    socket.close().await?;
    Ok(waited)
}

fn message(id: u64, number: u64) -> [u8; LENGTH] {
    let mut message = [0; LENGTH];
    message[..8].copy_from_slice(&id.to_be_bytes());
    message[8..16].copy_from_slice(&number.to_be_bytes());
    message
}

fn check(holds: bool, promise: &str) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other(format!("it does not hold that {promise}"))) }
}

/// A line of the table.
#[derive(Clone)]
struct Row {
    name: &'static str,
    bar: ProgressBar,
    begun: Instant,
    took: Duration,
    /// Bytes of payload in one direction.
    bytes: u64,
    /// Latencies in nanoseconds.
    round_trips: Histogram<u64>,
}

impl Row {
    fn new(name: &'static str, bar: &ProgressBar) -> io::Result<Row> {
        let longest = PATIENCE.as_nanos() as u64;
        let round_trips = Histogram::new_with_max(longest, 3).map_err(io::Error::other)?;
        let (bar, begun, took) = (bar.clone(), Instant::now(), Duration::ZERO);
        Ok(Row { name, bar, begun, took, bytes: 0, round_trips })
    }

    fn count(&mut self, asked: Instant, length: usize) {
        let now = Instant::now();
        self.took = now - self.begun;
        self.bytes += length as u64;
        self.round_trips.saturating_record((now - asked).as_nanos() as u64);
        if self.round_trips.len().is_multiple_of(100) {
            self.bar.inc(100);
        }
    }

    fn print(&self) {
        let messages = self.round_trips.len();
        let rate = format!("{}/s", HumanCount((messages as f64 / self.took.as_secs_f64()) as u64));
        let [p50, p99] =
            [0.5, 0.99].map(|q| Duration::from_nanos(self.round_trips.value_at_quantile(q)));
        let (messages, bytes) = (HumanCount(messages).to_string(), DecimalBytes(self.bytes));
        let (name, bytes) = (self.name, bytes.to_string());
        println!("{name:24} {messages:>10} {bytes:>10} {rate:>12} {p50:>9.1?} {p99:>9.1?}");
    }
}

/// Raises the limit of open files, which is often 1,024.
fn allow_open_files(count: u64) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..limit });
    raised.map_err(|error| io::Error::other(format!("{count} open files are needed: {error}")))
}
