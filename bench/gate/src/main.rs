//! Runs one hot path a number of times, for `cargo xtask gate` to count its instructions.
//!
//! `asyncoro-gate PATH TIMES` runs a path; without arguments it lists the paths. The gate runs each
//! twice, the second time with twice the operations: the difference is the path's cost, without
//! what happens once (start, connect, register). The count includes the other end of a connection,
//! a system call or two per operation on a raw socket in the same thread. Nothing depends on time,
//! so two runs have the same count.

mod local;
mod sockets;
mod traits;

use std::env;
use std::process::ExitCode;

/// A path and its name in the record.
struct Path {
    /// `PATH:TRAIT` is another path through a trait; the gate limits what that adds.
    name: &'static str,
    /// Runs it a number of times, a multiple of [`BATCH`].
    take: fn(usize),
}

const PATHS: &[Path] = &[
    Path { name: "resume", take: local::resume },
    Path { name: "spawn+join", take: local::spawn_and_join },
    Path { name: "mailbox-ping-pong", take: local::ping_pong },
    Path { name: "timer-arm-drop", take: local::arm_and_drop },
    Path { name: "recv-ready", take: sockets::recv },
    Path { name: "send", take: sockets::send },
    Path { name: "recv-ready:futures-io", take: traits::recv::<traits::FuturesIo> },
    Path { name: "send:futures-io", take: traits::send::<traits::FuturesIo> },
    Path { name: "recv-ready:tokio-io", take: traits::recv::<traits::TokioIo> },
    Path { name: "send:tokio-io", take: traits::send::<traits::TokioIo> },
    Path { name: "recv-ready:hyper", take: traits::recv::<traits::Hyper> },
    Path { name: "send:hyper", take: traits::send::<traits::Hyper> },
    Path { name: "recv_msg-alone", take: sockets::recv_message },
    Path { name: "recv_msg-16-in-flight", take: sockets::recv_messages },
    Path { name: "send_msg-16-coalesced", take: sockets::send_messages },
];

/// How many operations share one transfer of bytes, in paths that do not measure transfers.
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
