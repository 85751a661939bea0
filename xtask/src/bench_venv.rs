//! The venv of the benchmark group `python`, in `target/`: the peers from the package registry, and
//! this tree's own package, built anew each time.
//!
//! What cannot be installed is said and left out: the group then leaves out that subject.

use std::env;

use crate::{
    Outcome,
    command::Job,
    pythons::{self, Python},
    root,
};

/// Tells the benchmarks which Python has what they compare; set by hand, it is taken as it is.
pub(crate) const VARIABLE: &str = "ASYNCORO_BENCH_PYTHON";

/// The Python of the venv. Nothing if the variable is set already, or if there can be no venv.
pub(crate) fn python() -> Option<String> {
    if env::var_os(VARIABLE).is_some_and(|path| !path.is_empty()) {
        return None;
    }
    let python = made();
    if let Err(sentence) = &python {
        eprintln!("xtask: no venv for the group python: {sentence}");
    }
    python.ok()
}

fn made() -> Outcome<String> {
    let python = root().join(FOLDER).join("bin/python").to_string_lossy().into_owned();
    if pythons::version(&python).is_none() {
        let found = found().ok_or("there is no CPython 3.9 or later that can make a venv")?;
        Job::program(&found, "-m venv --clear").argument(FOLDER).run()?;
    }
    let ours = root().join(OURS).join("pyproject.toml").exists();
    let ours = ours.then(|| format!("--force-reinstall --no-deps ./{OURS}"));
    for package in PEERS.iter().map(|name| (*name).to_owned()).chain(ours) {
        let words = format!("-m pip install --quiet --disable-pip-version-check {package}");
        if let Err(sentence) = Job::program(&python, &words).run() {
            eprintln!("xtask: {package} is left out: {sentence}");
        }
    }
    Ok(python)
}

/// The Python to make the venv with: a [`BEST`] one, else the newest.
fn found() -> Option<String> {
    let rank = |python: &Python| (python.version == BEST, python.version);
    pythons::found().into_iter().max_by_key(rank).map(|python| python.path)
}

const FOLDER: &str = "target/bench-venv";
/// Where this tree has its package.
const OURS: &str = "python";
/// pycos is the one that `.ci/run` has; of the others the newest counts, and the report names it.
const PEERS: &[&str] = &["pycos==4.12.2", "uvloop", "gevent", "trio", "curio"];
/// pycos 4.12.2 works wholly up to this one: later ones have no `ssl.wrap_socket`.
const BEST: (u32, u32) = (3, 11);
