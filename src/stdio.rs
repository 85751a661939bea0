//! Lines of standard input, read without blocking the scheduler.
//!
//! [`lines`] takes them from a background thread, which all [`Lines`] of the process share.

// The thread (`pump`) starts with the first `next`, reads at most `AHEAD` lines ahead into a
// mailbox, and is never joined, so a read that never returns delays nothing.

use std::{
    io::{self, BufRead, ErrorKind, Read},
    sync::{Mutex, PoisonError},
    thread,
};

use rustix::event::{PollFd, PollFlags, poll};

use crate::{
    fork::{self, Global},
    sync::{Receiver, Sender, mailbox},
};

/// Returns the lines of standard input, to be taken one by one.
///
/// From the first [`next`](Lines::next) on, a background thread of the process reads them; all
/// `Lines` take from it, and each line goes to one of them. Up to 16 lines are read ahead; they are
/// kept for a later `Lines` when this one is dropped. Bytes that `std::io::stdin` had buffered
/// before are not lost. The thread holds the lock of `std::io::stdin` until the end of the input,
/// so a blocking call there waits as long.
///
/// # Example
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let mut lines = asyncoro::stdio::lines();
///     while let Some(line) = lines.next().await? {
///         println!("{} characters", line.chars().count());
///     }
///     Ok(())
/// })
/// # }
/// ```
pub fn lines() -> Lines {
    Lines { input: None, process: fork::generation() }
}

/// The lines of standard input; made by [`lines`].
#[derive(Debug)]
pub struct Lines {
    input: Option<&'static Receiver<Line>>,
    /// The number of the process whose mailbox `input` is: a child must not touch that of its
    /// parent.
    process: u32,
}

