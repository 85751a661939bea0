//! Finds the versions that a report names: of the compiler and, in Cargo.lock, of the runtimes and
//! the crates that they are used with.

use std::env;
use std::error::Error;
use std::fs;
use std::process::Command;

/// The crates whose versions matter for the figures.
const CRATES: &[&str] = &[
    "asyncoro",
    "tokio",
    "tokio-util",
    "smol",
    "monoio",
    "compio",
    "flume",
    "rustix",
    "hyper",
    "hyper-util",
    "smol-hyper",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../Cargo.lock");
    let version = Command::new(env::var("RUSTC")?).arg("--version").output()?.stdout;
    println!("cargo::rustc-env=BENCH_RUSTC={}", String::from_utf8(version)?.trim());
    let lock = fs::read_to_string("../Cargo.lock")?;
    let crates = CRATES.iter().map(|name| {
        let version = version_of(&lock, name).ok_or(format!("{name} is not in Cargo.lock"))?;
        Ok(format!("{name} {version}"))
    });
    let crates = crates.collect::<Result<Vec<_>, String>>()?;
    println!("cargo::rustc-env=BENCH_CRATES={}", crates.join(", "));
    Ok(())
}

/// Returns the version that we depend on. A lock file lists a dependency as "name", or as "name
/// version" if it has more than one version.
fn version_of<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, ours) = lock.split_once("name = \"asyncoro-bench\"\n")?;
    let (ours, _) = ours.split_once(']')?;
    let mut dependencies = ours.split('"').map(|entry| entry.split(' '));
    let mut entry = dependencies.find(|entry| entry.clone().next() == Some(name))?;
    if let Some(version) = entry.nth(1) {
        return Some(version);
    }
    let (_, package) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    package.split('"').next()
}
