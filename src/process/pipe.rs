//! Several processes, each one's standard output the standard input of the next.

use std::{
    io,
    process::{Command, ExitStatus, Stdio},
};

use super::child::{Child, Gathered, Process};
use crate::{
    error,
    file::AsyncFile,
    future::{try_join_all, try_join3},
};

/// A row of processes, as `first | second | third` in a shell.
///
/// ```
/// use std::process::Command;
/// use asyncoro::process::AsyncPipe;
///
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let mut grep = Command::new("grep");
///     grep.arg("an");
///     let mut pipe = AsyncPipe::spawn([grep, Command::new("sort")])?;
///     let output = pipe.communicate("mango\napple\nbanana\n").await?;
///     assert_eq!(output.stdout, b"banana\nmango\n");
///     assert!(output.statuses.iter().all(|status| status.success()));
///     Ok(())
/// })
/// # }
/// ```
///
/// # Dropped
/// As [`Child`]: the processes go on, and are reaped.
#[derive(Debug)]
pub struct AsyncPipe {
    /// From the first to the last.
    children: Vec<Child>,
}

/// What [`AsyncPipe::communicate`] returns.
#[derive(Clone, Debug)]
pub struct PipeOutput {
    /// How each process ended, from the first to the last.
    pub statuses: Vec<ExitStatus>,
    /// The standard output of the last.
    pub stdout: Vec<u8>,
    /// The standard error of each; empty where the command does not have it piped.
    pub stderr: Vec<Vec<u8>>,
}

impl AsyncPipe {
    /// Starts the processes. The input of the first and the output of the last are piped to this
    /// program, standard errors go where the commands say.
    ///
    /// # Errors
    /// `InvalidInput` for no command; the system's. If one cannot be started, those before it are
    /// killed.
    pub fn spawn(commands: impl IntoIterator<Item = Command>) -> io::Result<AsyncPipe> {
        let mut children: Vec<Child> = Vec::new();
        let mut input = Stdio::piped();
        let mut commands = commands.into_iter().peekable();
        while let Some(mut command) = commands.next() {
            let spawned = link(&mut command, input, commands.peek().is_some());
            match spawned {
                Ok((child, next)) => {
                    children.push(child);
                    input = next;
                }
                Err(error) => {
                    children.iter().for_each(|child| child.kill_on_drop(true));
                    return Err(error);
                }
            }
            // The command has the pipes' other ends until it is dropped, here.
        }
        if children.is_empty() {
            return Err(error::invalid_input("a pipe of no commands"));
        }
        Ok(AsyncPipe { children })
    }

    /// Returns the standard input of the first process; `None` once it was closed or
    /// taken.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use std::process::Command;
    /// asyncoro::run(async {
    ///     let mut pipe = asyncoro::process::AsyncPipe::spawn([Command::new("cat")])?;
    ///     pipe.stdin().unwrap().write_all(b"line\n").await?;
    ///     assert_eq!(pipe.stdout().read_line(80).await?.as_deref(), Some("line"));
    ///     drop(pipe.take_stdin());
    ///     assert_eq!(pipe.stdout().read_line(80).await?, None);
    ///     assert!(pipe.wait().await?[0].success());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn stdin(&self) -> Option<&AsyncFile> {
        self.children.first()?.stdin.as_ref()
    }

    /// Takes the standard input of the first process, which finds the end there once that file is
    /// dropped.
    pub fn take_stdin(&mut self) -> Option<AsyncFile> {
        self.children[0].stdin.take()
    }

    /// Returns the standard output of the last process; see [`stdin`](AsyncPipe::stdin).
    pub fn stdout(&self) -> &AsyncFile {
        let last = self.children.last().and_then(|last| last.stdout.as_ref());
        last.expect("the output of the last was piped")
    }

    /// Returns the standard error of the last process, if its command has that piped.
    pub fn stderr(&self) -> Option<&AsyncFile> {
        self.children.last()?.stderr.as_ref()
    }

    /// Returns handles to the processes, from the first to the last.
    pub fn processes(&self) -> Vec<Process> {
        self.children.iter().map(Child::process).collect()
    }

    /// Closes the standard input, waits for the end of all, and returns how each ended.
    ///
    /// # Errors
    /// As [`Child::wait`].
    ///
    /// # Cancel
    /// Nothing is lost, but the standard input is closed.
    pub async fn wait(&mut self) -> io::Result<Vec<ExitStatus>> {
        drop(self.take_stdin());
        try_join_all(self.children.iter().map(|child| child.process.wait())).await
    }

    /// Ends all with SIGKILL.
    ///
    /// # Errors
    /// The first of the system's; the others are ended all the same.
    pub fn kill(&self) -> io::Result<()> {
        self.children.iter().map(Child::kill).fold(Ok(()), io::Result::and)
    }

    /// Asks all to end, with SIGTERM.
    ///
    /// # Errors
    /// As [`kill`](AsyncPipe::kill).
    pub fn terminate(&self) -> io::Result<()> {
        self.children.iter().map(Child::terminate).fold(Ok(()), io::Result::and)
    }

    /// Says whether the drop kills them.
    pub fn kill_on_drop(&self, kills: bool) {
        self.children.iter().for_each(|child| child.kill_on_drop(kills));
    }

    /// Writes `input` to the first process, reads what the last writes, and what each has for its
    /// standard error where that is piped, and waits for all; see [`Child::communicate`].
    ///
    /// # Errors
    /// As [`Child::communicate`].
    ///
    /// # Cancel
    /// Nothing is lost: the next `communicate("")` goes on.
    pub async fn communicate(&mut self, input: impl Into<Vec<u8>>) -> io::Result<PipeOutput> {
        self.communicate_within(input, usize::MAX).await
    }

    /// As [`communicate`](AsyncPipe::communicate), with at most `max` bytes of output, and as many
    /// of each one's errors.
    ///
    /// # Errors
    /// As [`Child::communicate_within`].
    ///
    /// # Cancel
    /// As [`communicate`](AsyncPipe::communicate).
    pub async fn communicate_within(
        &mut self,
        input: impl Into<Vec<u8>>,
        max: usize,
    ) -> io::Result<PipeOutput> {
        self.children[0].add_input(input.into())?;
        let processes = self.processes();
        let mut stdout = None;
        let mut stderr = Vec::new();
        let mut first = None;
        for child in &mut self.children {
            let Child { stdin, stdout: output, stderr: errors, input, .. } = child;
            first.get_or_insert((stdin, input));
            stdout = Some(&*output);
            stderr.push(Gathered { file: errors, bytes: None });
        }
        let (stdin, input) = first.expect("there is a first");
        let mut stdout = Gathered { file: stdout.expect("there is a last"), bytes: None };
        let errors = try_join_all(stderr.iter_mut().map(|one| one.gather(max)));
        try_join3(input.write(stdin), stdout.gather(max), errors).await?;
        let statuses = try_join_all(processes.iter().map(Process::wait)).await?;
        let stderr = stderr.into_iter().map(Gathered::take).collect();
        Ok(PipeOutput { statuses, stdout: stdout.take(), stderr })
    }
}

/// Starts one, and returns what the next gets as its input.
fn link(command: &mut Command, input: Stdio, has_next: bool) -> io::Result<(Child, Stdio)> {
    command.stdin(input);
    let next = if has_next {
        let (reader, writer) = io::pipe()?;
        command.stdout(writer);
        Stdio::from(reader)
    } else {
        command.stdout(Stdio::piped());
        Stdio::null()
    };
    Ok((Child::spawn(command)?, next))
}
