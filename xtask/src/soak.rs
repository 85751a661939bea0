//! Runs a server and its clients for a long time, and checks that nothing grows.
//!
//! The example `msg_server` serves rounds of clients that connect, exchange messages, disconnect in
//! the middle of one, or reset. Its memory and files after each round are compared between the
//! first rounds and the last.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Outcome, artifacts,
    command::{Job, signal, wait},
};

/// The number of clients at the same time, and of messages of each.
const CLIENTS: usize = 50;
const MESSAGES: usize = 40;

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many KiB the server's memory may grow after the warm-up rounds.
const GROWTH: u64 = 1024;
const WARM: usize = 5;

/// Runs rounds for `seconds`; returns a summary of the work and of the server's resources.
pub(crate) fn run(seconds: u64) -> Outcome<String> {
    let built = artifacts::build(Job::cargo("build --release --package asyncoro --examples"))?;
    let program = built.get("msg_server").ok_or("cargo built no msg_server")?;
    let mut server = std::process::Command::new(program)
        .arg("127.0.0.1:0")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let outcome = rounds(&mut server, seconds);
    let _ = signal(&server, "TERM");
    let ended = wait(&mut server, PATIENCE);
    let _ = server.kill();
    let figure = outcome?;
    match ended? {
        Some(status) if status.success() => Ok(figure),
        status => Err(format!("the server ended with {status:?}")),
    }
}

fn rounds(server: &mut std::process::Child, seconds: u64) -> Outcome<String> {
    let address = listening(server.stdout.as_mut().expect("piped above"))?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut rounds, mut warm) = (0, Held { rss: 0, files: 0 });
    while rounds <= WARM || Instant::now() < until {
        let clients: Vec<_> =
            (0..CLIENTS).map(|id| thread::spawn(move || client(address, id))).collect();
        for client in clients {
            client.join().map_err(|_| "a client has panicked")??;
        }
        rounds += 1;
        if rounds == WARM {
            warm = settled(server.id(), None)?;
        }
    }
    let last = settled(server.id(), Some(warm.files))?;
    let figure = format!(
        "{rounds} rounds of {CLIENTS} clients, {} messages; rss {} to {} KiB, files {} to {}",
        rounds * CLIENTS * MESSAGES,
        warm.rss,
        last.rss,
        warm.files,
        last.files
    );
    println!("{figure}");
    if last.files > warm.files || last.rss > warm.rss + GROWTH {
        return Err(format!("the server has grown: {figure}"));
    }
    Ok(figure)
}

/// Runs a client of one of three kinds: it closes properly, closes in the middle of a message, or
/// closes with unread answers (a reset).
fn client(address: SocketAddr, id: usize) -> Outcome {
    let failed = |error: std::io::Error| format!("client {id}: {error}");
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let payload = vec![b'x'; 1 + 37 * id];
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    let message = [&length[..], &payload].concat();
    for _ in 0..MESSAGES {
        stream.write_all(&message).map_err(failed)?;
        let mut answer = vec![0; message.len()];
        stream.read_exact(&mut answer).map_err(failed)?;
        if answer != message {
            return Err(format!("client {id} was told something else"));
        }
    }
    match id % 3 {
        0 => Ok(()),
        1 => stream.write_all(&message[..3]).map_err(failed),
        _ => {
            stream.write_all(&message).map_err(failed)?;
            // In most rounds an answer has come by then, and is not read.
            stream.peek(&mut [0]).map(drop).map_err(failed)
        }
    }
}

fn listening(output: &mut impl Read) -> Outcome<SocketAddr> {
    let (mut line, mut byte) = (String::new(), [0]);
    while output.read(&mut byte).is_ok_and(|count| count == 1) && byte[0] != b'\n' {
        line.push(char::from(byte[0]));
    }
    let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
    address.ok_or_else(|| format!("the server's first line is {line:?}"))
}

/// The resources of a process.
#[derive(Clone, Copy)]
struct Held {
    rss: u64,
    files: usize,
}

/// Returns the resources once the clients have gone: when it has at most `wanted` files, or when
/// their number is stable.
fn settled(process: u32, wanted: Option<usize>) -> Outcome<Held> {
    let until = Instant::now() + PATIENCE;
    let mut before = held(process)?;
    loop {
        thread::sleep(Duration::from_millis(500));
        let now = held(process)?;
        let is_done = wanted.map_or(now.files == before.files, |wanted| now.files <= wanted);
        if is_done || Instant::now() > until {
            return Ok(now);
        }
        before = now;
    }
}

fn held(process: u32) -> Outcome<Held> {
    let failed = |error: std::io::Error| format!("/proc/{process}: {error}");
    let status = fs::read_to_string(format!("/proc/{process}/status")).map_err(failed)?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss = rss.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    let files = fs::read_dir(format!("/proc/{process}/fd")).map_err(failed)?.count();
    Ok(Held { rss, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_holds_is_read() {
        let held = held(std::process::id()).unwrap();
        assert!(held.rss > 0 && held.files >= 3);
    }
}
