//! Runs the example `tour` and the tests of plain sockets while system calls fail now and then, by
//! `strace -e inject`.
//!
//! Errors that a program must not notice have to stay unnoticed; real failures may be returned, but
//! nothing may hang, spin or panic. A run that does not end in time counts as a hang. No kernel
//! returns EAGAIN while there is something to read, and with edge-triggered readiness no event
//! would follow it; so EAGAIN is injected only where a thread waits in poll(2), which is
//! level-triggered. Errors of accept4 are injected into `tour` alone, since tests also accept with
//! the standard library, which would return them. Short counts cannot be injected (strace skips the
//! call, so it moves no byte): tests make them with small buffers.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{Outcome, artifacts, command::Job, tools};

/// Which calls fail with which error, and how often: `when` is in strace's syntax, `first+step`.
struct Row {
    calls: &'static str,
    error: &'static str,
    when: &'static str,
    /// Whether the program must succeed in spite of the error.
    is_unnoticed: bool,
    driver: &'static str,
    /// How calls are made together.
    batching: &'static str,
    /// Whether `tour` runs with this error.
    tour: bool,
    /// The tests that run with this error.
    tests: &'static [&'static str],
}

const fn row(calls: &'static str, error: &'static str, when: &'static str) -> Row {
    Row {
        calls,
        error,
        when,
        is_unnoticed: false,
        driver: "epoll",
        batching: "auto",
        tour: true,
        tests: TESTS,
    }
}

const fn unnoticed(calls: &'static str, error: &'static str, when: &'static str) -> Row {
    Row { is_unnoticed: true, ..row(calls, error, when) }
}

/// An error of io_uring, which is always used where it is not refused.
const fn ring(calls: &'static str, error: &'static str, when: &'static str) -> Row {
    Row { batching: "ring:1", tests: RING_TESTS, ..unnoticed(calls, error, when) }
}

const RECEIVE: &str = "recvfrom,recvmsg,recvmmsg";
const SEND: &str = "sendto,sendmsg,sendmmsg";

const ROWS: &[Row] = &[
    unnoticed(RECEIVE, "EINTR", "3+7"),
    unnoticed(SEND, "EINTR", "3+7"),
    unnoticed("accept4", "EINTR", "2+3"),
    unnoticed("epoll_pwait,epoll_pwait2", "EINTR", "2+3"),
    Row { driver: "poll", ..unnoticed("epoll_pwait,epoll_pwait2,poll,ppoll", "EINTR", "2+3") },
    Row { tour: false, tests: THREADS, ..unnoticed(RECEIVE, "EAGAIN", "3+7") },
    Row { tour: false, tests: THREADS, ..unnoticed(SEND, "EAGAIN", "3+7") },
    Row { tests: &[], ..unnoticed("accept4", "ECONNABORTED", "2+5") },
    Row { tests: &[], ..unnoticed("accept4", "EMFILE", "2+50") },
    ring("io_uring_setup", "EPERM", "1+1"),
    ring("io_uring_setup", "ENOSYS", "1+2"),
    ring("io_uring_setup", "ENOMEM", "2+2"),
    ring("io_uring_register", "EINVAL", "1+2"),
    ring("io_uring_enter", "EPERM", "5+40"),
    ring("io_uring_enter", "EINTR", "3+7"),
    ring("io_uring_enter", "EAGAIN", "3+7"),
    ring("io_uring_enter", "EBUSY", "3+7"),
    row(SEND, "ENOBUFS", "50+400"),
    row(SEND, "ENOMEM", "50+400"),
    row(RECEIVE, "ENOMEM", "50+400"),
    row("epoll_ctl", "ENOMEM", "20+100"),
    row("socket,socketpair", "EMFILE", "20+50"),
    row("socket,socketpair", "ENOBUFS", "20+50"),
    row("connect", "ENOMEM", "20+50"),
    row("eventfd2,epoll_create1", "EMFILE", "2+2"),
];

/// Modules of `tests/it` that use sockets and take little time.
const TESTS: &[&str] = &["stream::", "message::", "datagrams::"];

/// The same, and those of calls that are made together.
const RING_TESTS: &[&str] = &["stream::", "message::", "datagrams::", "batching::"];

/// Tests in which threads wait, without coroutines and `try_` verbs.
const THREADS: &[&str] = &["blocking::", "--skip", "into_async", "--skip", "every_stream_verb"];

