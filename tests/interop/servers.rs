//! Real servers, of the system's packages: each on loopback, in a folder of its own.
//!
//! A server is ended by its process id when its value is dropped, and by the system if the tests
//! die. If a program is missing the test is skipped; in CI it fails.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long to wait for a server's line, or for its end: RabbitMQ takes ten seconds, and much
/// longer on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a server is started anew because somebody else has taken its port.
const TRIES: usize = 5;

/// Finds a program on the path or in one of `folders`.
pub(crate) fn program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain(folders.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    if found.is_none() {
        assert!(env::var_os("CI").is_none(), "{name} is missing, and this is CI");
        // Past the capture of the test runner.
        let _ = writeln!(io::stderr(), "skipped: {name} is missing");
    }
    found
}

/// Returns a port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts a server, on another port if the one that was free is taken meanwhile.
pub(crate) fn start_on_free_port<T>(start: impl Fn(u16) -> Result<T, String>) -> T {
    let mut reasons = Vec::new();
    for _ in 0..TRIES {
        match start(free_port()) {
            Ok(server) => return server,
            Err(reason) => reasons.push(reason),
        }
    }
    panic!("the server does not start: {reasons:#?}");
}

/// Tells whether the tests run as root, as which some servers refuse to.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Prepares a command that the system ends with `signal` when the thread that starts it ends, and
/// that runs as `user` if the tests run as root.
pub(crate) fn bound(signal: &str, user: Option<&str>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--pdeathsig={signal}"));
    if let Some(user) = user.filter(|_| is_root()) {
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
    }
    command.arg(program);
    command
}

/// A folder for a server, removed when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Chooses a name that nothing has, for a folder that somebody else makes.
    pub(crate) fn name(what: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("asyncoro-{what}-{}-{count}", process::id());
        let folder = Folder(env::temp_dir().join(name));
        let _ = fs::remove_dir_all(&folder.0);
        folder
    }

    pub(crate) fn make(what: &str) -> Folder {
        let folder = Folder::name(what);
        fs::create_dir(&folder.0).unwrap();
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that belongs to whom the folder belongs, and that nobody else reads.
    pub(crate) fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::{PermissionsExt, chown};
        let path = self.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let owner = fs::metadata(&self.0).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server's process and the lines that it prints.
pub(crate) struct Server {
    child: Child,
    lines: Mutex<Receiver<String>>,
    end: Signal,
}

impl Server {
    /// Starts a server, and waits until it prints a line with `ready`; fails if it ends before.
    ///
    /// It prints to its standard error or output, of which the other is closed.
    pub(crate) fn start(
        mut command: Command,
        ready: &str,
        prints_errors: bool,
        end: Signal,
    ) -> Result<Server, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if prints_errors {
            command.stderr(Stdio::piped());
        } else {
            command.stdout(Stdio::piped());
        }
        let (started, child) = mpsc::channel();
        let (sender, lines) = mpsc::channel();
        // The thread that starts the process lives as long as that prints: see `bound`.
        thread::spawn(move || {
            let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
            let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read>);
            let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read>);
            let output = stdout.or(stderr).expect("one of them is piped");
            let _ = started.send(child);
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // What nobody waits for any more is read all the same: the server must not block.
                let _ = sender.send(line);
            }
        });
        let child = child.recv().map_err(|_| "it cannot be started".to_owned())?;
        let server = Server { child, lines: Mutex::new(lines), end };
        server.wait_for(ready)?;
        Ok(server)
    }

    fn wait_for(&self, text: &str) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines().recv_timeout(left) {
                Ok(line) if line.contains(text) => return Ok(()),
                Ok(line) => seen.push(line),
                Err(error) => return Err(format!("no line with {text:?} ({error}): {seen:#?}")),
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Receiver<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the server, and waits until it, and all processes that it has started, are gone.
    fn end(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), self.end);
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines().recv_timeout(left);
            match line {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    break;
                }
            }
        }
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A server that tests share which run at the same time; the last of them ends it.
pub(crate) struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    pub(crate) const fn new() -> Shared<T> {
        Shared(Mutex::new(Weak::new()))
    }

    pub(crate) fn get(&self, start: impl FnOnce() -> Option<T>) -> Option<std::sync::Arc<T>> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = std::sync::Arc::new(start()?);
        *shared = std::sync::Arc::downgrade(&server);
        Some(server)
    }
}
