//! Installs what was built and runs a small program with it, on this machine or an emulated one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

use super::{contents::Unpacked, debian, engine, target::Target};
use crate::{
    Outcome,
    command::{Job, minutes},
    pythons::Python,
    root,
};

const SMOKE: &str = include_str!("smoke.py");

/// A folder outside of the tree, for a process that must not find the tree's package. It is removed
/// with this value.
pub(crate) struct Outside(PathBuf);

impl Outside {
    pub(crate) fn new(name: &str) -> Outcome<Outside> {
        let folder = env::temp_dir().join(format!("asyncoro-{name}-{}", process::id()));
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(failed)?;
        Ok(Outside(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // What is left lies in the folder for such.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes an empty venv and installs into it one file alone; returns its Python.
pub(crate) fn installed(found: &Python, folder: &str, file: &Path) -> Outcome<String> {
    Job::program(&found.path, "-m venv --clear").argument(folder).run()?;
    let python = root().join(folder).join("bin/python").to_string_lossy().into_owned();
    let words = "-m pip install --quiet --disable-pip-version-check --no-deps";
    Job::program(&python, words).argument(&file.to_string_lossy()).deadline(minutes(30)).run()?;
    Ok(python)
}

/// Runs the program with that Python; returns what it tells of itself.
pub(crate) fn smoke(python: &str) -> Outcome<String> {
    let outside = Outside::new("smoke")?;
    let job = Job::program(python, "-I -c").argument(SMOKE).argument(env!("CARGO_PKG_VERSION"));
    told(job.folder(outside.path()).deadline(minutes(2)))
}

fn told(job: Job) -> Outcome<String> {
    match job.observe()? {
        (true, text) => Ok(text.trim().to_owned()),
        (false, text) => Err(text),
    }
}

/// A CPython of Debian's for another processor, and what emulates that.
pub(crate) struct Emulated {
    emulator: String,
    system: PathBuf,
    python: PathBuf,
}

/// Returns an emulated CPython of that version; `None` if Debian's is another one.
pub(crate) fn emulator(target: &Target, version: (u32, u32)) -> Outcome<Option<Emulated>> {
    let emulator = debian::emulator(target.processor())?;
    let system = debian::unpacked(debian::name_of(target.processor()), "python3")?;
    let python = system.join(format!("usr/bin/python{}.{}", version.0, version.1));
    Ok(python.exists().then_some(Emulated { emulator, system, python }))
}

/// Runs the program with it and with what was unpacked of a wheel.
pub(crate) fn smoke_emulated(emulated: &Emulated, wheel: &Unpacked) -> Outcome<String> {
    let outside = Outside::new("emulated")?;
    let job = Job::program(&emulated.emulator, "-L")
        .argument(&emulated.system.to_string_lossy())
        .argument(&emulated.python.to_string_lossy())
        .argument("-c")
        .argument(SMOKE)
        .argument(env!("CARGO_PKG_VERSION"))
        .variable("PYTHONPATH", &wheel.folder.to_string_lossy())
        .variable("PYTHONHOME", &emulated.system.join("usr").to_string_lossy());
    told(job.folder(outside.path()).deadline(minutes(5)))
}

/// Has the loader of Debian's musl look for every symbol of the engine; returns what it found.
pub(crate) fn load_with_musl(target: &Target, wheel: &Unpacked) -> Outcome<String> {
    let system = debian::unpacked(debian::name_of(target.processor()), "musl")?;
    let loader = system.join(format!("lib/ld-musl-{}.so.1", target.processor()));
    let loader = fs::canonicalize(&loader).unwrap_or(loader).to_string_lossy().into_owned();
    let job = if target.is_native() {
        Job::program(&loader, "--list")
    } else {
        let emulator = debian::emulator(target.processor())?;
        Job::program(&emulator, "").argument(&loader).argument("--list")
    };
    let (_, text) = job.argument(&wheel.engine.to_string_lossy()).observe()?;
    let found = unfound(&text)?;
    let missing: Vec<&&str> = found.iter().filter(|name| !engine::is_of_python(name)).collect();
    if !missing.is_empty() {
        return Err(format!("musl has no {missing:?}"));
    }
    Ok(format!("musl's loader finds all but the {} symbols of CPython", found.len()))
}

/// Reads the symbols that the loader has not found. All of CPython's must be among them, else it
/// has not looked.
fn unfound(text: &str) -> Outcome<Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with("Error relocating "));
    let names: Vec<&str> = lines
        .filter_map(|line| line.strip_suffix(": symbol not found")?.rsplit(' ').next())
        .collect();
    if names.contains(&"PyModuleDef_Init") || names.contains(&"_Py_NoneStruct") {
        return Ok(names);
    }
    Err(format!("musl's loader says: {}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_loader_has_not_found_is_read() {
        let text = "\tmusl-libc.so (0x7f)\n\
                    Error relocating a/b.so: _Py_NoneStruct: symbol not found\n\
                    Error relocating a/b.so: gnu_get_libc_version: symbol not found\n";
        assert_eq!(unfound(text).unwrap(), ["_Py_NoneStruct", "gnu_get_libc_version"]);
        assert!(unfound("a/b.so: Not a valid dynamic program").is_err());
    }

    #[test]
    fn a_folder_outside_goes_with_its_value() {
        let outside = Outside::new("test").unwrap();
        let path = outside.path().to_owned();
        assert!(path.is_dir());
        drop(outside);
        assert!(!path.exists());
    }
}
