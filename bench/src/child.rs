//! Parts of the work that need a process of their own: this program once more, with `--child`, or a
//! program in another language.
//!
//! The parent starts a child, reads from it a line at a time, tells it to do a turn by an empty
//! line and reads what that cost. Children and parent run on cores of their own ([`Pinned`]).
//! Nothing outlives a run: a child ends when its standard input does, is killed and waited for when
//! its [`Child`] is dropped, and has a deadline; the parent waits for no line for ever.

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
    /// Starts the part that [`crate::group::child`] knows by these words.
    pub(crate) fn start(part: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--child").args(part);
        Self::of(command)
    }

    /// Starts a program that is not this one, on the core of the children. It has to end when its
    /// standard input does.
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

    /// The next line it prints.
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

    /// The next line, which is numbers.
    pub(crate) fn numbers<const N: usize>(&mut self) -> io::Result<[u64; N]> {
        let line = self.line()?;
        let numbers: Option<Vec<u64>> =
            line.split_whitespace().map(|word| word.parse().ok()).collect();
        let expected = numbers.and_then(|numbers| numbers.try_into().ok());
        expected.ok_or_else(|| io::Error::other(format!("a child says {line:?}")))
    }

    /// Has it do a turn and tell of it.
    pub(crate) fn turn<const N: usize>(&mut self) -> io::Result<[u64; N]> {
        self.input.write_all(b"\n")?;
        self.numbers()
    }

    /// How long its threads have been running on a core, the work of the kernel for them included.
    /// Exact only while all of them sleep.
    fn run_time(&self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let first = text.split_whitespace().next().and_then(|number| number.parse().ok());
            nanoseconds += first.unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Resident bytes of its memory.
    pub(crate) fn resident(&self) -> io::Result<usize> {
        machine::resident_of(&self.process.id().to_string())
    }

    /// What the work makes the child run, until it sleeps again.
    pub(crate) fn run_time_of<T>(&self, work: impl FnOnce() -> T) -> (T, Duration) {
        let before = self.run_time().unwrap_or_else(fatal);
        let done = work();
        thread::sleep(SETTLING);
        (done, self.run_time().unwrap_or_else(fatal) - before)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A contestant whose server and load are in a child that does [`serve_turns`]; a turn is so many
/// operations.
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

/// In a child: does a turn, so many times round and so many operations, whenever it is told to.
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

/// In a child, before it does anything: moves to its core, sees to its end. Gives the parent's
/// orders.
pub(crate) fn begin() -> io::Result<mpsc::Receiver<()>> {
    let pinned = Pinned::to(SERVERS)?;
    // For its whole life.
    std::mem::forget(pinned);
    let (give, orders) = mpsc::channel();
    thread::spawn(move || {
        // A part that takes no orders listens to none.
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

/// Keeps this thread, and those that it starts, on one core until it is dropped.
pub(crate) struct Pinned(CpuSet);

impl Pinned {
    /// On the nth of the cores allowed. On a machine with fewer it stays as it is.
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
        // The same set as before, which was allowed then.
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// The core of the children.
const SERVERS: usize = 0;
/// The core of a parent that loads them. It goes there after it has started them: they inherit
/// where they may run.
pub(crate) const CLIENTS: usize = 1;

/// Longer than a server polls before it sleeps, so that what it does last is counted.
const SETTLING: Duration = Duration::from_millis(1);
/// For the slowest turn of a child.
const PATIENCE: Duration = Duration::from_secs(60);
/// No run is longer.
const DEADLINE: Duration = Duration::from_secs(60 * 60);
