//! A server that ends well, and a client in another process that checks it: no request is lost at
//! SIGTERM, at the limit of open files, or at a restart under load.
//!
//! ```text
//! cargo run --release --example graceful                    (all three, in a small size)
//! cargo run --release --example graceful term 10000         (so many connections)
//! cargo run --release --example graceful files 64           (so many open files)
//! cargo run --release --example graceful restart 200000     (so many requests)
//! cargo run --release --example graceful serve              (the server alone)
//! ```
//!
//! A request is a message, and so is its answer, whose first byte says whether it is the last one
//! on this connection (as `Connection: close` does in HTTP). The server says so once it is told to
//! stop.

use std::{
    cell::Cell,
    env, fs, io,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use asyncoro::{
    AsyncSocket,
    coro::Coros,
    future::join_all,
    time::{sleep, timeout},
};
use rustix::process::{Pid, Signal, kill_process};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().map_err(io::Error::other);
    match arguments[..] {
        ["serve", ..] => return server::run(&arguments[1..]),
        [] => {
            asyncoro::run(term(500))?;
            asyncoro::run(files(64))?;
            asyncoro::run(restart(10_000))?;
        }
        ["term", connections] => asyncoro::run(term(number(connections)?))?,
        ["files", limit] => asyncoro::run(files(number(limit)?))?,
        ["restart", requests] => asyncoro::run(restart(number(requests)?))?,
        _ => return Err(io::Error::other("see the head of examples/graceful.rs")),
    }
    println!("ok: no request was lost");
    Ok(())
}

/// What an operator would write.
mod server {
    use std::{io, time::Duration};

    use asyncoro::{
        AsyncSocket,
        scope::is_stopping,
        serve::{self, Server, hand_over, take_over},
        time::timeout,
    };
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// How long the next process may take until it accepts.
    const TAKE_WITHIN: Duration = Duration::from_secs(10);

    /// Serves; the arguments are pairs: how many `files` may be open, from which Unix socket to
    /// `take` the listener, at which one to `give` it to the next process.
    pub(super) fn run(arguments: &[&str]) -> io::Result<()> {
        tracing_subscriber::fmt().with_writer(io::stderr).init();
        let argument = |name: &str| {
            let place = arguments.iter().position(|argument| *argument == name)?;
            arguments.get(place + 1).map(|value| (*value).to_owned())
        };
        if let Some(files) = argument("files") {
            let maximum = getrlimit(Resource::Nofile).maximum;
            let current = Some(files.parse().map_err(io::Error::other)?);
            setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
        }
        asyncoro::run_until(async {
            // From the old process, from a service manager, or a new one.
            let (listener, taken) = match argument("take") {
                Some(old) => {
                    let old = AsyncSocket::create_connection(old.as_str()).await?;
                    let mut taken = take_over(&old).await?;
                    let first = taken.listeners.remove(0).into_socket()?;
                    (first, Some(taken))
                }
                None => (serve::listener("127.0.0.1:0").await?, None),
            };
            let address = listener.local_addr()?;
            let server = Server::new(listener.clone()).grace(Duration::from_secs(30));
            if let Some(place) = argument("give") {
                let handle = server.handle();
                let place = AsyncSocket::create_server(place.as_str()).await?;
                asyncoro::spawn(async move {
                    loop {
                        let (next, _) = place.accept().await?;
                        let listeners = [("echo", &listener)];
                        match timeout(TAKE_WITHIN, hand_over(&next, &listeners)).await {
                            Ok(Ok(())) => break,
                            // This one goes on, and the next one may try.
                            Ok(Err(error)) => eprintln!("not handed over: {error}"),
                            Err(elapsed) => eprintln!("not handed over: {elapsed}"),
                        }
                    }
                    handle.release();
                    io::Result::Ok(())
                })
                .or_log();
            } else {
                drop(listener);
            }
            println!("listening on {address}");
            if let Some(taken) = taken {
                taken.ready().await?;
            }
            let served = server.serve(|client, _| answer(client)).await?;
            println!("{served:?}");
            Ok(())
        })
    }

    async fn answer(client: AsyncSocket) -> io::Result<()> {
        while let Some(request) = client.recv_msg().await? {
            let is_last = is_stopping();
            let answer = [&[u8::from(is_last)], &request[..]].concat();
            client.send_msg(&answer).await?;
            if is_last {
                break;
            }
        }
        Ok(())
    }
}

