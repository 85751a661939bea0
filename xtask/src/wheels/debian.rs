//! Debian's packages of any processor, unpacked into a folder: nothing is installed on this
//! machine, and nothing is changed in its lists of packages.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{Outcome, command::Job, root};

/// Fetches packages for a processor, as Debian names it, with all that they depend on, and unpacks
/// them; returns the folder. It does so once.
pub(crate) fn unpacked(processor: &str, packages: &str) -> Outcome<PathBuf> {
    let name = format!("{processor}-{}", packages.replace(' ', "-"));
    let folder = root().join("target/wheels/debian").join(name);
    let (system, done) = (folder.join("root"), folder.join("done"));
    if done.exists() {
        return Ok(system);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let _ = fs::remove_dir_all(&folder);
    for inner in ["root", "state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(inner)).map_err(failed)?;
    }
    // A machine on which no package is installed, so that all that is needed is fetched.
    fs::write(folder.join("state/status"), "").map_err(failed)?;
    apt(&folder, processor, "update --quiet=2").run()?;
    let words =
        format!("install --yes --quiet=2 --no-install-recommends --download-only {packages}");
    apt(&folder, processor, &words).run()?;
    for entry in fs::read_dir(folder.join("cache/archives")).map_err(failed)? {
        let package = entry.map_err(failed)?.path();
        if package.extension().is_some_and(|ending| ending == "deb") {
            Job::program("dpkg-deb", "--extract")
                .argument(&package.to_string_lossy())
                .argument(&system.to_string_lossy())
                .capture()?;
        }
    }
    fs::write(done, "").map_err(failed)?;
    Ok(system)
}

fn apt(folder: &Path, processor: &str, words: &str) -> Job {
    let folder = folder.display();
    let options = [
        format!("APT::Architecture={processor}"),
        format!("APT::Architectures={processor}"),
        format!("Dir::State={folder}/state"),
        format!("Dir::State::status={folder}/state/status"),
        format!("Dir::Cache={folder}/cache"),
        // A user of apt's own could not write there.
        "APT::Sandbox::User=".to_owned(),
        "Debug::NoLocking=1".to_owned(),
    ];
    let job = options
        .iter()
        .fold(Job::program("apt-get", ""), |job, option| job.argument("-o").argument(option));
    words.split_whitespace().fold(job, Job::argument)
}

/// Returns the name that Debian has for a processor.
pub(crate) fn name_of(processor: &str) -> &str {
    match processor {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Returns an emulator of a processor: the machine's own, or Debian's.
pub(crate) fn emulator(processor: &str) -> Outcome<String> {
    let name = format!("qemu-{processor}-static");
    if let Ok((true, _)) = Job::program(&name, "--version").observe() {
        return Ok(name);
    }
    let system = unpacked(name_of(env::consts::ARCH), "qemu-user-static")?;
    Ok(system.join("usr/bin").join(name).to_string_lossy().into_owned())
}
