//! Bystanders: coroutines on each scheduler that are independent of the ends, and must run whatever
//! the ends and their peers do.
//!
//! Two clocks are used, so that a busy machine causes no false finding. The thread's own processor
//! time shows a bystander that its scheduler does not run while it works. The watchdog, which
//! counts its own runs instead of time, shows one that is forgotten while the thread sleeps: the
//! watchdog ran many times, and the bystander never.

use std::{
    io,
    os::unix::net::UnixStream,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use asyncoro::{AsyncSocket, spawn, sync::mailbox, time::sleep};
use rustix::time::{ClockId, clock_gettime};

/// How long a thread may run without one of its bystanders running.
const BOUND: Duration = Duration::from_secs(1);

/// Runs of the watchdog within which each bystander must have run.
const ROUNDS: u32 = 100;

/// The runs of one bystander.
#[derive(Default)]
pub(super) struct Beat {
    name: &'static str,
    turns: AtomicU64,
    /// The longest time that its thread ran without it, in nanoseconds.
    worst: AtomicU64,
    over: AtomicU64,
}

/// What the watchdog remembers of a bystander.
#[derive(Default)]
pub(super) struct Seen {
    turns: u64,
    rounds: u32,
}

impl Beat {
    fn new(name: &'static str) -> Arc<Beat> {
        Arc::new(Beat { name, ..Beat::default() })
    }

    /// Fails if its thread ran too long without it.
    pub(super) fn judge(&self) -> Result<(), String> {
        let worst = Duration::from_nanos(self.worst.load(Ordering::Relaxed));
        if worst <= BOUND {
            return Ok(());
        }
        Err(format!("bystander {}: its thread ran for {worst:?} without it", self.name))
    }

    /// Fails if it has not run for too many of the watchdog's runs.
    pub(super) fn look(&self, seen: &mut Seen) -> Result<(), String> {
        let turns = self.turns.load(Ordering::Relaxed);
        if turns != seen.turns || self.over.load(Ordering::Relaxed) > 0 {
            *seen = Seen { turns, rounds: 0 };
            return self.judge();
        }
        seen.rounds += 1;
        if seen.rounds < ROUNDS {
            return Ok(());
        }
        let rounds = seen.rounds;
        Err(format!("bystander {} had no turn while the watchdog had {rounds}", self.name))
    }
}

/// Records a bystander's runs, and is dropped with it.
struct Pulse {
    beat: Arc<Beat>,
    before: Duration,
}

impl Pulse {
    fn new(beat: Arc<Beat>) -> Pulse {
        Pulse { beat, before: ran() }
    }

    fn turn(&mut self) {
        let now = ran();
        let gap = now.saturating_sub(self.before).as_nanos() as u64;
        self.before = now;
        self.beat.turns.fetch_add(1, Ordering::Relaxed);
        self.beat.worst.fetch_max(gap, Ordering::Relaxed);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.turn();
        self.beat.over.store(1, Ordering::Relaxed);
    }
}

/// Returns the processor time of this thread.
fn ran() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Starts the bystanders of this thread's scheduler.
pub(super) fn start() -> io::Result<Vec<Arc<Beat>>> {
    let beats = ["timer", "mailbox", "echo"].map(Beat::new);
    let [timer, letters, echo] = beats.clone().map(Pulse::new);
    drop(spawn(watch(timer)));
    drop(spawn(post(letters)));
    let (near, far) = UnixStream::pair()?;
    drop(spawn(answer(AsyncSocket::new(far)?)));
    drop(spawn(ask(echo, AsyncSocket::new(near)?)));
    Ok(beats.to_vec())
}

async fn watch(mut pulse: Pulse) {
    loop {
        sleep(Duration::from_millis(1)).await;
        pulse.turn();
    }
}

async fn post(mut pulse: Pulse) {
    let (to, box_of_one) = mailbox(1);
    let (back, answers) = mailbox(1);
    let box_of_one = Rc::new(box_of_one);
    drop(spawn(async move {
        while let Some(letter) = box_of_one.receive().await {
            if back.send(letter).await.is_err() {
                return;
            }
        }
    }));
    loop {
        for letter in 0..20 {
            to.send(letter).await.expect("the other is there");
            assert_eq!(answers.receive().await, Some(letter));
            pulse.turn();
        }
        sleep(Duration::from_millis(2)).await;
    }
}

async fn answer(socket: AsyncSocket) -> io::Result<()> {
    while let Some(message) = socket.recv_msg().await? {
        socket.send_msg(&message).await?;
    }
    Ok(())
}

async fn ask(mut pulse: Pulse, socket: AsyncSocket) -> io::Result<()> {
    loop {
        socket.send_msg(b"there and back").await?;
        assert_eq!(socket.recv_msg().await?.expect("it answers"), "there and back");
        pulse.turn();
        sleep(Duration::from_millis(2)).await;
    }
}
