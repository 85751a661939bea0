//! Builds and tests the Python package in a venv of its own, on the oldest and the newest CPython
//! found.
//!
//! It is built as a user builds it, by `pip install ./python`, but without LTO, and with a cargo
//! folder that is kept, so that only changed crates are compiled again, and pyo3 for each version.
//! A folder for each version would save that, but compile everything twice on a fresh machine.

use std::env;

use crate::{
    Outcome,
    command::{Job, minutes},
    pythons::{self, Python},
    root, skips,
};

/// Tests on the oldest and the newest.
pub(crate) fn ends() -> Outcome {
    let mut pythons = pythons::found();
    match (pythons.pop(), pythons.into_iter().next()) {
        (Some(newest), oldest) => oldest.into_iter().chain([newest]).try_for_each(|it| test(&it)),
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
    for name in WANTED {
        if env::var_os(name).is_none_or(|value| value.is_empty()) {
            if env::var_os("CI").is_some() {
                return Err(format!("{name} is not set, and this is CI"));
            }
            skips::add(&format!("python: the tests that need {name}, which is not set"));
        }
    }
    let folder = format!("target/python/{}", shown(found));
    let python = root().join(&folder).join("bin/python").to_string_lossy().into_owned();
    if pythons::version(&python) != Some(found.version) {
        Job::program(&found.path, "-m venv --clear").argument(&folder).run()?;
    }
    let pip = format!("-m pip install --quiet --disable-pip-version-check {NEEDED}");
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
    // Not in the tree's folder `python`, whose package lacks the compiled engine.
    Job::program(&python, "-m pytest -q -rs -p no:cacheprovider python/tests")
        .deadline(minutes(10))
        .run_tests()
}

/// The packages that the build and the tests need.
const NEEDED: &str = "maturin>=1.7,<2 mypy pytest";

/// Environment variables that `python/tests` reads: a Python with pycos, and the folders of old
/// programs.
const WANTED: &[&str] =
    &["ASYNCORO_PYCOS_PYTHON", "ASYNCORO_PYCOS_EXAMPLES", "ASYNCORO_ASYNCORO_EXAMPLES"];