/// Sends a request and checks its answer; tells whether it was the last one.
async fn ask(client: &AsyncSocket, number: u64) -> io::Result<bool> {
    let request = number.to_le_bytes();
    client.send_msg(&request).await?;
    match client.recv_msg().await? {
        Some(answer) if answer[1..] == request => Ok(answer[0] == 1),
        other => Err(io::Error::other(format!("the answer to {number} is {other:?}"))),
    }
}

/// Stops a server while all its connections are in use.
async fn term(connections: usize) -> io::Result<()> {
    let server = Running::start(&[])?;
    let (answered, lost) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0_u64)));
    let mut clients = Coros::new();
    for first in (0..connections).step_by(250) {
        // No more at once than the system's queue has room for.
        let some = (first..connections.min(first + 250))
            .map(|_| AsyncSocket::create_connection(server.address.as_str()));
        for client in join_all(some).await {
            let client = client?;
            let (answered, lost) = (Rc::clone(&answered), Rc::clone(&lost));
            let conversation = async move {
                for number in 0.. {
                    match ask(&client, number).await {
                        Ok(is_last) => {
                            answered.set(answered.get() + 1);
                            if is_last {
                                return;
                            }
                        }
                        Err(error) => {
                            eprintln!("{error}");
                            return lost.set(lost.get() + 1);
                        }
                    }
                    sleep(Duration::from_millis(100 + number % 400)).await;
                }
            };
            clients.spawn(conversation).await;
        }
    }
    // In the middle of the traffic.
    while answered.get() < 3 * connections as u64 {
        sleep(Duration::from_millis(10)).await;
    }
    let (before, asked) = (answered.get(), Instant::now());
    server.signal(Signal::TERM)?;
    while clients.next().await.is_some() {}
    let answers = answered.get() - before;
    let (status, output) = server.end().await?;
    println!(
        "term: {connections} connections, {before} requests before SIGTERM, {answers} after it, {} \
         lost; the server has ended after {:?} with {status}: {output}",
        lost.get(),
        asked.elapsed(),
    );
    check(lost.get() == 0 && status.success(), "a request was lost, or the server has failed")?;
    check(output.contains("failed: 0, idle: 0, forced: 0"), "a connection was ended by force")
}

