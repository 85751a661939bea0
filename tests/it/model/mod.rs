//! A model-based test: two ends of a connection do at random whatever the API allows, and a
//! reference determines what must have arrived.
//!
//! A run of the test plays scenarios for 30 s; each depends on one number, its seed. In a scenario
//! two ends, of either face, on one scheduler or two, over TCP or a Unix socket, without TLS, with
//! it, or with start_tls, send and receive by all verbs of streams, drop futures at any point, time
//! out, convert to the other face, are taken apart and made anew, and close in every way. Or one of
//! them is a regular socket that misbehaves ([`adversary`]).
//!
//! Invariants: what a send verb has accepted arrives in order and once, unless an error was
//! returned; a dropped future has done what `docs/cancel.md` says of its verb ([`reference`]);
//! every coroutine of each scheduler runs ([`liveness`]); each scenario ends.
//!
//! A failure prints the seed and what each end has done. To repeat it:
//!
//! ```text
//! ASYNCORO_MODEL_SEED=1234 cargo test -p asyncoro --test it model
//! ASYNCORO_MODEL_SECONDS=3600 cargo test -p asyncoro --test it model
//! ```
//!
//! With a seed, one scenario is played, repeatedly if a time is given, too: a seed does not fix the
//! timing, so a race may need several attempts. `cargo xtask model` has the same options, and
//! `--planted` shows that the model finds bugs.

mod adversary;
mod ends;
mod fickle;
mod liveness;
mod plan;
mod receive;
mod reference;
mod send;
mod uninit;

