//! Runs parts of the work in processes of their own: this program with `--child`, or a program in
//! another language.
//!
//! The parent starts a child, orders a turn with an empty line, and reads the cost in a line.
//! Children and parent run on cores of their own ([`Pinned`]). Nothing outlives a run: a child ends
//! when its standard input ends or its time is up, and is killed and waited for when its [`Child`]
//! is dropped; the parent waits for each line with a timeout.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::load::Load;
use crate::machine;
use crate::rounds::{Contestant, Cost};
use crate::served::{Server, fatal};

/// A child, seen from its parent.
pub(crate) struct Child {
    process: process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts the part that [`crate::group::child`] finds by these words.
    pub(crate) fn start(part: &[&str]) -> io::Result<Self> {
        Self::start_with(part, &[])
    }

    /// Starts it with variables of the environment.
    pub(crate) fn start_with(part: &[&str], variables: &[(&str, &str)]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--child").args(part).envs(variables.iter().copied());
        Self::of(command)
    }

    /// Starts another program on the core of the children. It must end when its standard input
    /// ends.
    pub(crate) fn start_program(command: Command) -> io::Result<Self> {
        let _pinned = Pinned::to(SERVERS)?;
        Self::of(command)
    }

    fn of(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let input = process.stdin.take().expect("it is piped");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        Ok(Self { process, input, output })
    }

    /// Returns the next line that it prints.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        if self.output.buffer().is_empty() {
            let patience = Timespec::try_from(PATIENCE).expect("a few seconds");
            let output = self.output.get_ref();
            let ready =
                retry_on_intr(|| poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&patience)))?;
            if ready == 0 {
                return Err(io::Error::new(ErrorKind::TimedOut, "a child says nothing"));
            }
        }
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.pop() != Some('\n') {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "a child ended before its time"));
        }
        Ok(line)
    }

    /// Returns the next line as numbers.
    pub(crate) fn numbers<const N: usize>(&mut self) -> io::Result<[u64; N]> {
        let line = self.line()?;
        let numbers: Option<Vec<u64>> =
            line.split_whitespace().map(|word| word.parse().ok()).collect();
        let expected = numbers.and_then(|numbers| numbers.try_into().ok());
        expected.ok_or_else(|| io::Error::other(format!("a child says {line:?}")))
    }

    /// Orders a turn and returns its cost.
    pub(crate) fn turn<const N: usize>(&mut self) -> io::Result<[u64; N]> {
        self.input.write_all(b"\n")?;
        self.numbers()
    }

    /// Returns how long its threads have run on a core, including the kernel's work for them. Exact
    /// only while all of them sleep.
    fn run_time(&self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let first = text.split_whitespace().next().and_then(|number| number.parse().ok());
            nanoseconds += first.unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Returns its resident memory, in bytes.
    pub(crate) fn resident(&self) -> io::Result<usize> {
        machine::resident_of(&self.process.id().to_string())
    }

    /// Returns how long the work makes the child run, until it sleeps again.
    pub(crate) fn run_time_of<T>(&self, work: impl FnOnce() -> T) -> (T, Duration) {
        let before = self.run_time().unwrap_or_else(fatal);
        let done = work();
        thread::sleep(SETTLING);
        (done, self.run_time().unwrap_or_else(fatal) - before)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; in either case wait for it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes a contestant whose server and load are in a child that runs [`serve_turns`].
pub(crate) fn contestant(name: &str, part: &[&str]) -> io::Result<Contestant> {
    let mut child = Child::start(part)?;
    let [works_in_sends, operations] = child.numbers()?;
    let turn = move || {
        let [own, sending] = child.turn().unwrap_or_else(fatal);
        let per_operation = |nanoseconds| nanoseconds as f64 / operations as f64;
        Cost { own: per_operation(own), sending: per_operation(sending) }
    };
    Ok(Contestant { works_in_sends: works_in_sends != 0, ..Contestant::new(name, turn) })
}

/// In a child: runs a turn at each order.
pub(crate) fn serve_turns(
    mut server: Box<dyn Server>,
    load: &Rc<Load>,
    times: usize,
    operations: usize,
) -> io::Result<()> {
    let orders = begin()?;
    println!("{} {operations}", u8::from(server.works_in_sends()));
    for () in orders {
        let spent = server.turn(load, times);
        println!("{} {}", spent.serving.as_nanos(), spent.sending.as_nanos());
    }
    Ok(())
}

/// In a child, at its start: moves to its core, and arranges for its end. Returns the parent's
/// orders.
pub(crate) fn begin() -> io::Result<mpsc::Receiver<()>> {
    let pinned = Pinned::to(SERVERS)?;
    // Pinned for its whole life.
    std::mem::forget(pinned);
    let (give, orders) = mpsc::channel();
    thread::spawn(move || {
        // A part may take no orders.
        for _ in io::stdin().lines().map_while(Result::ok) {
            let _ = give.send(());
        }
        process::exit(0)
    });
    thread::spawn(|| {
        thread::sleep(DEADLINE);
        process::exit(1)
    });
    Ok(orders)
}

/// Keeps this thread, and those that it starts, on one core until dropped.
pub(crate) struct Pinned(CpuSet);

impl Pinned {
    /// Pins to the nth of the allowed cores; does nothing if there are fewer.
    pub(crate) fn to(nth: usize) -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core));
        if let Some(core) = allowed.nth(nth) {
            let mut one = CpuSet::new();
            one.set(core);
            sched_setaffinity(None, &one)?;
        }
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // The previous set, which was allowed before.
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// The core of the children.
const SERVERS: usize = 0;
/// The core of a parent that loads them. It moves there after it has started them, since they
/// inherit the cores.
pub(crate) const CLIENTS: usize = 1;

/// Longer than a server polls before it sleeps, so that its last work is counted.
const SETTLING: Duration = Duration::from_millis(1);
/// How long the slowest turn of a child may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a run may take.
const DEADLINE: Duration = Duration::from_secs(60 * 60);
