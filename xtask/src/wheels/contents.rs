//! Which files a wheel and a source distribution must hold, and which they must not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::engine::Engine;
use crate::{Outcome, command::Job, root};

/// A wheel that was unpacked.
pub(crate) struct Unpacked {
    pub(crate) folder: PathBuf,
    pub(crate) engine: PathBuf,
}

/// Unpacks a wheel into a folder, whose old content goes, and checks which files it holds.
pub(crate) fn unpack(python: &str, wheel: &Path, folder: &Path) -> Outcome<Unpacked> {
    let _ = fs::remove_dir_all(folder);
    Job::program(python, "-m zipfile -e")
        .argument(&wheel.to_string_lossy())
        .argument(&folder.to_string_lossy())
        .capture()?;
    let files = files_below(folder)?;
    let engines: Vec<&String> =
        files.iter().filter(|file| file.starts_with("asyncoro/_engine.")).collect();
    let engines: Vec<&&String> = engines.iter().filter(|file| file.ends_with(".so")).collect();
    let [engine] = engines[..] else {
        return Err(format!("{} holds not one engine: {engines:?}", wheel.display()));
    };
    let wrong = wrong_in_wheel(&files, &packaged()?);
    if !wrong.is_empty() {
        return Err(format!("{}: {}", wheel.display(), wrong.join(", ")));
    }
    Ok(Unpacked { folder: folder.to_owned(), engine: folder.join(engine) })
}

impl Unpacked {
    pub(crate) fn engine(&self) -> Outcome<Engine> {
        Engine::read(&self.engine)
    }
}

/// Returns the files of the package in the tree.
fn packaged() -> Outcome<Vec<String>> {
    let words = "-c safe.directory=* ls-files python/asyncoro";
    let listed = Job::program("git", words).capture()?;
    Ok(listed.lines().filter_map(|path| path.strip_prefix("python/")).map(str::to_owned).collect())
}

/// Tells what a wheel lacks, and what it holds too much.
fn wrong_in_wheel(files: &[String], packaged: &[String]) -> Vec<String> {
    let lacks = packaged.iter().filter(|path| !files.contains(path)).cloned();
    let lacks = lacks.chain(LICENCES.iter().filter_map(|name| {
        let ending = format!(".dist-info/licenses/{name}");
        (!files.iter().any(|file| file.ends_with(&ending))).then_some(ending)
    }));
    let strange = files.iter().filter(|file| {
        let is_engine = file.starts_with("asyncoro/_engine.") && file.ends_with(".so");
        !is_engine && !packaged.contains(file) && !file.contains(".dist-info/")
    });
    let lacks = lacks.map(|path| format!("{path} is missing"));
    lacks.chain(strange.map(|path| format!("{path} does not belong there"))).collect()
}

const LICENCES: &[&str] = &["LICENSE-APACHE", "LICENSE-MIT"];

/// Unpacks a source distribution into a folder; returns the folder in it that is to be built.
pub(crate) fn unpack_source(archive: &Path, folder: &Path) -> Outcome<PathBuf> {
    let _ = fs::remove_dir_all(folder);
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    Job::program("tar", "-xzf")
        .argument(&archive.to_string_lossy())
        .argument("-C")
        .argument(&folder.to_string_lossy())
        .run()?;
    let inner = folder.join(format!("asyncoro_rs-{}", env!("CARGO_PKG_VERSION")));
    let mut needed = packaged()?;
    needed.extend(OF_SOURCE.iter().map(|path| (*path).to_owned()));
    needed.extend(LICENCES.iter().map(|path| (*path).to_owned()));
    let lacks: Vec<String> = needed.into_iter().filter(|path| !inner.join(path).exists()).collect();
    if !lacks.is_empty() {
        return Err(format!("{} lacks {}", archive.display(), lacks.join(", ")));
    }
    Ok(inner)
}

/// What a source distribution is built from, beside the package: both crates, and what both share.
const OF_SOURCE: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "PKG-INFO",
    "pyproject.toml",
    "python/Cargo.toml",
    "python/src/lib.rs",
    "src/lib.rs",
];

fn files_below(folder: &Path) -> Outcome<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let failed = |error: std::io::Error| format!("{}: {error}", next.display());
        for entry in fs::read_dir(&next).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(inner) = path.strip_prefix(folder) {
                files.push(inner.to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Returns a path relative to the root of the workspace, to be shown.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_wheel_holds_the_package_the_engine_and_the_licences() {
        let packaged = names(&["asyncoro/__init__.py", "asyncoro/py.typed"]);
        let mut files = names(&[
            "asyncoro/__init__.py",
            "asyncoro/py.typed",
            "asyncoro/_engine.cpython-39-x86_64-linux-gnu.so",
            "asyncoro_rs-0.1.0.dist-info/METADATA",
            "asyncoro_rs-0.1.0.dist-info/licenses/LICENSE-APACHE",
            "asyncoro_rs-0.1.0.dist-info/licenses/LICENSE-MIT",
        ]);
        assert_eq!(wrong_in_wheel(&files, &packaged), [""; 0]);
        files.push("tests/test_coro.py".to_owned());
        assert_eq!(wrong_in_wheel(&files, &packaged), ["tests/test_coro.py does not belong there"]);
        files.retain(|file| !file.ends_with("MIT") && !file.starts_with("tests"));
        let missing = ".dist-info/licenses/LICENSE-MIT is missing";
        assert_eq!(wrong_in_wheel(&files, &packaged), [missing]);
    }
}
