//! Python: asyncoro's package and its peers, programs of `bench/python/` in processes of their own.
//!
//! `servers.rs` loads servers, `http.rs` those of HTTP on several event loops, `costs.rs` measures
//! operations without sockets, `idle.rs` the memory of connections. A subject that does not start,
//! or answers wrongly, is left out, and the report says so. The variable [`VARIABLE`] names the
//! Python that runs them; `cargo xtask bench` sets it after it has made a venv. Without it the
//! group only says how to make one. [`BEFORE`] names one more Python, with another version of
//! asyncoro, which takes part as a subject of its own.

mod costs;
mod http;
mod idle;
mod servers;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::Child;
use crate::report::{Base, Report};

/// The number of cases.
pub(super) fn cases() -> usize {
    servers::CASES.len() + http::CASES.len() + costs::CASES.len() + idle::CASES
}

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    let Some(executable) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
        report.note(GROUP, format!("skipped, for {VARIABLE} is not set: {HOW}"));
        return Ok(());
    };
    let python = Python { executable: executable.into(), variable: VARIABLE };
    report.note(GROUP, python.versions()?);
    let before = env::var_os(BEFORE).filter(|path| !path.is_empty());
    let before = before.map(|path| Python { executable: path.into(), variable: BEFORE });
    if let Some(before) = &before {
        report.note(GROUP, format!("before: {}", before.versions()?));
    }
    let python = Pythons { now: python, before };
    servers::run(&python, time, report)?;
    http::run(&python, time, report)?;
    costs::run(&python, time, report)?;
    idle::run(&python, report)
}

/// The Python that runs the programs, and the one with another version of asyncoro.
struct Pythons {
    now: Python,
    before: Option<Python>,
}

/// A Python, and the variable that has named it.
struct Python {
    executable: PathBuf,
    variable: &'static str,
}

impl Python {
    /// Starts a program of `bench/python/`.
    fn start(&self, program: &str, arguments: &[&str]) -> io::Result<Child> {
        Child::start_program(self.command(program, arguments))
    }

    fn versions(&self) -> io::Result<String> {
        let output = self.command("versions.py", &[]).output();
        let output = output.map_err(|error| self.useless(&error.to_string()))?;
        if !output.status.success() {
            return Err(self.useless(&String::from_utf8_lossy(&output.stderr)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command.arg(Path::new(PROGRAMS).join(program)).args(arguments);
        // Python writes no cache beside the programs.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn useless(&self, reason: &str) -> io::Error {
        io::Error::other(format!("{} is {}: {reason}", self.variable, self.executable.display()))
    }
}

/// Starts the subjects of a case by a function of a Python, a name and a program. Leaves out those
/// that the report does not ask for, and those that fail or lack the operation, and says so.
fn start_all<T>(
    case: &str,
    pythons: &Pythons,
    subjects: &[(&str, &str)],
    report: &mut Report,
    start: impl Fn(&Python, &str, &str) -> io::Result<Option<T>>,
) -> Vec<T> {
    let mut started = Vec::new();
    for (name, program) in subjects {
        let before = pythons.before.as_ref().filter(|_| name.starts_with("asyncoro"));
        let before = before.map(|python| (python, format!("{name}, before")));
        for (python, name) in before.into_iter().chain([(&pythons.now, (*name).to_owned())]) {
            if !report.wants(&name) {
                continue;
            }
            match start(python, &name, program) {
                Ok(Some(subject)) => started.push(subject),
                Ok(None) => report.note(GROUP, format!("{case}: {name} has none")),
                Err(error) => report.note(GROUP, format!("{case}: {name} is left out: {error}")),
            }
        }
    }
    started
}

const GROUP: &str = "python";
const VARIABLE: &str = "ASYNCORO_BENCH_PYTHON";
const BEFORE: &str = "ASYNCORO_BENCH_BEFORE";
const HOW: &str = "cargo xtask bench makes a venv, or see bench/python/README.md";
/// The folder of the programs.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
/// The subjects to compare the others with, if they take part.
const BASES: &[Base] = &[
    Base::Subject("pycos"),
    Base::Subject("uvloop"),
    Base::Subject("uvloop Protocol"),
    Base::Subject("uvloop streams"),
    Base::Subject("uvloop sock_*"),
    Base::Subject("asyncio"),
    Base::Subject("asyncio sock_*"),
    Base::Subject("asyncio streams"),
    Base::Subject("asyncio Protocol"),
    Base::Subject("asyncoro await, before"),
    Base::Subject("asyncoro yield, before"),
];
