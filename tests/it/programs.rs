//! Programs that tests run: the examples, pycos, and third-party tools. For `tests/interop`, too,
//! whose examples are its own.
//!
//! An example is built on first use, into the folder of the tests. If a program is missing
//! ([`or_skip`]), the test is skipped; in CI it fails. A [`Program`] is ended when its value is
//! dropped.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long to wait for a line or an end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Prints a skip if nothing was found; panics instead in CI.
pub(crate) fn or_skip<T>(what: &str, found: Option<T>) -> Option<T> {
    assert!(found.is_some() || env::var_os("CI").is_none(), "{what} is missing, and this is CI");
    if found.is_none() {
        skipped(format_args!("{what} is missing"));
    }
    found
}

/// Prints that a test was skipped, bypassing the test runner's capture.
pub(crate) fn skipped(why: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Returns a tool by name, if this machine has it.
pub(crate) fn tool(name: &str) -> Option<Command> {
    let folders = env::var_os("PATH")?;
    let path = env::split_paths(&folders).map(|folder| folder.join(name)).find(|p| p.is_file());
    or_skip(name, path.map(Command::new))
}

/// Runs a tool, which must succeed; returns its standard output.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?} ended with {}: {text}", output.status);
    text
}

/// A running program and its lines of output.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Program {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        Program { input: child.stdin.take(), child, lines }
    }

    pub(crate) fn example(name: &str, arguments: &[&str]) -> Program {
        Program::start(Command::new(built(name)).args(arguments))
    }

    /// Starts a server among the examples at a free port; returns its address, too.
    pub(crate) fn server(name: &str) -> (Program, String) {
        let server = Program::example(name, &["127.0.0.1:0"]);
        let address = server.line_with("listening on ").split_off("listening on ".len());
        (server, address)
    }

    /// Waits for a line that contains `text`.
    pub(crate) fn line_with(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with {text:?}: {error}; there were {seen:?}"),
            }
        }
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        // In one call: some programs take what one read gives for a line.
        self.input.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Sends SIGTERM and checks that it succeeds.
    pub(crate) fn terminate(self) {
        self.signal(Signal::TERM);
        self.end();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    pub(crate) fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for its end, and checks that it succeeds.
    pub(crate) fn end(mut self) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return assert!(status.success(), "ended with {status}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("still runs after {PATIENCE:?}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the example and returns its path.
fn built(name: &str) -> PathBuf {
    static BUILT: Mutex<bool> = Mutex::new(false);
    // target/PROFILE/deps/it-HASH
    let test = env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !*built {
        let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", env!("CARGO_PKG_NAME"), "--examples"]);
        build.arg("--target-dir");
        build.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        // A sanitizer is for the tests; it would need a build of its own kind.
        build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        // ring is built anew whenever what cargo says of the package that it runs has changed.
        for (name, _) in env::vars_os() {
            let is_of_package = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
            });
            if is_of_package {
                build.env_remove(name);
            }
        }
        assert!(build.status().unwrap().success());
        *built = true;
    }
    profile.join("examples").join(name)
}
