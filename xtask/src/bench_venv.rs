//! Makes the venv of the benchmark group `python`, in `target/`: with the peers from the package
//! registry, and this tree's package, built anew each time.
//!
//! It reports what cannot be installed; the group then leaves out that subject.

use std::env;

use crate::{
    Outcome,
    command::Job,
    pythons::{self, Python},
    root,
};

/// Tells the benchmarks which Python has the packages that they compare; if it is set already, it
/// is kept.
pub(crate) const VARIABLE: &str = "ASYNCORO_BENCH_PYTHON";

/// Returns the Python of the venv; `None` if the variable is set already, or if no venv can be
/// made.
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
        // Profilers read the lines that wheels leave out.
        let pip = Job::program(&python, &words).variable("MATURIN_PEP517_ARGS", PROFILE);
        if let Err(sentence) = pip.run() {
            eprintln!("xtask: {package} is left out: {sentence}");
        }
    }
    Ok(python)
}

/// Returns the Python to make the venv with: one of the version [`BEST`], else the newest.
fn found() -> Option<String> {
    let rank = |python: &Python| (python.version == BEST, python.version);
    pythons::found().into_iter().max_by_key(rank).map(|python| python.path)
}

const PROFILE: &str = "--profile measure";
const FOLDER: &str = "target/bench-venv";
/// The folder of this tree's package.
const OURS: &str = "python";
/// The peers: pycos in the version that `.ci/run` has, the others in their newest, which the report
/// names.
const PEERS: &[&str] =
    &["pycos==4.12.2", "uvloop", "gevent", "trio", "curio", "aiohttp", "uvicorn", "httptools"];
/// The newest version on which all of pycos 4.12.2 works: later ones have no `ssl.wrap_socket`.
const BEST: (u32, u32) = (3, 11);