impl Lines {
    /// Waits for the next line, without its `\n` or `\r\n`; `None` at the end of the input.
    ///
    /// A last line without `\n` is a line too. After the end every call returns `None`.
    ///
    /// # Example
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// asyncoro::run(async {
    ///     let mut lines = asyncoro::stdio::lines();
    ///     match lines.next().await {
    ///         Ok(Some(line)) => println!("first line: {line}"),
    ///         Ok(None) => println!("nothing there"),
    ///         Err(error) => println!("not text: {error}"), // `next` continues after it
    ///     }
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidData` for a line that is not UTF-8 or is longer than 64 MiB; that line is skipped,
    /// and the next call returns the line after it. An error of read(2), after which the input has
    /// ended. An error of starting the thread, after which the next call tries again.
    ///
    /// # Cancel
    /// Dropping it takes no line.
    ///
    /// # Platform
    /// In a child made by fork(2) without exec no line comes if the parent has called `next`: the
    /// parent's thread holds the lock of `std::io::stdin`.
    pub async fn next(&mut self) -> io::Result<Option<String>> {
        let input = match self.input {
            Some(input) if self.process == fork::generation() => input,
            _ => {
                let input = *self.input.insert(standard_input()?);
                // After `standard_input`, which makes forks count.
                self.process = fork::generation();
                input
            }
        };
        input.receive().await.transpose()
    }
}

type Line = io::Result<String>;

/// Returns the mailbox of the process; the first call makes it and starts the thread that fills it.
fn standard_input() -> io::Result<&'static Receiver<Line>> {
    static INPUT: Global<Mutex<Option<&'static Receiver<Line>>>> = Global::new();
    let input = INPUT.of_this_process(|_| Mutex::default());
    let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(input) = *input {
        return Ok(input);
    }
    let (sender, receiver) = mailbox(AHEAD);
    let read = move || pump(io::stdin().lock(), standard_input_readable, LONGEST, &sender);
    thread::Builder::new().name("asyncoro-stdin".to_owned()).spawn(read)?;
    Ok(input.insert(Box::leak(Box::new(receiver))))
}

/// Waits until standard input is readable, in case somebody made it non-blocking.
fn standard_input_readable() -> io::Result<()> {
    match poll(&mut [PollFd::new(&io::stdin(), PollFlags::IN)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads lines of at most `longest` bytes and sends them, until the input or the mailbox ends.
///
/// Calls `readable` to wait when `reader` returns `WouldBlock`.
fn pump(
    mut reader: impl BufRead,
    readable: impl Fn() -> io::Result<()>,
    longest: usize,
    lines: &Sender<Line>,
) {
    loop {
        let (line, goes_on) = match read_line(&mut reader, &readable, longest) {
            Ok(Some(line)) => (line, true),
            Ok(None) => return,
            Err(error) => (Err(error), false),
        };
        if lines.send_blocking(line).is_err() || !goes_on {
            return;
        }
    }
}

/// Reads one line, or an error in place of a bad one; `None` at the end; fails if reading itself
/// fails.
fn read_line(
    reader: &mut impl BufRead,
    readable: &impl Fn() -> io::Result<()>,
    longest: usize,
) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let longest_with_end = longest.saturating_add(b"\r\n".len());
    retry_when_readable(readable, || {
        let room = (longest_with_end - line.len()) as u64;
        reader.by_ref().take(room).read_until(b'\n', &mut line)
    })?;
    if line.is_empty() {
        return Ok(None);
    }
    let cut = line.len() == longest_with_end && !line.ends_with(b"\n");
    if cut {
        retry_when_readable(readable, || reader.skip_until(b'\n'))?;
    }
    strip_end(&mut line);
    if cut || line.len() > longest {
        let text = format!("a line of the input is longer than {longest} bytes");
        return Ok(Some(Err(io::Error::new(ErrorKind::InvalidData, text))));
    }
    let text = String::from_utf8(line);
    Ok(Some(text.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))))
}

/// Strips `\n` or `\r\n` from the end, as `BufRead::lines` does.
fn strip_end(line: &mut Vec<u8>) {
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    }
}

/// Calls `read`; waits and repeats it as long as it would block.
fn retry_when_readable<T>(
    readable: &impl Fn() -> io::Result<()>,
    mut read: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match read() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => readable()?,
            result => return result,
        }
    }
}

/// How many lines are read before anybody asks for them.
const AHEAD: usize = 16;

/// The length of the longest line, in bytes; the same as a message's.
const LONGEST: usize = 64 << 20;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        collections::VecDeque,
        env,
        io::{BufReader, Cursor, Write, pipe},
        process::{Child, Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;
    use crate::sync::{TryReceiveError, block_on};

    /// Returns everything that `pump` makes of `input`, errors as their kinds.
    fn pumped(input: &[u8], longest: usize) -> Vec<Result<String, ErrorKind>> {
        let (sender, receiver) = mailbox(1000);
        pump(Cursor::new(input), || unreachable!("a Cursor never blocks"), longest, &sender);
        drop(sender);
        let lines = std::iter::from_fn(|| receiver.try_receive().ok());
        lines.map(|line| line.map_err(|error| error.kind())).collect()
    }

    fn ok(line: &str) -> Result<String, ErrorKind> {
        Ok(line.to_owned())
    }

    #[test]
    fn lines_are_split_as_std_splits_them() {
        let inputs = ["", "\n", "a\nb\n", "a\nb", "a\r\n\r\nb\r", "\r\r\n", "a\r", "\n\n", "ä\n"];
        for input in inputs {
            let ours: Vec<_> =
                pumped(input.as_bytes(), 100).into_iter().map(Result::unwrap).collect();
            let std: Vec<_> = input.as_bytes().lines().map(Result::unwrap).collect();
            assert_eq!(ours, std, "{input:?}");
        }
    }

    #[test]
    fn a_line_that_is_not_utf8_is_an_error_and_the_next_one_comes() {
        let lines = pumped(b"one\n\xff\xfe\nthree\n\xff", 100);
        let bad = || Err(ErrorKind::InvalidData);
        assert_eq!(lines, [ok("one"), bad(), ok("three"), bad()]);
    }

    #[test]
    fn a_line_over_the_limit_is_an_error_and_the_next_one_comes() {
        let bad = || Err(ErrorKind::InvalidData);
        let lines = pumped(b"1234\n1234\r\n12345\n123456\n1234567890\n123\n12345", 4);
        assert_eq!(lines, [ok("1234"), ok("1234"), bad(), bad(), bad(), ok("123"), bad()]);
    }

    #[test]
    fn a_failing_read_gives_the_line_before_it_then_the_error_then_the_end() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        let (sender, receiver) = mailbox(9);
        pump(BufReader::new(Cursor::new("a\n").chain(Fails)), || Ok(()), 9, &sender);
        drop(sender);
        assert_eq!(receiver.receive_blocking().unwrap().unwrap(), "a");
        let error = receiver.receive_blocking().unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
        assert!(receiver.receive_blocking().is_none());
    }

    #[test]
    fn a_read_that_would_block_waits_and_loses_nothing() {
        /// A reader that returns `WouldBlock` before each of its pieces.
        struct Reluctant<'a>(&'a RefCell<VecDeque<&'static [u8]>>, &'a Cell<bool>);
        impl Read for Reluctant<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if !self.1.replace(false) {
                    return Err(ErrorKind::WouldBlock.into());
                }
                let piece = self.0.borrow_mut().pop_front().unwrap_or_default();
                buffer[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
        }
        let pieces: [&[u8]; 7] = [b"on", b"e\nt", b"wo\n123", b"4567", b"89\n", b"thr", b"ee"];
        let (pieces, ready, waits) =
            (RefCell::new(VecDeque::from(pieces)), Cell::new(false), Cell::new(0));
        let readable = || {
            ready.set(true);
            waits.set(waits.get() + 1);
            Ok(())
        };
        let (sender, receiver) = mailbox(9);
        pump(BufReader::new(Reluctant(&pieces, &ready)), readable, 5, &sender);
        drop(sender);
        assert_eq!(receiver.receive_blocking().unwrap().unwrap(), "one");
        assert_eq!(receiver.receive_blocking().unwrap().unwrap(), "two");
        assert!(receiver.receive_blocking().unwrap().is_err());
        assert_eq!(receiver.receive_blocking().unwrap().unwrap(), "three");
        assert!(receiver.receive_blocking().is_none());
        assert!(waits.get() >= 8);
    }

    /// Makes a `Lines` that takes from `reader` instead of standard input, and the thread that
    /// reads.
    fn lines_of(reader: impl Read + Send + 'static) -> (Lines, thread::JoinHandle<()>) {
        let (sender, receiver) = mailbox(AHEAD);
        let read = move || pump(BufReader::new(reader), || Ok(()), LONGEST, &sender);
        let input = Some(&*Box::leak(Box::new(receiver)));
        let lines = Lines { input, process: fork::generation() };
        (lines, thread::spawn(read))
    }

    #[test]
    fn a_dropped_next_loses_no_line() {
        let (reader, mut writer) = pipe().unwrap();
        let (mut lines, thread) = lines_of(reader);
        let poll_and_drop = |lines: &mut Lines| {
            let mut next = Box::pin(lines.next());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(next.as_mut().poll(&mut context).is_pending());
        };
        poll_and_drop(&mut lines);
        writer.write_all(b"first\nsecond\n").unwrap();
        assert_eq!(block_on(lines.next()).unwrap().unwrap(), "first");
        assert_eq!(block_on(lines.next()).unwrap().unwrap(), "second");
        poll_and_drop(&mut lines);
        writer.write_all(b"third").unwrap();
        drop(writer);
        assert_eq!(block_on(lines.next()).unwrap().unwrap(), "third");
        assert!(block_on(lines.next()).unwrap().is_none());
        assert!(block_on(lines.next()).unwrap().is_none());
        thread.join().unwrap();
    }

    #[test]
    fn the_read_ahead_is_bounded() {
        let numbers: Vec<_> = (0..100).map(|number| format!("{number}\n")).collect();
        let (mut lines, thread) = lines_of(Cursor::new(numbers.concat()));
        let input = lines.input.unwrap();
        let start = Instant::now();
        while input.len() < AHEAD && start.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(10));
        assert_eq!(input.len(), AHEAD);
        assert!(!thread.is_finished());
        for number in 0..100 {
            assert_eq!(block_on(lines.next()).unwrap(), Some(number.to_string()));
        }
        assert!(block_on(lines.next()).unwrap().is_none());
        assert_eq!(input.try_receive().unwrap_err(), TryReceiveError::Closed);
        thread.join().unwrap();
    }

    /// Runs in the process that [`a_process_that`] starts, with a pipe as standard input.
    #[test]
    #[ignore = "runs in a child process, started by other tests"]
    fn child() {
        let Ok(scene) = env::var("ASYNCORO_STDIO_SCENE") else { return };
        let mut second = lines();
        assert_eq!(block_on(lines().next()).unwrap().unwrap(), "one");
        assert_eq!(block_on(second.next()).unwrap().unwrap(), "two");
        if scene == "reads all" {
            assert_eq!(block_on(lines().next()).unwrap().unwrap(), "three");
            assert!(block_on(second.next()).unwrap().is_none());
            assert!(block_on(lines().next()).unwrap().is_none());
        }
    }

    fn a_process_that(scene: &str) -> Child {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "--ignored", "stdio::tests::child"])
            .env("ASYNCORO_STDIO_SCENE", scene)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[test]
    fn all_lines_of_the_process_take_from_one_reader() {
        let mut child = a_process_that("reads all");
        child.stdin.take().unwrap().write_all(b"one\ntwo\r\nthree").unwrap();
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_process_ends_while_its_thread_is_stuck_in_a_read() {
        let mut child = a_process_that("leaves early");
        let mut stays_open = child.stdin.take().unwrap();
        stays_open.write_all(b"one\ntwo\n").unwrap();
        assert!(child.wait().unwrap().success()); // hangs if the exit waits for the thread
    }
}