/// Opens more connections than a server may have files.
async fn files(limit: usize) -> io::Result<()> {
    let server = Running::start(&["files", &limit.to_string()])?;
    let wanted = 3 * limit;
    let connecting = (0..wanted).map(|_| AsyncSocket::create_connection(server.address.as_str()));
    let clients: Vec<_> = join_all(connecting).await.into_iter().collect::<io::Result<_>>()?;
    let patience = Duration::from_secs(1);
    let served: Vec<bool> = join_all(
        clients.iter().map(|client| async { timeout(patience, ask(client, 1)).await.is_ok() }),
    )
    .await;
    let old: Vec<_> = clients.iter().zip(&served).filter(|(_, s)| **s).map(|(c, _)| c).collect();
    check(old.len() > limit / 2 && old.len() < limit, "as many as there are files are served")?;
    // At the limit: the old ones go on, and the server sleeps.
    let (cpu, began) = (server.cpu()?, Instant::now());
    for round in 0..20 {
        for answered in join_all(old.iter().map(|client| ask(client, 2 + round))).await {
            answered?;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let (cpu, time) = (server.cpu()? - cpu, began.elapsed());
    let number = old.len();
    println!(
        "files: {number} of {wanted} connections fit, answered 20 times at the limit with \
         {cpu:?} of CPU in {time:?}"
    );
    check(cpu < time / 5, "the server spins")?;
    // Whoever leaves makes room. The requests of those that wait were sent already.
    let mut waiting = Vec::new();
    for (client, was_served) in clients.into_iter().zip(served) {
        if !was_served {
            waiting.push(client);
        }
    }
    let mut answered = 0;
    let began = Instant::now();
    for client in waiting {
        let answer = timeout(Duration::from_secs(20), client.recv_msg()).await??;
        check(answer.is_some_and(|answer| answer.len() == 9), "who waited is answered")?;
        answered += 1;
    }
    println!("files: the {answered} others were answered within {:?} of that", began.elapsed());
    server.signal(Signal::TERM)?;
    let told = server.told.clone();
    let (status, output) = server.end().await?;
    check(status.success(), "the server has failed")?;
    println!("files: the server has ended with {status}: {output}");
    let lines = fs::read_to_string(told)?;
    check(lines.matches("waits for a free descriptor").count() == 1, "the limit is logged once")
}

/// Replaces a server by its next process, five times, while clients send requests.
async fn restart(requests: usize) -> io::Result<()> {
    const CLIENTS: usize = 64;
    const RESTARTS: usize = 5;
    /// After so many requests a client connects anew.
    const EACH: usize = 20;
    let folder = env::temp_dir().join(format!("asyncoro-graceful-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let place = |number: usize| folder.join(number.to_string()).display().to_string();
    let mut server = Running::start(&["give", &place(0)])?;
    let address = server.address.clone();
    let (answered, failed) = (Rc::new(Cell::new(0_usize)), Rc::new(Cell::new(0_usize)));
    let mut clients = Coros::new();
    let began = Instant::now();
    for _ in 0..CLIENTS {
        let (answered, failed) = (Rc::clone(&answered), Rc::clone(&failed));
        let address = address.clone();
        let work = async move {
            let mut begun = 0;
            let share = requests / CLIENTS;
            while begun < share {
                let conversation = async {
                    let client = AsyncSocket::create_connection(address.as_str()).await?;
                    for _ in 0..EACH.min(share - begun) {
                        begun += 1;
                        let is_last = ask(&client, begun as u64).await?;
                        answered.set(answered.get() + 1);
                        if is_last {
                            break;
                        }
                    }
                    io::Result::Ok(())
                };
                if let Err(error) = conversation.await {
                    eprintln!("{error}");
                    failed.set(failed.get() + 1);
                }
            }
        };
        clients.spawn(work).await;
    }
    let mut ends = Vec::new();
    for number in 1..=RESTARTS {
        while answered.get() < number * requests / (RESTARTS + 1) {
            sleep(Duration::from_millis(1)).await;
        }
        let next = Running::start(&["take", &place(number - 1), "give", &place(number)])?;
        let old = std::mem::replace(&mut server, next);
        ends.push(old.end().await?);
    }
    while clients.next().await.is_some() {}
    let took = began.elapsed();
    server.signal(Signal::TERM)?;
    ends.push(server.end().await?);
    for (status, output) in &ends {
        println!("restart: a process has ended with {status}: {output}");
    }
    fs::remove_dir_all(&folder)?;
    println!(
        "restart: {} of {} requests answered, {} failed, {RESTARTS} restarts, in {took:?}",
        answered.get(),
        requests / CLIENTS * CLIENTS,
        failed.get(),
    );
    let all_well = ends.iter().all(|(status, _)| status.success());
    check(failed.get() == 0 && all_well, "a request has failed, or a server")
}

fn check(is_well: bool, otherwise: &str) -> io::Result<()> {
    if is_well { Ok(()) } else { Err(io::Error::other(otherwise.to_owned())) }
}

/// A server in a process of its own.
struct Running {
    child: Child,
    address: String,
    /// Where its standard error goes.
    told: PathBuf,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(arguments: &[&str]) -> io::Result<Running> {
        let told = env::temp_dir().join(format!("asyncoro-graceful-{}.log", std::process::id()));
        let mut command = Command::new(env::current_exe()?);
        command.arg("serve").args(arguments).stdout(Stdio::piped());
        command.stderr(fs::File::create(&told)?);
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let address = address.ok_or_else(|| {
            io::Error::other(format!("{line}{}", fs::read_to_string(&told).unwrap_or_default()))
        })?;
        Ok(Running { child, address, told, lines })
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for its end; returns how it has ended, and what it has written.
    async fn end(mut self) -> io::Result<(ExitStatus, String)> {
        asyncoro::pool::run(move || {
            let until = Instant::now() + Duration::from_secs(60);
            let status = loop {
                match self.child.try_wait()? {
                    Some(status) => break status,
                    None if Instant::now() > until => {
                        self.child.kill()?;
                        return Err(io::Error::other("the server does not end"));
                    }
                    None => thread::sleep(Duration::from_millis(2)),
                }
            };
            let mut text = String::new();
            self.lines.read_to_string(&mut text)?;
            Ok((status, text.trim().to_owned()))
        })
        .await
    }

    /// Returns how long it has used a processor, by proc(5).
    fn cpu(&self) -> io::Result<Duration> {
        let file = Path::new("/proc").join(self.child.id().to_string()).join("stat");
        let text = fs::read_to_string(file)?;
        // Behind the name, which may have blanks: 11 other fields, then user and system time.
        let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 =
            fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        // USER_HZ is 100 wherever Linux runs.
        Ok(Duration::from_millis(10 * ticks))
    }
}
