//! The hot paths, one at a time and so many times: what `cargo xtask gate` counts instructions of.
//!
//! `asyncoro-gate PATH TIMES` takes a path so many times; without arguments it names the paths. The
//! gate runs each twice, the second time twice as often: the difference is what the path costs, and
//! all that happens once (start, connect, register) is gone from it. What the other end of a
//! connection does is in the count, a system call or two per operation: raw sockets, no waiting, in
//! the same thread. Nothing here depends on time, so two runs count the same.

mod local;
mod sockets;

use std::env;
use std::process::ExitCode;

/// A path and its name in the record.
struct Path {
    name: &'static str,
    /// Takes it so many times, a multiple of [`BATCH`].
    take: fn(usize),
}

const PATHS: &[Path] = &[
    Path { name: "resume", take: local::resume },
    Path { name: "spawn+join", take: local::spawn_and_join },
    Path { name: "mailbox-ping-pong", take: local::ping_pong },
    Path { name: "timer-arm-drop", take: local::arm_and_drop },
    Path { name: "recv-ready", take: sockets::recv },
    Path { name: "send", take: sockets::send },
    Path { name: "recv_msg-alone", take: sockets::recv_message },
    Path { name: "recv_msg-16-in-flight", take: sockets::recv_messages },
    Path { name: "send_msg-16-coalesced", take: sockets::send_messages },
];

/// Bytes for so many operations are handed over at once, where a path is not about that.
const BATCH: usize = 256;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words.is_empty() {
        PATHS.iter().for_each(|path| println!("{}", path.name));
        return ExitCode::SUCCESS;
    }
    let [name, times] = words[..] else { return refuse("give a path and how often") };
    let Some(path) = PATHS.iter().find(|path| path.name == name) else {
        return refuse("there is no such path");
    };
    match times.parse::<usize>() {
        Ok(times) if times.is_multiple_of(BATCH) => {
            (path.take)(times);
            ExitCode::SUCCESS
        }
        _ => refuse("a path is taken a multiple of 256 times"),
    }
}

fn refuse(sentence: &str) -> ExitCode {
    eprintln!("asyncoro-gate: {sentence}");
    ExitCode::FAILURE
}
