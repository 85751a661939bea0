//! What must hold before a release of crate and package (docs/releasing.md). Nothing is published.
//!
//! All steps run, or those that are named; the failure of one does not stop the others. A table at
//! the end says how each has ended.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    Outcome,
    command::{Job, minutes},
    root, tools, wheels,
};

struct Step {
    name: &'static str,
    /// Returns what was found.
    run: fn() -> Outcome<String>,
}

const STEPS: &[Step] = &[
    Step { name: "tree", run: tree },
    Step { name: "versions", run: versions },
    Step { name: "publish", run: publish },
    Step { name: "semver", run: semver },
    Step { name: "wheels", run: wheels::release },
];

/// The version of crate and package, which the members of the workspace share.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the steps with these names, all of them when none is given.
pub(crate) fn run(names: &[&str]) -> Outcome {
    if let Some(name) = names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!("there is no step {name}; there are {}", known.join(", ")));
    }
    let mut rows = Vec::new();
    for step in STEPS.iter().filter(|step| names.is_empty() || names.contains(&step.name)) {
        println!("\n=== {}", step.name);
        let begun = Instant::now();
        rows.push((step.name, (step.run)(), begun.elapsed()));
    }
    println!("\n=== release {VERSION}");
    rows.iter().for_each(|(name, outcome, time)| println!("{}", line(name, outcome, *time)));
    let failed: Vec<&str> =
        rows.iter().filter(|row| row.1.is_err()).map(|(name, ..)| *name).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("not ready for a release: {}", failed.join(", "))),
    }
}

fn line(name: &str, outcome: &Outcome<String>, time: Duration) -> String {
    let (word, text) = match outcome {
        Ok(text) => ("ok", text),
        Err(sentence) => ("FAILED", sentence),
    };
    format!("{name:<9} {word:<7} {:>5.0} s  {}", time.as_secs_f64(), text.trim())
}

/// What is released is what is committed.
fn tree() -> Outcome<String> {
    let git = "-c safe.directory=*";
    let changed = Job::program("git", &format!("{git} status --porcelain")).capture()?;
    if !changed.is_empty() {
        return Err(format!("files are changed and not committed:\n{}", changed.trim_end()));
    }
    let commit = Job::program("git", &format!("{git} rev-parse --short HEAD")).capture()?;
    Ok(format!("all is committed, at {}", commit.trim()))
}

/// Crate and package take their version from the workspace; the changelog and the pages name it.
fn versions() -> Outcome<String> {
    let read = |path: &str| {
        fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))
    };
    inherits(&read("Cargo.toml")?, "[package]", "version.workspace = true")
        .ok_or("Cargo.toml: the crate has a version of its own")?;
    inherits(&read("python/Cargo.toml")?, "[package]", "version.workspace = true")
        .ok_or("python/Cargo.toml: the package's crate has a version of its own")?;
    inherits(&read("python/pyproject.toml")?, "[project]", "dynamic = [\"version\"]")
        .ok_or("python/pyproject.toml: the package has a version of its own")?;
    let changelog = read("CHANGELOG.md")?;
    let date = dated(&changelog)?;
    Ok(format!("crate, package and CHANGELOG.md say {VERSION}, of {date}"))
}

/// Looks for a line in a table of a TOML file.
fn inherits(toml: &str, table: &str, line: &str) -> Option<()> {
    let mut lines = toml.lines().skip_while(|found| *found != table).skip(1);
    lines.by_ref().take_while(|found| !found.starts_with('[')).find(|found| *found == line)?;
    Some(())
}

/// Returns the date of the changelog's first heading, which must be `## VERSION (YYYY-MM-DD)`.
fn dated(changelog: &str) -> Outcome<&str> {
    let heading = changelog.lines().find_map(|line| line.strip_prefix("## "));
    let heading = heading.ok_or("CHANGELOG.md has no heading")?;
    let rest = heading.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(" ("));
    let date = rest.and_then(|rest| rest.strip_suffix(')'));
    date.filter(|date| is_date(date)).ok_or_else(|| {
        format!("CHANGELOG.md begins with \"{heading}\", not with \"{VERSION} (YYYY-MM-DD)\"")
    })
}

fn is_date(text: &str) -> bool {
    let is_digit = |(index, byte): (usize, u8)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(is_digit)
}

/// Packs the crate, builds it from what was packed, and asks the registry what it would say.
fn publish() -> Outcome<String> {
    Job::cargo("publish --dry-run --locked --package asyncoro --target-dir target/release-check")
        .deadline(minutes(30))
        .run()?;
    Ok("the crate builds from its package; nothing was uploaded".to_owned())
}

/// Compares the crate's interface with that of the newest published version.
fn semver() -> Outcome<String> {
    let Some(published) = published()? else {
        return Ok("there is no published version yet, so nothing to compare with".to_owned());
    };
    let program = tools::get("cargo-semver-checks")?;
    // The features of the documentation, each of which adds to what is there without it.
    let features = "--default-features --features futures-io --features hyper --features tokio";
    Job::program(&program, &format!("semver-checks --package asyncoro {features}"))
        .deadline(minutes(30))
        .run()?;
    Ok(format!("nothing that is in {published} breaks in {VERSION}, or the version says so"))
}

/// Returns the newest version of the crate in the registry; `None` if there is none.
fn published() -> Outcome<Option<String>> {
    let words = "info --color never --registry crates-io asyncoro";
    let (well, text) = Job::cargo(words).deadline(minutes(2)).observe()?;
    match well {
        true => version_in(&text).map(Some),
        false if text.contains("could not find `asyncoro`") => Ok(None),
        false => Err(format!("the registry does not tell what is published: {}", text.trim())),
    }
}

/// Reads the version from what `cargo info` prints.
fn version_in(text: &str) -> Outcome<String> {
    let version = text.lines().find_map(|line| line.strip_prefix("version: "));
    let version = version.and_then(|version| version.split_whitespace().next());
    version.map(str::to_owned).ok_or_else(|| format!("cargo info names no version: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changelog_of_a_release_begins_with_its_version_and_date() {
        let text = |heading: &str| format!("# Changelog\n\n## {heading}\n\n- a\n\n## 0.0.1 (x)\n");
        assert_eq!(dated(&text(&format!("{VERSION} (2026-11-30)"))), Ok("2026-11-30"));
        for heading in [
            format!("Unreleased: {VERSION}"),
            format!("{VERSION} (soon)"),
            format!("{VERSION}1 (2026-11-30)"),
            "9.9.9 (2026-11-30)".to_owned(),
        ] {
            let error = dated(&text(&heading)).unwrap_err();
            assert!(error.contains(&heading), "{error}");
        }
    }

    #[test]
    fn a_line_counts_in_its_table_only() {
        let toml = "[a]\nx = 1\n[package]\nname = \"n\"\n[b]\nversion.workspace = true\n";
        assert_eq!(inherits(toml, "[package]", "version.workspace = true"), None);
        assert_eq!(inherits(toml, "[b]", "version.workspace = true"), Some(()));
    }

    #[test]
    fn the_published_version_is_read() {
        let text = "itoa #integer\nFast\nversion: 1.0.15 (latest 1.0.17)\nlicense: MIT\n";
        assert_eq!(version_in(text), Ok("1.0.15".to_owned()));
        assert!(version_in("nothing").is_err());
    }
}
