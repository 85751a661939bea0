//! Finds the CPythons of this machine that can make a venv: those in the search path, and pyenv's.

use std::{env, fs, path::Path};

use crate::command::Job;

/// The oldest version that the package works with.
const OLDEST: (u32, u32) = (3, 9);

/// The newest that it is known to work with.
const NEWEST: (u32, u32) = (3, 14);

/// A CPython.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Python {
    pub(crate) version: (u32, u32),
    pub(crate) path: String,
}

/// Returns the versions that the package is for, the oldest first.
pub(crate) fn versions() -> Vec<(u32, u32)> {
    (OLDEST.1..=NEWEST.1).map(|minor| (OLDEST.0, minor)).collect()
}

/// Returns one of each version, the oldest first.
pub(crate) fn found() -> Vec<Python> {
    let known = candidates().into_iter();
    let mut pythons: Vec<Python> =
        known.filter_map(|path| Some(Python { version: version(&path)?, path })).collect();
    pythons.sort_by_key(|python| python.version);
    pythons.dedup_by_key(|python| python.version);
    pythons
}

fn candidates() -> Vec<String> {
    let names =
        (OLDEST.1..=NEWEST.1).map(|minor| format!("python3.{minor}")).chain(["python3".to_owned()]);
    let home = env::var_os("HOME").unwrap_or_default();
    let installed = fs::read_dir(Path::new(&home).join(".pyenv/versions"));
    let folders = installed.into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let pythons = folders.map(|folder| folder.join("bin/python3").to_string_lossy().into_owned());
    names.chain(pythons).collect()
}

/// Returns the version of a CPython if it can make a venv, is neither too old nor too new, and has
/// a GIL.
pub(crate) fn version(python: &str) -> Option<(u32, u32)> {
    let (well, text) = Job::program(python, "-c").argument(PROBE).observe().ok()?;
    let (major, minor) = text.trim().split_once(' ')?;
    let version = (major.parse().ok()?, minor.parse().ok()?);
    (well && (OLDEST..=NEWEST).contains(&version)).then_some(version)
}

const PROBE: &str = "\
import ensurepip, platform, sys, sysconfig
assert platform.python_implementation() == 'CPython'
assert not sysconfig.get_config_var('Py_GIL_DISABLED')
print(*sys.version_info[:2])";
