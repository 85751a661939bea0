//! Builds the library as its users may: with the oldest dependencies it allows, with the oldest
//! Rust, for other systems, and from its package.
//!
//! Nothing is run. What needs a missing toolchain (nightly, the minimum one, the standard library
//! of a target) is left out and listed at the end of CI; `rustup` installs each.

use std::{fs, path::Path};

use crate::{
    Outcome,
    command::{Job, minutes},
    root, skips,
};

/// Packs the crate and builds the package with the oldest direct dependencies of its manifest.
///
/// Only nightly's cargo can choose these. The unpacked crate has a folder and a lock file of its
/// own in `target/minimal`, so nothing in the tree changes.
pub(crate) fn minimal() -> Outcome {
    package()?;
    if !has_toolchain("nightly") {
        skips::add("minimal: no nightly toolchain (rustup toolchain install nightly)");
        return Ok(());
    }
    let folder = unpack()?;
    let manifest = format!("{folder}/Cargo.toml");
    rustup_cargo("+nightly -Zdirect-minimal-versions generate-lockfile --manifest-path")
        .argument(&manifest)
        .run()?;
    for features in ["", "--no-default-features", "--features futures-io,hyper,tokio"] {
        let words = format!("check --lib --locked --target-dir target/minimal/target {features}");
        Job::cargo(&words).argument("--manifest-path").argument(&manifest).run()?;
    }
    Ok(())
}

/// Builds the crate's package and checks which files it contains.
fn package() -> Outcome {
    let words = "package --package asyncoro --allow-dirty --list";
    let list = Job::cargo(words).capture()?;
    let strange: Vec<&str> = list.lines().filter(|path| !belongs(path)).collect();
    if !strange.is_empty() {
        return Err(format!("the package holds what it should not: {}", strange.join(", ")));
    }
    let words = "package --package asyncoro --allow-dirty --no-verify --target-dir target/minimal";
    Job::cargo(words).run()
}

/// Tells whether a file may be in the package.
fn belongs(path: &str) -> bool {
    let folders = ["src/", "examples/", "docs/"];
    let is_source = folders.iter().any(|folder| path.starts_with(folder));
    let endings = [".rs", ".md", ".svg"];
    let files = ["Cargo.lock", "Cargo.toml", "Cargo.toml.orig", ".cargo_vcs_info.json"];
    let texts = ["LICENSE-APACHE", "LICENSE-MIT"];
    match path.rsplit_once('/') {
        Some(_) => is_source && endings.iter().any(|ending| path.ends_with(ending)),
        None => path.ends_with(".md") || files.contains(&path) || texts.contains(&path),
    }
}

/// Unpacks the package as a workspace of its own without a lock file; returns its folder, relative
/// to the root.
fn unpack() -> Outcome<String> {
    let name = format!("asyncoro-{}", env!("CARGO_PKG_VERSION"));
    let parent = "target/minimal/unpacked";
    let failed = |error: std::io::Error| format!("{parent}: {error}");
    let _ = fs::remove_dir_all(root().join(parent));
    fs::create_dir_all(root().join(parent)).map_err(failed)?;
    let words = format!("-xzf target/minimal/package/{name}.crate -C {parent}");
    Job::program("tar", &words).run()?;
    let folder = root().join(parent).join(&name);
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(failed)?;
    fs::write(&manifest, format!("{text}\n[workspace]\n")).map_err(failed)?;
    fs::remove_file(folder.join("Cargo.lock")).map_err(failed)?;
    Ok(format!("{parent}/{name}"))
}

/// Builds the library with the minimum Rust version. The lint `incompatible_msrv` covers the rest,
/// and everything where that toolchain is missing. Dependencies of tests may need a newer version.
pub(crate) fn msrv() -> Outcome {
    let version = MSRV.rsplit_once('.').map_or(MSRV, |(version, patch)| match patch {
        "0" => version,
        _ => MSRV,
    });
    if !has_toolchain(version) {
        skips::add(&format!(
            "msrv: no toolchain {version} (rustup toolchain install {version}); \
             the lint incompatible_msrv was held by clippy"
        ));
        return Ok(());
    }
    let words = format!("+{version} check --package asyncoro --lib --target-dir target/msrv");
    rustup_cargo(&words).run()
}

/// The minimum Rust version, which the members of the workspace share.
const MSRV: &str = env!("CARGO_PKG_RUST_VERSION");

/// Checks the library, with TLS and without, for systems on which nothing is run.
///
/// A check links nothing, so ring's C and assembly need no compiler for the target; the program
/// that is named as one does nothing.
pub(crate) fn targets() -> Outcome {
    for target in TARGETS {
        let words = format!("--print target-libdir --target {target}");
        let folder = Job::program("rustc", &words).capture()?;
        if !fs::exists(folder.trim()).unwrap_or(false) {
            skips::add(&format!("{target}: no standard library (rustup target add {target})"));
            continue;
        }
        for features in ["", " --no-default-features"] {
            let words = format!(
                "check --package asyncoro --lib --target {target} --target-dir target/targets"
            );
            Job::cargo(&format!("{words}{features}"))
                .variable("TARGET_CC", "true")
                .variable("TARGET_AR", "true")
                .variable("RUSTFLAGS", "-D warnings")
                .run()?;
        }
    }
    Ok(())
}

const TARGETS: &[&str] = &[
    "x86_64-apple-darwin",
    "x86_64-unknown-freebsd",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
];

/// Tells whether rustup has a toolchain of this name.
pub(crate) fn has_toolchain(name: &str) -> bool {
    match rustup_cargo(&format!("+{name} --version")).observe() {
        Ok((well, _)) => well,
        Err(_) => false,
    }
}

/// Whether rustup has the source of the standard library for the toolchain of this name.
pub(crate) fn has_standard_source(name: &str) -> bool {
    let job = Job::program("rustc", &format!("+{name} --print sysroot"));
    match job.without_variable("RUSTUP_TOOLCHAIN").observe() {
        Ok((true, sysroot)) => {
            Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.lock").exists()
        }
        _ => false,
    }
}

/// Runs rustup's proxy for cargo, the only one that accepts `+nightly`. It installs no toolchain by
/// itself.
pub(crate) fn rustup_cargo(words: &str) -> Job {
    Job::program("cargo", words)
        .without_variable("CARGO")
        .without_variable("RUSTUP_TOOLCHAIN")
        .variable("RUSTUP_AUTO_INSTALL", "0")
        .deadline(minutes(20))
}

/// Runs a program that calls cargo itself, on the nightly toolchain.
pub(crate) fn with_nightly(program: &str, words: &str) -> Job {
    Job::program(program, words).without_variable("CARGO").variable("RUSTUP_TOOLCHAIN", "nightly")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_holds_sources_texts_and_manifests_alone() {
        for path in ["src/a/b.rs", "examples/a.rs", "docs/a.svg", "README.md", "Cargo.toml"] {
            assert!(belongs(path), "{path}");
        }
        for path in [".ci/run", "src/a.swp", "rustfmt.toml", "tests/it/main.rs", "xtask/src/a.rs"] {
            assert!(!belongs(path), "{path}");
        }
    }
}