use std::{
    fmt::Write as _,
    io::Write as _,
    panic::{self, AssertUnwindSafe},
    process,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use asyncoro::{AsyncSocket, spawn, time::sleep};

pub(crate) use self::plan::Rng;
use self::{
    ends::{End, Socket},
    liveness::{Beat, Seen},
    plan::{Ending, Last, Plan, Security, VERSIONS, Wire},
    reference::Stream,
};
use crate::pairs::{self, Kind};

/// How long the test plays by default.
const SECONDS: u64 = 30;

/// How many scenarios run at the same time.
const AT_ONCE: u64 = 4;

/// The interval of the watchdog's rounds.
const ROUND: Duration = Duration::from_millis(50);

/// Rounds of the watchdog within which a scenario must make progress.
const STUCK: u32 = 200;

/// Rounds within which a scenario must have ended.
const ENDLESS: u32 = 2400;

/// The state that the actors of a scenario share.
struct Shared {
    seed: u64,
    plan: Plan,
    /// Indexed by the end that sends.
    streams: [Mutex<Stream>; 2],
    /// For each end, the senders that are not done with its segment.
    sending: [AtomicUsize; 2],
    /// Whether start_tls is done, for each end.
    secure: [AtomicBool; 2],
    /// Whether the end has closed.
    over: [AtomicBool; 2],
    progress: AtomicU64,
    failure: Mutex<Option<String>>,
    log: Mutex<Vec<String>>,
    beats: Mutex<Vec<Arc<Beat>>>,
    begun: Instant,
}

impl Shared {
    fn new(seed: u64) -> Arc<Shared> {
        Arc::new(Shared {
            seed,
            plan: Plan::of(seed),
            streams: Default::default(),
            sending: Default::default(),
            secure: Default::default(),
            over: Default::default(),
            progress: AtomicU64::new(0),
            failure: Mutex::default(),
            log: Mutex::default(),
            beats: Mutex::default(),
            begun: Instant::now(),
        })
    }

    /// Returns the stream that the end `sender` sends.
    fn stream(&self, sender: usize) -> MutexGuard<'_, Stream> {
        self.streams[sender].lock().unwrap()
    }

    fn say(&self, end: usize, who: &str, text: &str) {
        let at = self.begun.elapsed().as_micros();
        self.log.lock().unwrap().push(format!("{at:>9} us  {end} {who:<9} {text}"));
    }

    fn fail(&self, text: String) {
        self.failure.lock().unwrap().get_or_insert(text);
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().unwrap().is_some()
    }

    /// Records progress.
    fn went_on(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that the sender knows that not everything may arrive.
    fn excuse(&self, sender: usize, text: String) {
        self.stream(sender).excuse.get_or_insert(text);
    }

    fn upgrades(&self) -> bool {
        self.plan.security == Security::Upgrade
    }

    fn begins_secure(&self) -> bool {
        self.plan.security == Security::Tls
    }

    fn is_secure(&self, end: usize) -> bool {
        self.begins_secure() || self.secure[end].load(Ordering::SeqCst)
    }

    /// Tells whether the end needs nothing more of its peer.
    fn is_over_for(&self, end: usize) -> bool {
        let stream = self.stream(1 - end);
        let done = self.over[end].load(Ordering::SeqCst);
        done || stream.ended || stream.failed || self.has_failed()
    }

    fn are_both_over(&self) -> bool {
        self.over.iter().all(|over| over.load(Ordering::SeqCst)) || self.has_failed()
    }

    /// Formats seed, plan and steps.
    fn report(&self, failure: &str) -> String {
        let mut text = format!("\nthe model found something: {failure}\n");
        let seed = self.seed;
        let _ = writeln!(text, "again: ASYNCORO_MODEL_SEED={seed} cargo test --test it model");
        let _ = writeln!(text, "{:#?}", self.plan);
        let log = self.log.lock().unwrap();
        let from = log.len().saturating_sub(MOST_LINES);
        let _ = writeln!(text, "steps (the last {} of {}):", log.len() - from, log.len());
        text.push_str(&log[from..].join("\n"));
        text.push('\n');
        for sender in 0..2 {
            if let Ok(stream) = self.streams[sender].try_lock() {
                let (came, most, ended) = (stream.count(), stream.most_sent(), stream.ended);
                let (to, excuse) = (1 - sender, &stream.excuse);
                let _ = writeln!(
                    text,
                    "{sender} -> {to}: {came} of at most {most} bytes, ended {ended}, {excuse:?}"
                );
            }
        }
        let _ = writeln!(text, "the model found something: {failure} (seed {seed})");
        text
    }

    /// Fails if something wrong has arrived.
    fn judge(&self) -> Result<(), String> {
        for sender in 0..2 {
            let stream = self.stream(sender);
            let whole = self.must_be_whole(sender, &stream);
            let fault = |fault| format!("{sender} -> {}: {fault}", 1 - sender);
            stream.judge(whole).map_err(fault)?;
            let told = stream.excuse.is_some();
            if stream.ended && !told && stream.judge(true).is_err() {
                return Err(fault_of_end(sender));
            }
        }
        self.beats.lock().unwrap().iter().try_for_each(|beat| beat.judge())
    }

    fn must_be_whole(&self, sender: usize, stream: &Stream) -> bool {
        let stays = |ending| matches!(ending, Ending::HalfClose(_) | Ending::AfterPeer(_));
        if self.plan.adversary.is_some() || stream.excuse.is_some() {
            return false;
        }
        if !stays(self.plan.ends[1 - sender].ending) {
            return false;
        }
        if stays(self.plan.ends[sender].ending) {
            return true;
        }
        if self.plan.security != Security::Plain {
            // A regular socket that came out of it is dropped by the system's rules.
            return !matches!(self.plan.ends[sender].ending, Ending::Early(Last::Parts));
        }
        // The system answers a close over bytes that nobody has read with a reset.
        let other = self.stream(1 - sender);
        other.count() >= other.most_sent()
    }
}

fn fault_of_end(sender: usize) -> String {
    format!("{sender} -> {}: told as a clean end, and not all has come", 1 - sender)
}

/// How many lines of a log are shown.
const MOST_LINES: usize = 400;

/// Returns the configurations of a server and a client for a version of TLS, made once.
#[cfg(feature = "tls")]
fn identities(
    version: plan::Version,
) -> (&'static asyncoro::ServerTls, &'static asyncoro::ClientTls) {
    use std::sync::LazyLock;
    static ALL: LazyLock<[(asyncoro::ServerTls, asyncoro::ClientTls); 2]> = LazyLock::new(|| {
        crate::tls::VERSIONS.map(|version| {
            let (server, client) = crate::tls::localhost_by(version);
            (server, client.server_name("localhost").unwrap())
        })
    });
    let (server, client) = match version {
        plan::Version::Tls12 => &ALL[0],
        plan::Version::Tls13 => &ALL[1],
    };
    (server, client)
}

/// Plays one scenario; fails with what is wrong.
fn play(shared: &Arc<Shared>) -> Result<(), String> {
    let kind = match shared.plan.wire {
        Wire::Tcp4 => Kind::Tcp4,
        Wire::Tcp6 => Kind::Tcp6,
        Wire::Unix => Kind::Unix,
    };
    let (near, far) = pairs::raw(kind);
    if let Some(bytes) = shared.plan.send_buffer {
        for socket in [&near, &far] {
            socket.set_send_buffer_size(bytes).map_err(|error| error.to_string())?;
        }
    }
    let mut threads = Vec::new();
    let mut sockets = vec![(0, near), (1, far)];
    if shared.plan.adversary.is_some() {
        let (_, far) = sockets.pop().expect("there are two");
        let shared = Arc::clone(shared);
        threads.push(thread::spawn(move || guarded(&shared, || misbehave(&shared, far))));
    }
    let groups: Vec<Vec<_>> = if shared.plan.together {
        vec![sockets]
    } else {
        sockets.into_iter().map(|socket| vec![socket]).collect()
    };
    for group in groups {
        let shared = Arc::clone(shared);
        threads.push(thread::spawn(move || guarded(&shared, || schedule(&shared, group))));
    }
    for thread in threads {
        while !thread.is_finished() && !shared.has_failed() {
            thread::sleep(Duration::from_millis(1));
        }
        // One that still runs waits for what has failed.
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
    let failure = shared.failure.lock().unwrap().clone();
    failure.map_or_else(|| shared.judge(), Err)
}

/// Calls `f`; a panic fails the scenario.
fn guarded(shared: &Shared, f: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        shared.fail(format!("panicked: {}", text.unwrap_or_default()));
    }
}

/// Runs a scheduler with its ends and bystanders.
fn schedule(shared: &Arc<Shared>, sockets: Vec<(usize, socket2::Socket)>) {
    asyncoro::run_until(async {
        let beats = liveness::start().expect("bystanders can be started");
        shared.beats.lock().unwrap().extend(beats);
        let mut lives = Vec::new();
        for (end, socket) in sockets {
            let socket = AsyncSocket::new(socket).expect("it is a socket");
            let end = End::new(Arc::clone(shared), end, Socket::Async(socket));
            lives.push(spawn(end.live()));
        }
        for life in lives {
            if let Err(ended) = life.await {
                shared.fail(format!("an end: {ended}"));
            }
        }
        // What a dropped socket has queued is sent while its scheduler runs.
        while !shared.are_both_over() {
            sleep(Duration::from_millis(1)).await;
        }
    });
}

fn misbehave(shared: &Arc<Shared>, socket: socket2::Socket) {
    let plan = shared.plan.adversary.clone().expect("there is one");
    let soon = Some(Duration::from_millis(30));
    socket.set_read_timeout(soon).expect("it is a socket");
    socket.set_write_timeout(soon).expect("it is a socket");
    let below = socket.try_clone().expect("there are descriptors");
    if shared.begins_secure() {
        #[cfg(feature = "tls")]
        {
            let mut mouth = asyncoro::BlockingSocket::new(socket).expect("it is a socket");
            if mouth.start_tls(identities(shared.plan.version).0).is_ok() {
                mouth.set_timeout(soon);
                adversary::attack(shared, &plan, &below, &mut mouth);
            }
        }
    } else {
        let mut mouth = &socket;
        adversary::attack(shared, &plan, &below, &mut mouth);
    }
    drop(below);
    shared.over[1].store(true, Ordering::SeqCst);
}

/// Watches for a scenario that hangs: prints its report and ends the process, since the waiting
/// threads cannot be ended otherwise.
fn watch(shared: &Shared) {
    let mut seen = Vec::new();
    let (mut progress, mut stuck, mut all) = (0, 0, 0);
    while !shared.are_both_over() {
        thread::sleep(ROUND);
        let now = shared.progress.load(Ordering::Relaxed);
        stuck = if now == progress { stuck + 1 } else { 0 };
        progress = now;
        all += 1;
        let beats = shared.beats.lock().unwrap().clone();
        seen.resize_with(beats.len(), Seen::default);
        let looks = beats.iter().zip(&mut seen).map(|(beat, seen)| beat.look(seen));
        let mut verdict = looks.collect::<Result<(), String>>();
        if stuck >= STUCK {
            verdict = Err(format!("nothing moved while the watchdog had {stuck} turns"));
        } else if all >= ENDLESS {
            verdict = Err(format!("not over while the watchdog had {all} turns"));
        }
        if let Err(failure) = verdict {
            let _ = std::io::stderr().write_all(shared.report(&failure).as_bytes());
            process::abort();
        }
    }
}

/// Plays one seed under the watchdog; prints a failure.
fn tried(seed: u64) -> bool {
    let shared = Shared::new(seed);
    let watched = Arc::clone(&shared);
    let watchdog = thread::spawn(move || watch(&watched));
    let played = play(&shared);
    if let Err(failure) = &played {
        shared.fail(failure.clone());
        let _ = std::io::stderr().write_all(shared.report(failure).as_bytes());
    }
    let _ = watchdog.join();
    played.is_ok()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn whatever_two_ends_do_arrives_as_the_reference_says() {
    let (seed, seconds) = (number("ASYNCORO_MODEL_SEED"), number("ASYNCORO_MODEL_SECONDS"));
    if let (Some(seed), None) = (seed, seconds) {
        assert!(tried(seed), "seed {seed}");
        return;
    }
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let first = Rng::new(now.as_nanos() as u64).next();
    for version in VERSIONS {
        let mut seeds = (0..100).map(|next| first.wrapping_add(next));
        assert!(seeds.any(|seed| Plan::of(seed).version == version), "no seed has {version:?}");
    }
    let (played, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while Instant::now() < until && !failed.load(Ordering::SeqCst) {
                    let next = played.fetch_add(1, Ordering::SeqCst);
                    if !tried(seed.unwrap_or(first.wrapping_add(next))) {
                        failed.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let played = played.into_inner();
    println!("{played} scenarios");
    assert!(!failed.into_inner(), "see above");
}
