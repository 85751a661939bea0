//! A running example: its output, its input, signals to it, its end.
//!
//! A program that still runs when its value is dropped is ended.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::PATIENCE;
use crate::{Outcome, command, root};

pub(crate) struct Running {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    /// Lines of standard output, without their line ends.
    lines: Receiver<String>,
    seen: Vec<String>,
    /// Lines of standard error; read only to explain a failure.
    errors: Receiver<String>,
}

impl Running {
    pub(crate) fn start(name: &str, path: &Path, arguments: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(path);
        command.args(arguments).current_dir(root());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
        Ok(Running {
            name: name.to_owned(),
            input: child.stdin.take(),
            lines: lines_of(child.stdout.take().expect("piped above")),
            seen: Vec::new(),
            errors: lines_of(child.stderr.take().expect("piped above")),
            child,
        })
    }

    /// Returns the address in `listening on IP:PORT`, which must be the first line.
    pub(crate) fn listening(&mut self) -> Outcome<SocketAddr> {
        let line = self.line(Instant::now() + PATIENCE)?;
        let address = line.strip_prefix("listening on ").and_then(|text| text.trim().parse().ok());
        address.ok_or_else(|| {
            self.explain(&format!("the first line is not `listening on IP:PORT`: {line}"))
        })
    }

    /// Waits for a line that contains `text`.
    pub(crate) fn line_with(&mut self, text: &str) -> Outcome<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let line =
                self.line(until).map_err(|error| format!("no line with {text:?}: {error}"))?;
            if line.contains(text) {
                return Ok(line);
            }
        }
    }

    /// Returns the last line, once the program has ended.
    pub(crate) fn last_line(&mut self) -> Option<&str> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        self.seen.last().map(String::as_str)
    }

    pub(crate) fn type_line(&mut self, line: &str) -> Outcome {
        let input = self.input.as_mut().expect("input ends last");
        input
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| input.flush())
            .map_err(|error| self.explain(&format!("{} reads no input: {error}", self.name)))
    }

    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// Sends a signal, named as in kill(1).
    pub(crate) fn signal(&self, name: &str) -> Outcome {
        command::signal(&self.child, name)
    }

    /// Waits until the program has ended, with code 0.
    pub(crate) fn end(&mut self, within: Duration) -> Outcome {
        match command::wait(&mut self.child, within)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.explain(&format!("{} ended with {status}", self.name))),
            None => {
                let limit = within.as_secs();
                Err(self.explain(&format!("{} still runs after {limit} s", self.name)))
            }
        }
    }

    /// Appends what the program wrote so far to `sentence`.
    pub(crate) fn explain(&self, sentence: &str) -> String {
        // The rest may still be on its way: wait briefly for each line.
        let rest = |from: &Receiver<String>| -> String {
            let next = || from.recv_timeout(Duration::from_millis(200)).ok();
            std::iter::from_fn(next).take(1000).map(|line| format!("  {line}\n")).collect()
        };
        let seen: String = self.seen.iter().map(|line| format!("  {line}\n")).collect();
        let (output, errors) = (rest(&self.lines), rest(&self.errors));
        format!("{sentence}\nits output:\n{seen}{output}its errors:\n{errors}")
    }

    fn line(&mut self, until: Instant) -> Outcome<String> {
        let left = until.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                self.seen.push(line.clone());
                Ok(line)
            }
            Err(RecvTimeoutError::Timeout) => Err(self.explain("no line in time")),
            Err(RecvTimeoutError::Disconnected) => Err(self.explain("its output has ended")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // This does nothing to a program that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns lines as they come, from a thread that ends with the stream.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        Running::start("script", Path::new("sh"), &["-c", script]).unwrap()
    }

    #[test]
    fn a_server_that_ends_cleanly_when_interrupted_is_accepted() {
        let script =
            "trap 'exit 0' TERM; echo listening on 127.0.0.1:80; while :; do sleep 0.05; done";
        let mut server = shell(script);
        assert_eq!(server.listening(), Ok("127.0.0.1:80".parse().unwrap()));
        server.signal("TERM").unwrap();
        assert_eq!(server.end(PATIENCE), Ok(()));
    }

    #[test]
    fn a_program_that_a_signal_ends_is_refused() {
        let mut server = shell("echo ready; exec sleep 1000");
        server.line_with("ready").unwrap();
        server.signal("TERM").unwrap();
        assert!(server.end(PATIENCE).unwrap_err().contains("signal: 15"));
    }

    #[test]
    fn a_failure_shows_what_the_program_wrote() {
        let mut program = shell("echo one; echo two; echo why >&2; exit 7");
        program.line_with("one").unwrap();
        let error = program.end(PATIENCE).unwrap_err();
        assert!(error.contains("exit status: 7"), "{error}");
        assert!(error.contains("  one\n  two\n") && error.contains("  why\n"), "{error}");
    }

    #[test]
    fn the_first_line_must_tell_the_address() {
        let mut server = shell("echo hello; exec sleep 1000");
        assert!(server.listening().unwrap_err().contains("is not `listening on"));
    }

    #[test]
    fn input_reaches_the_program_and_its_end_too() {
        let mut program = shell("while read -r line; do echo \"got $line\"; done");
        program.type_line("this").unwrap();
        assert_eq!(program.line_with("this"), Ok("got this".to_owned()));
        program.end_input();
        assert_eq!(program.end(PATIENCE), Ok(()));
        assert_eq!(program.last_line(), Some("got this"));
    }
}