/// How long a program may run under strace.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs all rows, or those with these errors; returns how many runs ended in which way.
pub(crate) fn run(errors: &[&str]) -> Outcome<String> {
    needs_strace()?;
    let mut built = artifacts::build(Job::cargo("build --package asyncoro --example tour"))?;
    let tour = built.remove("tour").ok_or("cargo built no tour")?;
    let mut built = artifacts::build(Job::cargo("test --package asyncoro --test it --no-run"))?;
    let tests = built.remove("it").ok_or("cargo built no tests")?;
    let (mut counts, mut failed) = ([0; 2], Vec::new());
    for row in ROWS.iter().filter(|row| errors.is_empty() || errors.contains(&row.error)) {
        let over_tour = row.tour.then_some((&tour, &[][..]));
        let over_tests = (!row.tests.is_empty()).then_some((&tests, row.tests));
        for (program, filters) in over_tour.into_iter().chain(over_tests) {
            let begun = Instant::now();
            let verdict = one(row, program, filters)?;
            let name = if filters.is_empty() { "tour" } else { "tests" };
            let what = format!("{name}: {} {} {} ({})", row.calls, row.error, row.when, row.driver);
            let time = begun.elapsed().as_secs_f64();
            println!("{what}: {} in {time:.1} s", verdict.shown());
            match verdict {
                Verdict::Unnoticed => counts[0] += 1,
                Verdict::Told => counts[1] += 1,
                Verdict::Bad(_) => failed.push(what),
            }
        }
    }
    let [unnoticed, told] = counts;
    let figure = format!("runs: {unnoticed} as ever, {told} with errors told");
    if failed.is_empty() {
        return Ok(figure);
    }
    Err(format!("{figure}, {} failed: {}", failed.len(), failed.join("; ")))
}

enum Verdict {
    Unnoticed,
    /// An error was returned, or made a test fail.
    Told,
    Bad(String),
}

impl Verdict {
    fn shown(&self) -> String {
        match self {
            Verdict::Unnoticed => "as ever".to_owned(),
            Verdict::Told => "told".to_owned(),
            Verdict::Bad(why) => format!("FAILED: {why}"),
        }
    }

    fn of(is_unnoticed: bool, well: bool, text: &str) -> Verdict {
        let said = |words: &str| text.contains(words);
        if said("was not done after") || said("hangs") || said("still waiting after") {
            Verdict::Bad(format!("it hangs\n{}", tools::tail(text, 20)))
        } else if said("signal: ") {
            Verdict::Bad(format!("a signal ended it\n{}", tools::tail(text, 20)))
        } else if well {
            Verdict::Unnoticed
        } else if is_unnoticed {
            Verdict::Bad(format!("it was noticed\n{}", tools::tail(text, 40)))
        } else {
            Verdict::Told
        }
    }
}

fn one(row: &Row, program: &Path, filters: &[&str]) -> Outcome<Verdict> {
    let program = program.to_str().ok_or("the target folder has a name that is no UTF-8")?;
    let inject = format!("inject={}:error={}:when={}", row.calls, row.error, row.when);
    // strace's own output is discarded; with seccomp-bpf only these calls stop.
    let mut job = Job::program("strace", "-f -qq --seccomp-bpf -o /dev/null -e")
        .argument(&format!("trace={}", row.calls))
        .argument("-e")
        .argument(&inject)
        .argument(program)
        .variable("ASYNCORO_DRIVER", row.driver)
        .variable("ASYNCORO_BATCHING", row.batching)
        .deadline(LIMIT);
    for filter in filters {
        job = job.argument(filter);
    }
    let (well, text) = job.observe()?;
    Ok(Verdict::of(row.is_unnoticed, well, &text))
}

/// Checks that strace is installed and may trace, which some containers forbid.
pub(crate) fn needs_strace() -> Outcome {
    let words = "-f --seccomp-bpf -o /dev/null -e trace=getppid true";
    match Job::program("strace", words).observe() {
        Ok((true, _)) => Ok(()),
        Ok((false, text)) => Err(format!("strace may not trace here: {}", text.trim())),
        Err(_) => Err("strace is not installed (on Debian: apt-get install strace)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_bad(is_unnoticed: bool, well: bool, text: &str) -> bool {
        matches!(Verdict::of(is_unnoticed, well, text), Verdict::Bad(_))
    }

    #[test]
    fn a_hang_is_bad_and_so_is_noticing_what_must_not_be() {
        assert!(!is_bad(true, true, "ok") && !is_bad(false, false, "failed: No buffer space"));
        assert!(is_bad(true, false, "failed: Interrupted system call"));
        assert!(is_bad(false, false, "it was not done after 9 s and was ended"));
        assert!(is_bad(false, false, "panicked: the test hangs"));
        assert!(is_bad(false, false, "ended with signal: 6 (SIGABRT)"));
    }
}
