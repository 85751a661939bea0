//! The machine: its description, its limits, and the memory of processes.

use std::fs;
use std::io;
use std::thread;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Everything that figures depend on: machine, kernel, versions (found by `build.rs`), and the
/// command.
pub(crate) fn describe() -> [(&'static str, String); 5] {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let command: String =
        std::env::args().skip(1).map(|argument| " ".to_owned() + &argument).collect();
    [
        ("machine", format!("{processor}, {cores} cores")),
        ("kernel", format!("Linux {}", kernel.trim())),
        ("compiler", env!("BENCH_RUSTC").to_owned()),
        ("crates", env!("BENCH_CRATES").to_owned()),
        ("command", format!("cargo xtask bench{command}")),
    ]
}

/// Raises the limit of open files as far as possible: 9,000 connections need 18,000 descriptors.
pub(crate) fn raise_file_limit() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Returns the resident bytes of this process.
pub(crate) fn resident() -> io::Result<usize> {
    resident_of("self")
}

/// Returns the exact resident bytes of a process: `statm` reads counters that lag behind by up to
/// 64 pages per core, which would be 57 bytes for each of 9,000 connections.
pub(crate) fn resident_of(process: &str) -> io::Result<usize> {
    let text = field(&format!("/proc/{process}/smaps_rollup"), "Rss").unwrap_or_default();
    let kilobytes: Option<usize> =
        text.strip_suffix(" kB").and_then(|number| number.trim().parse().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other(format!("no Rss in /proc/{process}/smaps_rollup")))
}

/// Returns the value of the first line `name : value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = pairs.find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}
