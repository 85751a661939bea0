//! Builds and tests the Python package in a venv of its own: for each change on the oldest and the
//! newest CPython found, at night on all of them, in more ways.
//!
//! For each change it comes from wheels that are made as those of a release are, but without LTO.
//! Else it is built as a user builds it, by `pip install ./python`, without LTO as well, and with a
//! cargo folder that is kept, so that only changed crates are compiled again, and pyo3 for each
//! version. A folder for each version would save that, but compile everything twice on a fresh
//! machine.

use std::{env, path::Path, thread, time::Duration};

use crate::{
    Outcome,
    command::{Job, minutes},
    pythons::{self, Python},
    root, skips,
    wheels::{self, Outside},
};

/// Tests on the oldest and the newest, at the same time.
pub(crate) fn ends() -> Outcome {
    let mut pythons = pythons::found();
    match (pythons.pop(), pythons.into_iter().next()) {
        (Some(newest), oldest) => {
            needs_variables()?;
            let all: Vec<Python> = oldest.into_iter().chain([newest]).collect();
            let wheels = wheels::without_lto(&all)?;
            let both = all.iter().zip(&wheels);
            let built: Vec<String> =
                both.map(|(python, wheel)| with_wheel(python, wheel)).collect::<Outcome<_>>()?;
            if let Some(newest) = built.last() {
                install_libraries(newest)?;
            }
            thread::scope(|scope| {
                let runs: Vec<_> =
                    built.iter().map(|python| scope.spawn(|| test_with(python))).collect();
                runs.into_iter().try_for_each(|run| run.join().expect("it does not panic"))
            })
        }
        (None, _) if env::var_os("CI").is_some() => {
            Err("there is no CPython 3.9 or later that can make a venv".to_owned())
        }
        (None, _) => {
            skips::add("python: no CPython 3.9 or later that can make a venv");
            Ok(())
        }
    }
}

/// Tests on those with these versions, such as `3.12`.
pub(crate) fn run(versions: &[&str]) -> Outcome {
    if versions.is_empty() {
        return ends();
    }
    let pythons = pythons::found();
    versions.iter().try_for_each(|wanted| {
        let python = pythons.iter().find(|python| shown(python) == *wanted);
        test(python.ok_or_else(|| format!("there is no CPython {wanted} that can make a venv"))?)
    })
}

fn shown(python: &Python) -> String {
    format!("{}.{}", python.version.0, python.version.1)
}

fn test(found: &Python) -> Outcome {
    test_with(&built(found)?)
}

/// Runs the tests outside of the tree, where there is only the package that was installed: in two
/// processes beside each other, since most tests wait, and those that measure memory alone.
fn test_with(python: &str) -> Outcome {
    let outside = Outside::new(&format!("tests-{}", python.replace('/', "-")))?;
    let (tests, memory) = ("python/tests", "python/tests/test_memory.py");
    let run = |words: &str, paths: &[&str]| {
        paths
            .iter()
            .fold(Job::program(python, &format!("-m pytest {OPTIONS} {words}")), |job, path| {
                job.argument(&root().join(path).to_string_lossy())
            })
            .folder(outside.path())
            .deadline(minutes(15))
            .run_tests()
    };
    run("-n 2 --ignore", &[memory, tests])?;
    run("", &[memory])
}

/// What pytest is told.
const OPTIONS: &str = "-q -rs -p no:cacheprovider";

/// Ways to run the tests that show what the usual one hides. `-X dev` has CPython check its memory,
/// too (`PYTHONMALLOC=debug`). Sockets that are dropped without a close are what some tests are
/// about.
const WAYS: [&str; 3] =
    ["-X dev -m pytest", "-W error -W ignore::ResourceWarning -m pytest", "python/tests/traced.py"];

/// The loops of asyncio's in which the tests run once more: as coroutines, and as tasks
/// (`python/tests/in_loop.py`).
const LOOPS: [&str; 6] =
    ["coro", "task", "coro:uvloop", "task:uvloop", "coro:asyncoro", "task:asyncoro"];

/// How often each program that ends, or is ended, is run.
const ENDINGS: &str = "200";

