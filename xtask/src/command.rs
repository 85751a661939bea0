//! Runs commands that cannot hang: each has a timeout, after which it is ended.
//!
//! Only processes that were started here are ended, by their id: the command and its descendants,
//! as `/proc` lists them at that moment (cargo would leave its test binary running).

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{Outcome, root, skips};

/// A command to run in the root of the workspace, or in another folder, with its timeout.
pub(crate) struct Job {
    command: Command,
    shown: String,
    deadline: Duration,
}

impl Job {
    /// Runs cargo of the toolchain that runs xtask; `words` are its arguments, separated by spaces.
    pub(crate) fn cargo(words: &str) -> Self {
        let mut job = Job::program("cargo", words);
        if let Some(cargo) = std::env::var_os("CARGO") {
            job.command = Command::new(cargo);
            job.command.args(words.split_whitespace()).current_dir(root());
        }
        job
    }

    /// Runs any program; `words` are its arguments, separated by spaces.
    pub(crate) fn program(program: &str, words: &str) -> Self {
        let mut command = Command::new(program);
        command.args(words.split_whitespace()).current_dir(root());
        let shown = format!("{program} {words}").trim_end().to_owned();
        Job { command, shown, deadline: minutes(10) }
    }

    /// Adds an argument, which may contain spaces.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self.shown = format!("{} {argument}", self.shown);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self.shown = format!("{name}='{value}' {}", self.shown);
        self
    }

    pub(crate) fn without_variable(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it in that folder.
    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self.shown = format!("(cd {}; {})", folder.display(), self.shown);
        self
    }

    /// Sets how long the command may take; the default is 10 minutes.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs the command, with this process's outputs.
    pub(crate) fn run(mut self) -> Outcome {
        println!("$ {}", self.shown);
        let child = self.spawn()?;
        self.finish(child)
    }

    /// Runs tests, copies their output to ours, and records what they report as skipped.
    pub(crate) fn run_tests(mut self) -> Outcome {
        println!("$ {}", self.shown);
        let (from, to) = std::io::pipe().map_err(|error| error.to_string())?;
        let both = to.try_clone().map_err(|error| error.to_string())?;
        self.command.stdout(both).stderr(to);
        let child = self.spawn()?;
        self.command = Command::new("true"); // drops our ends of the pipe, so that reading it ends
        let reader = thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                skips::read(&line);
            }
        });
        let outcome = self.finish(child);
        reader.join().expect("the reader does not panic");
        outcome
    }

    /// Runs the command and returns its standard output.
    pub(crate) fn capture(mut self) -> Outcome<String> {
        self.command.stdout(Stdio::piped());
        let mut child = self.spawn()?;
        let mut stdout = child.stdout.take().expect("piped above");
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            stdout.read_to_end(&mut text).map(|_| text)
        });
        self.finish(child)?;
        let text = reader.join().expect("the reader does not panic");
        let text = text.map_err(|error| format!("{}: {error}", self.shown))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs the command silently; returns whether it succeeded, and all its output.
    pub(crate) fn observe(mut self) -> Outcome<(bool, String)> {
        let (mut from, to) = std::io::pipe().map_err(|error| error.to_string())?;
        let both = to.try_clone().map_err(|error| error.to_string())?;
        self.command.stdout(both).stderr(to);
        let child = self.spawn()?;
        self.command = Command::new("true"); // drops our ends of the pipe, so that reading it ends
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            from.read_to_end(&mut text).map(|_| text)
        });
        let outcome = self.finish(child);
        let text = reader.join().expect("the reader does not panic").unwrap_or_default();
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if let Err(sentence) = &outcome {
            text.push_str(sentence);
        }
        Ok((outcome.is_ok(), text))
    }

    fn spawn(&mut self) -> Outcome<Child> {
        self.command.stdin(Stdio::null());
        self.command.spawn().map_err(|error| format!("cannot start {}: {error}", self.shown))
    }

    fn finish(&self, mut child: Child) -> Outcome {
        match wait(&mut child, self.deadline)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("{} ended with {status}", self.shown)),
            None => {
                end_family(&mut child);
                let limit = self.deadline.as_secs();
                Err(format!("{} was not done after {limit} s and was ended", self.shown))
            }
        }
    }
}

/// Waits for the end of `child`; returns `None` if it still runs at the deadline.
pub(crate) fn wait(child: &mut Child, deadline: Duration) -> Outcome<Option<ExitStatus>> {
    let until = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal, named as in kill(1), to a process that was started here.
pub(crate) fn signal(child: &Child, name: &str) -> Outcome {
    kill(name, &[child.id()])
}

pub(crate) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn end_family(child: &mut Child) {
    let family = descendants(child.id(), &parents());
    // A failure means that the process has ended meanwhile.
    let _ = child.kill();
    let _ = kill("KILL", &family);
    let _ = child.wait();
}

/// Uses the shell's built-in kill, since a machine may lack the program.
fn kill(name: &str, processes: &[u32]) -> Outcome {
    if processes.is_empty() {
        return Ok(());
    }
    let numbers: Vec<String> = processes.iter().map(u32::to_string).collect();
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$@\"", "sh", name])
        .args(&numbers)
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("cannot send SIG{name} to {}", numbers.join(" "))),
    }
}

fn descendants(of: u32, parents: &HashMap<u32, u32>) -> Vec<u32> {
    let mut family = Vec::new();
    for (&process, &parent) in parents {
        if parent == of {
            family.push(process);
            family.extend(descendants(process, parents));
        }
    }
    family
}

/// Returns each process with its parent; empty where there is no `/proc`.
fn parents() -> HashMap<u32, u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .filter_map(|entry| {
            let process = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            Some((process, parent_in(&stat)?))
        })
        .collect()
}

/// Returns field 4 of proc_pid_stat(5); the name before it may contain spaces and brackets.
fn parent_in(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_goes_well_is_captured() {
        assert_eq!(Job::program("echo", "a b").capture(), Ok("a b\n".to_owned()));
        assert!(Job::program("false", "").run().unwrap_err().contains("exit status: 1"));
    }

    #[test]
    fn both_outputs_are_observed() {
        let job = Job::program("sh", "-c").argument("echo out; echo err >&2; exit 3");
        let (well, text) = job.observe().unwrap();
        assert!(!well && text.contains("out\nerr\n") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn a_command_over_its_deadline_is_ended_with_its_children() {
        let job = Job::program("sh", "-c").argument("sleep 1000 & wait");
        let error = job.deadline(Duration::from_millis(200)).capture().unwrap_err();
        // `capture` returned, so nobody holds the pipe any longer: the grandchild has ended too.
        assert!(error.contains("was not done"), "{error}");
    }

    #[test]
    fn the_parent_is_read_behind_any_name() {
        assert_eq!(parent_in("12 (a) b) S 7 12 12 0"), Some(7));
    }
}
