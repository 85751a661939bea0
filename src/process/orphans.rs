//! Children that nobody waits for any more: one thread of the process reaps them.
//!
//! A child that has ended stays in the system's table until its parent has asked for its status. So
//! a dropped child that still runs is handed to a thread, which starts with the first of them,
//! waits for all at once, and ends with the last. It asks for each by its number: the children of
//! others are left to those.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::Child,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    fork::Global,
    log,
    primitives::{Mutex, lock},
};

/// How often children are looked at that have no descriptor to wait for.
const PAUSE: Duration = Duration::from_millis(50);

/// A child, and the descriptor that tells of its end, where the system has one.
pub(super) struct Orphan {
    pub(super) child: Child,
    pub(super) end: Option<OwnedFd>,
}

/// What waits for the thread, or for one to be started.
#[derive(Default)]
struct Orphans {
    arrived: Vec<Orphan>,
    /// Wakes the thread; `None` while there is none.
    wake: Option<UnixStream>,
}

type Shared = Arc<Mutex<Orphans>>;

static ORPHANS: Global<Shared> = Global::new();

/// Reaps the child when it ends.
pub(super) fn adopt(mut orphan: Orphan) {
    if has_ended(&mut orphan.child) {
        return;
    }
    let shared = ORPHANS.of_this_process(|_| Shared::default());
    let mut orphans = lock(shared);
    orphans.arrived.push(orphan);
    match &mut orphans.wake {
        // A full pipe wakes it as well.
        Some(wake) => drop(wake.write(&[0])),
        None => match start(shared) {
            Ok(wake) => orphans.wake = Some(wake),
            Err(error) => {
                drop(orphans);
                log::warn(format_args!("a dropped child is reaped later, with the next: {error}"));
            }
        },
    }
}

fn start(shared: &Shared) -> io::Result<UnixStream> {
    let (wake, woken) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    let shared = Arc::clone(shared);
    let thread = thread::Builder::new().name("asyncoro-reaper".to_owned());
    thread.spawn(move || reap(&shared, &woken))?;
    Ok(wake)
}

fn reap(shared: &Shared, mut woken: &UnixStream) {
    let mut all: Vec<Orphan> = Vec::new();
    loop {
        let _ = woken.read(&mut [0; 64]);
        {
            let mut orphans = lock(shared);
            all.append(&mut orphans.arrived);
            all.retain_mut(|orphan| !has_ended(&mut orphan.child));
            if all.is_empty() {
                orphans.wake = None;
                return;
            }
        }
        wait(&all, woken);
    }
}

/// Waits until a child has ended, or another one comes.
fn wait(all: &[Orphan], woken: &UnixStream) {
    let ends = all.iter().filter_map(|orphan| orphan.end.as_ref()).map(AsFd::as_fd);
    let fds = ends.chain([woken.as_fd()]);
    let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let is_told_of_all = fds.len() > all.len();
    let pause = Timespec::try_from(PAUSE).ok().filter(|_| !is_told_of_all);
    if poll(&mut fds, pause.as_ref()).is_err() {
        // Interrupted, or no memory.
        thread::sleep(PAUSE);
    }
}

/// Tells whether the child has ended, or is no child of this process any more.
pub(super) fn has_ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}
