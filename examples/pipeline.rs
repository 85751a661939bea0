//! Counts the words of a file, or of a text of its own, with a row of programs, as a shell does it:
//! `tr -cs a-z '\n' < FILE | sort | uniq -c | sort -rn`.
//!
//! ```text
//! cargo run --release --example pipeline [FILE]
//! ```
//!
//! The file goes in and lines come out at the same time, so neither may be larger than a pipe. At
//! the end it says how each program has ended. After 10 seconds without an end, all are killed.

use std::{env, io, path::PathBuf, process::Command, time::Duration};

use asyncoro::{
    file::{self, AsyncFile},
    future::try_join,
    process::AsyncPipe,
    time::timeout,
};

const TEXT: &[u8] = b"the pipe is longer than the row of programs is, and the row waits\n";

fn main() -> io::Result<()> {
    let path = env::args_os().nth(1).map(PathBuf::from);
    asyncoro::run(async { timeout(Duration::from_secs(10), count(path)).await? })
}

async fn count(path: Option<PathBuf>) -> io::Result<()> {
    let mut row = AsyncPipe::spawn([
        command("tr", &["-cs", "a-z", "\\n"]),
        command("sort", &[]),
        command("uniq", &["-c"]),
        command("sort", &["-rn", "-k1,1", "-s"]),
    ])?;
    row.kill_on_drop(true);
    let input = row.take_stdin().ok_or(io::ErrorKind::BrokenPipe)?;
    try_join(feed(path, input), show(row.stdout())).await?;
    for (status, number) in row.wait().await?.iter().zip(1..) {
        println!("program {number}: {status}");
    }
    Ok(())
}

/// Writes the file to the first program, which finds the end when `input` is dropped.
async fn feed(path: Option<PathBuf>, input: AsyncFile) -> io::Result<()> {
    let Some(path) = path else { return input.write_all(TEXT).await };
    let file = AsyncFile::open(path).await?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        input.write_all(&buffer[..count]).await?;
    }
}

async fn show(output: &AsyncFile) -> io::Result<()> {
    let out = file::stdout()?;
    let mut lines = output.lines();
    while let Some(line) = lines.next().await? {
        if let Some((count, word)) = line.trim().split_once(' ') {
            out.write_all(format!("{word}: {count}\n").as_bytes()).await?;
        }
    }
    Ok(())
}

fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).env("LC_ALL", "C");
    command
}