/// Runs the tests in all ways on each CPython, then CPython's own of asyncio on our loop, endings,
/// and random programs for the given time in all; on one of them the tests of libraries, too.
pub(crate) fn nightly(seconds: u64) -> Outcome<String> {
    let pythons = pythons::found();
    let each = (seconds / pythons.len().max(1) as u64).max(1);
    for found in &pythons {
        let python = built(found)?;
        for way in WAYS {
            let words = format!("{way} {OPTIONS} python/tests");
            Job::program(&python, &words).deadline(minutes(30)).run_tests()?;
        }
        install_libraries(&python)?;
        for how in LOOPS {
            Job::program(&python, &format!("-m pytest {OPTIONS} python/tests"))
                .variable("ASYNCORO_LOOP", how)
                .deadline(minutes(30))
                .run_tests()?;
        }
        Job::program(&python, "python/suites/cpython.py").deadline(minutes(60)).run()?;
        let endings = "-m pytest -q -p no:cacheprovider python/tests/test_exit.py \
                       python/tests/test_interrupt.py";
        Job::program(&python, endings)
            .variable("ASYNCORO_EXIT_ROUNDS", ENDINGS)
            .variable("ASYNCORO_INTERRUPT_ROUNDS", ENDINGS)
            .deadline(minutes(120))
            .run_tests()?;
        Job::program(&python, &format!("python/tests/fuzz_programs.py --seconds {each}"))
            .deadline(Duration::from_secs(2 * each) + minutes(5))
            .run()?;
    }
    // The libraries that are tested may not be built for the newest.
    if let Some(found) = pythons.iter().rfind(|python| python.version <= LIBRARIES_NEWEST) {
        let suites = Job::program(&built(found)?, "python/suites/libraries.py");
        suites.deadline(minutes(90)).run()?;
    }
    let shown: Vec<String> = pythons.iter().map(shown).collect();
    let (ways, loops) = (WAYS.len(), LOOPS.len());
    let shown = shown.join(", ");
    Ok(format!("{shown}: {ways} ways, {loops} loops, {ENDINGS} endings, {seconds} s"))
}

/// The newest CPython that the libraries of `python/suites/libraries.py` are run on.
const LIBRARIES_NEWEST: (u32, u32) = (3, 13);

/// Installs what the package is tested with in an event loop of asyncio's.
fn install_libraries(python: &str) -> Outcome {
    let pip = format!("-m pip install --quiet --disable-pip-version-check {LIBRARIES}");
    Job::program(python, &pip).deadline(minutes(5)).run()
}

/// Installs a wheel for a CPython in an empty venv; returns the Python of that.
fn with_wheel(found: &Python, wheel: &Path) -> Outcome<String> {
    let python = wheels::installed(found, &format!("target/python/{}-wheel", shown(found)), wheel)?;
    let pip = format!("-m pip install --quiet --disable-pip-version-check {TESTERS}");
    Job::program(&python, &pip).deadline(minutes(5)).run()?;
    Ok(python)
}

/// Builds the package for a CPython by pip and installs it in a venv; returns the Python of that.
fn built(found: &Python) -> Outcome<String> {
    needs_variables()?;
    let folder = format!("target/python/{}", shown(found));
    let python = root().join(&folder).join("bin/python").to_string_lossy().into_owned();
    if pythons::version(&python) != Some(found.version) {
        Job::program(&found.path, "-m venv --clear").argument(&folder).run()?;
    }
    let pip = format!("-m pip install --quiet --disable-pip-version-check {BUILDER} {TESTERS}");
    Job::program(&python, &pip).deadline(minutes(5)).run()?;
    let build = "-m pip install --quiet --disable-pip-version-check --no-build-isolation \
                 --force-reinstall --no-deps ./python";
    let path = env::var("PATH").unwrap_or_default();
    let bin = root().join(&folder).join("bin");
    Job::program(&python, build)
        .variable("PATH", &format!("{}:{path}", bin.display()))
        .variable("CARGO_TARGET_DIR", &root().join("target/python/cargo").to_string_lossy())
        .variable("MATURIN_PEP517_ARGS", "--profile release")
        .deadline(minutes(10))
        .run()?;
    Ok(python)
}

/// Fails in CI if a variable of [`WANTED`] is missing.
fn needs_variables() -> Outcome {
    for name in WANTED {
        if env::var_os(name).is_none_or(|value| value.is_empty()) {
            if env::var_os("CI").is_some() {
                return Err(format!("{name} is not set, and this is CI"));
            }
            skips::add(&format!("python: the tests that need {name}, which is not set"));
        }
    }
    Ok(())
}

/// What builds the package, and what its tests need.
const BUILDER: &str = "maturin>=1.9.2,<2";
const TESTERS: &str = "mypy pytest pytest-xdist";
/// Libraries for asyncio, and another loop for it, that the package is tested with.
const LIBRARIES: &str = "aiohttp asyncpg fastapi httpx uvicorn uvloop websockets";

/// Environment variables that `python/tests` reads: a Python with pycos, and the folders of old
/// programs.
const WANTED: &[&str] =
    &["ASYNCORO_PYCOS_PYTHON", "ASYNCORO_PYCOS_EXAMPLES", "ASYNCORO_ASYNCORO_EXAMPLES"];
