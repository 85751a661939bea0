//! Memory: of a connection that waits for a message, and of a coroutine that waits.
//!
//! Each subject is measured in a process of its own (this program with `--probe CASE SUBJECT`), so
//! none reuses memory that another one freed. There are two figures: live bytes on the heap,
//! counted exactly (`heap.rs`), and the growth of the resident size, which includes the allocator's
//! rounding and whole pages. Neither includes the kernel's part, about 8 KB for both ends of a
//! connection.

use std::io;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use super::messages::message;
use crate::load::Load;
use crate::report::{Base, Case, Report};
use crate::served::MakeServer;
use crate::subject::{self, MakeCoroutines, find};
use crate::{heap, machine};

const IDLE: &str = "idle connection";
const PARKED: &str = "parked coroutine";

/// The two metrics, which are measured together.
pub(super) const CASES: usize = 2;

const CONNECTIONS: usize = 9_000;
const COROUTINES: usize = 1_000_000;

pub(super) fn run(report: &mut Report) -> io::Result<()> {
    let idle = subject::idling().into_iter().map(|subject| subject.name);
    measure(IDLE, &format!("{IDLE}, {CONNECTIONS} of them"), &idle.collect::<Vec<_>>(), report)?;
    let parked = subject::coroutines().into_iter().map(|subject| subject.name);
    measure(PARKED, &format!("{PARKED}, {COROUTINES} of them"), &parked.collect::<Vec<_>>(), report)
}

fn measure(probe: &str, name: &str, subjects: &[String], report: &mut Report) -> io::Result<()> {
    let case = |metric| {
        let (name, bases) = (name.to_owned(), &[Base::Subject("tokio")]);
        Case { group: "memory", name, metric, unit: "bytes", bases, x: None }
    };
    let (heap, resident) = (case("heap"), case("resident size"));
    report.begin(&heap);
    let (mut heaps, mut residents) = (Vec::new(), Vec::new());
    for subject in subjects {
        let (heap, resident) = in_own_process(probe, subject)?;
        heaps.push((subject.clone(), vec![heap]));
        residents.push((subject.clone(), vec![resident]));
    }
    report.add(&heap, &heaps);
    report.add(&resident, &residents);
    Ok(())
}

fn in_own_process(probe: &str, subject: &str) -> io::Result<(f64, f64)> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["--probe", probe, subject]).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut figures = text.split_whitespace().map(str::parse);
    match (figures.next(), figures.next()) {
        (Some(Ok(heap)), Some(Ok(resident))) if output.status.success() => Ok((heap, resident)),
        _ => Err(io::Error::other(format!("{probe} of {subject}: {}, {text:?}", output.status))),
    }
}

/// Measures one case of one subject and prints its two figures.
pub(crate) fn probe(case: &str, name: &str) -> io::Result<()> {
    heap::count();
    let (heap, resident) = match case {
        IDLE => idle(find(subject::idling(), name)?)?,
        PARKED => parked(find(subject::coroutines(), name)?)?,
        _ => return Err(io::Error::other(format!("no case {case:?}"))),
    };
    println!("{heap} {resident}");
    Ok(())
}

/// Returns the bytes of a connection that has answered a few messages and waits for the next. Those
/// of a server with one connection are subtracted (runtime, hot buffer), so this is what each
/// further one adds.
fn idle(make: MakeServer) -> io::Result<(f64, f64)> {
    let (one, _) = serve(make, 1)?;
    let (all, resident) = serve(make, CONNECTIONS)?;
    Ok(((all - one) / (CONNECTIONS - 1) as f64, resident / CONNECTIONS as f64))
}

/// Returns what a server of `connections` adds to heap and resident size.
fn serve(make: MakeServer, connections: usize) -> io::Result<(f64, f64)> {
    let (load, accepted) = Load::connect(connections, message(100))?;
    let list = size_of_val(&*accepted);
    let (heap, resident) = (heap::live(), machine::resident()?);
    let mut server = make(accepted, 4096)?;
    server.turn(&load, 1);
    // The list of connections was live before and is not now.
    Ok((growth(heap, heap::live()) + list as f64, growth(resident, machine::resident()?)))
}

/// Returns the bytes of a coroutine without state that waits forever, with its handle dropped. This
/// includes the runtime's own memory, a thousandth of a byte for each kilobyte.
fn parked(make: MakeCoroutines) -> io::Result<(f64, f64)> {
    let (heap, resident) = (heap::live(), machine::resident()?);
    let mut runtime = make()?;
    runtime.park(COROUTINES);
    let heap = growth(heap, heap::live());
    let resident = growth(resident, machine::resident()?);
    Ok((heap / COROUTINES as f64, resident / COROUTINES as f64))
}

fn growth(before: usize, after: usize) -> f64 {
    after.wrapping_sub(before).cast_signed() as f64
}

/// A future without state that never ends; counts how many were polled.
pub(crate) struct Parked;

static BEGUN: AtomicUsize = AtomicUsize::new(0);

impl Parked {
    /// How many have begun to wait in this process.
    pub(crate) fn begun() -> usize {
        BEGUN.load(Ordering::Relaxed)
    }
}

impl Future for Parked {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        Poll::Pending
    }
}
