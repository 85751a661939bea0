//! Makes the wheels of the Python package and its source distribution, checks them, and runs what
//! this machine can run of them.
//!
//! All lies in `target/wheels`: the files in `dist`, what cargo built in `cargo`, the tools in a
//! venv. zig links each engine with stubs of the oldest C library that its wheel promises
//! (`target.rs`); then readelf and auditwheel say what it needs (`engine.rs`), and the files in it
//! are looked at (`contents.rs`). `trial.rs` installs and runs, on processors of other machines by
//! an emulator (`debian.rs`). The table at the end says of each file what was not run, and why.

mod contents;
mod debian;
mod engine;
mod target;
mod trial;

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    Outcome,
    command::{Job, minutes},
    pythons::{self, Python},
    root,
};
use contents::{Unpacked, shown};
use engine::Engine;
use target::{Libc, TARGETS, Target};
pub(crate) use trial::{Outside, installed};

/// Where everything of this command lies.
const FOLDER: &str = "target/wheels";

/// What is built with zig, and what looks at it.
const BUILDERS: &str = "maturin>=1.9.2,<2 ziglang";
const CHECKERS: &str = "auditwheel twine";

/// The profile of cargo without LTO.
const RELEASE: &str = "release";

/// What is to be made.
#[derive(Debug, PartialEq)]
struct Plan {
    targets: Vec<&'static Target>,
    versions: Vec<(u32, u32)>,
    source: bool,
    /// The profile of cargo, if not that of `pyproject.toml`.
    profile: Option<&'static str>,
}

/// Makes and checks what the words name: targets, versions of CPython, `sdist`; all without any.
pub(crate) fn run(words: &[&str]) -> Outcome {
    made(&parse(words)?).map(|summary| println!("{summary}"))
}

/// Makes and checks all of a release; fails if a target is left out. Returns a summary.
pub(crate) fn release() -> Outcome<String> {
    made(&parse(&[])?)
}

fn parse(words: &[&str]) -> Outcome<Plan> {
    let all = pythons::versions();
    let mut plan = Plan { targets: vec![], versions: vec![], source: false, profile: None };
    for &word in words {
        let version = || all.iter().find(|version| named(**version) == word);
        if let Some(target) = TARGETS.iter().find(|target| target.triple == word) {
            plan.targets.push(target);
        } else if let Some(version) = version() {
            plan.versions.push(*version);
        } else if word == "sdist" {
            plan.source = true;
        } else if word == "--quick" {
            plan.profile = Some(RELEASE);
        } else {
            let triples: Vec<&str> = TARGETS.iter().map(|target| target.triple).collect();
            let versions: Vec<String> = all.iter().map(|version| named(*version)).collect();
            let known = format!("{}, {}, sdist", triples.join(", "), versions.join(", "));
            return Err(format!("{word} is not known; there are {known} and --quick"));
        }
    }
    let names_wheels = !plan.targets.is_empty() || !plan.versions.is_empty();
    if names_wheels || !plan.source {
        plan.source |= !names_wheels;
        if plan.targets.is_empty() {
            plan.targets.extend(TARGETS);
        }
        if plan.versions.is_empty() {
            plan.versions = all;
        }
    }
    Ok(plan)
}

fn named(version: (u32, u32)) -> String {
    format!("{}.{}", version.0, version.1)
}

/// A file that was made, what was found out about it, and what was run with it or why not.
struct Row {
    name: String,
    facts: String,
    ran: Result<String, String>,
}

fn made(plan: &Plan) -> Outcome<String> {
    let begun = Instant::now();
    let found = pythons::found();
    let newest = found.last().ok_or("there is no CPython 3.9 or later that can make a venv")?;
    let tools = tools(newest, &format!("{FOLDER}/tools"), &format!("{BUILDERS} {CHECKERS}"))?;
    let dist = root().join(FOLDER).join("dist");
    let (mut rows, mut lacking) = (Vec::new(), Vec::new());
    for target in &plan.targets {
        println!("\n=== {}", target.triple);
        if let Err(sentence) = target.needs_standard_library() {
            println!("left out: {sentence}");
            lacking.push(format!("{}: {sentence}", target.triple));
            continue;
        }
        let begun = Instant::now();
        let build = Build { tools: &tools, target, profile: plan.profile };
        let wheels = build.wheels(&plan.versions, &found, &dist)?;
        println!("=== {}: built in {:.0} s", target.triple, begun.elapsed().as_secs_f64());
        for (version, wheel) in plan.versions.iter().zip(wheels) {
            rows.push(row(&tools, target, *version, &wheel, &found)?);
        }
    }
    if plan.source {
        println!("\n=== sdist");
        rows.push(source(&tools, newest, plan.profile, &dist)?);
    }
    let files: Vec<PathBuf> = rows.iter().map(|row| dist.join(&row.name)).collect();
    let twine = Job::program(&tools, "-m twine check --strict");
    files.iter().fold(twine, |job, file| job.argument(&file.to_string_lossy())).run()?;
    show(&rows, &lacking);
    let time = begun.elapsed().as_secs() / 60;
    match lacking.is_empty() {
        true => Ok(format!("{} files in {time} min, in {FOLDER}/dist", rows.len())),
        false => Err(format!("left out: {}", lacking.join("; "))),
    }
}

/// Prints the table; what was not run stands below it as well, so that nobody overlooks it.
fn show(rows: &[Row], lacking: &[String]) {
    println!("\n=== summary");
    for row in rows {
        let ran = row.ran.as_ref().map_or("not run", |ran| ran.as_str());
        println!("{}\n    {}; {ran}", row.name, row.facts);
    }
    let not_run: Vec<(&String, &String)> =
        rows.iter().filter_map(|row| Some((&row.name, row.ran.as_ref().err()?))).collect();
    if !not_run.is_empty() {
        println!("\nnot run here:");
        not_run.iter().for_each(|(name, why)| println!("  {name}: {why}"));
    }
    if !lacking.is_empty() {
        println!("\nnot built:");
        lacking.iter().for_each(|what| println!("  {what}"));
    }
}

/// Makes a venv with tools from the package registry; returns its Python.
fn tools(found: &Python, folder: &str, packages: &str) -> Outcome<String> {
    let python = root().join(folder).join("bin/python").to_string_lossy().into_owned();
    if pythons::version(&python) != Some(found.version) {
        Job::program(&found.path, "-m venv --clear").argument(folder).run()?;
    }
    let words = format!("-m pip install --quiet --disable-pip-version-check {packages}");
    Job::program(&python, &words).deadline(minutes(10)).run()?;
    Ok(python)
}

/// How wheels are built.
struct Build<'a> {
    tools: &'a str,
    target: &'a Target,
    profile: Option<&'a str>,
}

impl Build<'_> {
    /// Builds a wheel for each version of CPython; returns their files in that order.
    fn wheels(
        &self,
        versions: &[(u32, u32)],
        found: &[Python],
        dist: &Path,
    ) -> Outcome<Vec<PathBuf>> {
        // Without what an earlier run has left, which might be of another version of the package.
        let stale = versions.iter().map(|version| self.built(*version, dist));
        for old in stale.collect::<Outcome<Vec<_>>>()?.concat() {
            fs::remove_file(&old).map_err(|error| format!("{}: {error}", old.display()))?;
        }
        let words = format!(
            "-m maturin build --manifest-path python/Cargo.toml --locked --zig --auditwheel check \
             --target {} --compatibility {}",
            self.target.triple,
            self.target.tag(),
        );
        let mut job = Job::program(self.tools, &words)
            .argument("--out")
            .argument(&dist.to_string_lossy())
            .variable("CARGO_ZIGBUILD_PYTHON_PATH", self.tools)
            .variable("CARGO_TARGET_DIR", &root().join(FOLDER).join("cargo").to_string_lossy())
            // As in the profile of wheels. maturin's own option has each crate built anew.
            .variable("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .variable("CARGO_PROFILE_RELEASE_STRIP", "symbols");
        if let Some(profile) = self.profile {
            job = job.argument("--profile").argument(profile);
        }
        for version in versions {
            job = job.argument("--interpreter").argument(&self.interpreter(*version, found));
        }
        job.deadline(minutes(60)).run()?;
        let wheel = |version: &(u32, u32)| {
            let wheel = self.built(*version, dist)?.pop();
            wheel.ok_or_else(|| format!("maturin made no wheel for {}", named(*version)))
        };
        versions.iter().map(wheel).collect()
    }

    /// Lists the wheels in a folder that are for this target and a version of CPython.
    fn built(&self, version: (u32, u32), dist: &Path) -> Outcome<Vec<PathBuf>> {
        let mark = format!("-cp{}{}-", version.0, version.1);
        let wheels = listed(dist, &self.target.mark())?.into_iter();
        Ok(wheels.filter(|wheel| file_name(wheel).contains(&mark)).collect())
    }

    /// Returns what maturin is told of a CPython: where it is, or else its name. Then maturin takes
    /// what it knows of that version by itself, and needs none.
    fn interpreter(&self, version: (u32, u32), found: &[Python]) -> String {
        let here = found.iter().find(|python| python.version == version);
        match here {
            Some(python) if self.target.is_here() => python.path.clone(),
            _ => format!("python{}", named(version)),
        }
    }
}

/// Lists the wheels in a folder whose names contain `mark`; none where there is no folder.
fn listed(folder: &Path, mark: &str) -> Outcome<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", folder.display())),
    };
    let wheels = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?;
        (name.ends_with(".whl") && name.contains(mark)).then_some(path)
    });
    Ok(wheels.collect())
}

/// Checks a wheel; runs it if that is possible.
fn row(
    tools: &str,
    target: &Target,
    version: (u32, u32),
    wheel: &Path,
    found: &[Python],
) -> Outcome<Row> {
    let (unpacked, engine) = checked(tools, target, wheel)?;
    let audited = audit(tools, target, wheel)?;
    let needs = match engine.glibc {
        Some((major, minor)) => format!("needs glibc {major}.{minor}"),
        None => "needs no glibc".to_owned(),
    };
    let facts = format!("{}, engine {}, {needs}, {audited}", size(wheel)?, megabytes(engine.bytes));
    let ran = ran(target, version, wheel, &unpacked, found)?;
    Ok(Row { name: file_name(wheel), facts, ran })
}

/// Unpacks a wheel and checks which files it holds, and what its engine needs.
fn checked(tools: &str, target: &Target, wheel: &Path) -> Outcome<(Unpacked, Engine)> {
    let folder = root().join(FOLDER).join("unpacked").join(file_name(wheel));
    let unpacked = contents::unpack(tools, wheel, &folder)?;
    let engine = unpacked.engine()?;
    engine.check(target).map_err(|sentence| format!("{}: {sentence}", shown(wheel)))?;
    Ok((unpacked, engine))
}

/// Asks auditwheel for the tag that a wheel deserves. It knows musl by the name that one system's
/// linker has for it; maturin has looked at those wheels, and musl's loader will.
fn audit(tools: &str, target: &Target, wheel: &Path) -> Outcome<String> {
    if let Libc::Musl(..) = target.libc {
        return Ok("maturin agrees".to_owned());
    }
    let words = "-m auditwheel show";
    let text = Job::program(tools, words).argument(&wheel.to_string_lossy()).capture()?;
    let mark = format!("\"{}\"", target.mark());
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.contains(&format!("following platform tag: {mark}")) {
        return Ok("auditwheel agrees".to_owned());
    }
    Err(format!("auditwheel does not find {mark} for {}: {text}", shown(wheel)))
}

/// Runs a wheel; returns what was run, or why it could not be.
fn ran(
    target: &Target,
    version: (u32, u32),
    wheel: &Path,
    unpacked: &Unpacked,
    found: &[Python],
) -> Outcome<Result<String, String>> {
    if target.is_here() {
        let Some(python) = found.iter().find(|python| python.version == version) else {
            return Ok(Err(format!("there is no CPython {} here", named(version))));
        };
        let python = installed(python, &format!("{FOLDER}/empty"), wheel)?;
        return trial::smoke(&python).map(|told| Ok(format!("run: {told}")));
    }
    if let Libc::Musl(..) = target.libc {
        // A loader that cannot be had is no fault of the wheel's; one that misses a symbol is.
        let missing = |sentence: &String| sentence.starts_with("musl has no");
        return match trial::load_with_musl(target, unpacked) {
            Ok(told) => Ok(Err(format!("there is no CPython on musl here; {told}"))),
            Err(sentence) if missing(&sentence) => Err(sentence),
            Err(sentence) => Ok(Err(sentence)),
        };
    }
    match trial::emulator(target, version) {
        Ok(Some(emulated)) => {
            let told = trial::smoke_emulated(&emulated, unpacked)?;
            Ok(Ok(format!("run by an emulator: {told}")))
        }
        Ok(None) => {
            Ok(Err(format!("Debian has no CPython {} for {}", named(version), target.processor())))
        }
        Err(sentence) => Ok(Err(sentence)),
    }
}

/// Makes the source distribution, builds it in an empty folder, and runs what came of it.
fn source(tools: &str, python: &Python, profile: Option<&str>, dist: &Path) -> Outcome<Row> {
    let words = "-m maturin sdist --manifest-path python/Cargo.toml --out";
    Job::program(tools, words).argument(&dist.to_string_lossy()).run()?;
    let archive = dist.join(format!("asyncoro_rs-{}.tar.gz", env!("CARGO_PKG_VERSION")));
    let outside = Outside::new("sdist")?;
    contents::unpack_source(&archive, &outside.path().join("unpacked"))?;
    let begun = Instant::now();
    // pip unpacks it in a folder for such, fetches maturin and builds, as it does for a user. What
    // cargo builds lies elsewhere, so that crates of others need not be built anew each time.
    let folder = format!("{FOLDER}/empty");
    Job::program(&python.path, "-m venv --clear").argument(&folder).run()?;
    let empty = root().join(&folder).join("bin/python").to_string_lossy().into_owned();
    let mut job = Job::program(&empty, "-m pip install --quiet --disable-pip-version-check")
        .argument(&archive.to_string_lossy())
        .variable("CARGO_TARGET_DIR", &root().join(FOLDER).join("cargo").to_string_lossy());
    if let Some(profile) = profile {
        job = job.variable("MATURIN_PEP517_ARGS", &format!("--profile {profile}"));
    }
    job.folder(outside.path()).deadline(minutes(30)).run()?;
    let built = begun.elapsed().as_secs();
    let told = trial::smoke(&empty)?;
    let facts = format!("{}, built by pip in {built} s", size(&archive)?);
    Ok(Row { name: file_name(&archive), facts, ran: Ok(format!("run: {told}")) })
}

/// Builds a wheel for each of these CPythons of this machine, as for a release but without LTO, and
/// checks it; returns their files. One call of maturin makes all, so that cargo compiles what does
/// not depend on CPython once.
pub(crate) fn without_lto(pythons: &[Python]) -> Outcome<Vec<PathBuf>> {
    let target = Target::here()?;
    target.needs_standard_library()?;
    let newest = pythons.last().ok_or("there is no CPython to build for")?;
    let tools = tools(newest, &format!("{FOLDER}/builders"), BUILDERS)?;
    let build = Build { tools: &tools, target, profile: Some(RELEASE) };
    let versions: Vec<(u32, u32)> = pythons.iter().map(|python| python.version).collect();
    let wheels = build.wheels(&versions, pythons, &root().join(FOLDER).join("without-lto"))?;
    for wheel in &wheels {
        let (_, engine) = checked(&tools, target, wheel)?;
        println!("{}: {}, engine {}", shown(wheel), size(wheel)?, megabytes(engine.bytes));
    }
    Ok(wheels)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn size(path: &Path) -> Outcome<String> {
    let facts = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(megabytes(facts.len()))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_made_if_nothing_is_named() {
        let plan = parse(&[]).unwrap();
        assert_eq!(plan.targets.len(), TARGETS.len());
        assert_eq!(plan.versions.first(), Some(&(3, 9)));
        assert_eq!((plan.source, plan.profile), (true, None));
    }

    #[test]
    fn only_what_is_named_is_made() {
        let plan = parse(&["3.12", "--quick"]).unwrap();
        assert_eq!(plan.versions, [(3, 12)]);
        assert_eq!(plan.targets.len(), TARGETS.len());
        assert_eq!((plan.source, plan.profile), (false, Some("release")));
        let plan = parse(&["sdist"]).unwrap();
        assert!(plan.source && plan.targets.is_empty() && plan.versions.is_empty());
        let plan = parse(&["aarch64-unknown-linux-gnu", "sdist"]).unwrap();
        assert!(plan.source && plan.targets.len() == 1 && plan.versions.len() > 1);
        assert!(parse(&["2.7"]).unwrap_err().contains("2.7 is not known"));
    }

    #[test]
    fn a_size_is_shown_in_millions_of_bytes() {
        assert_eq!(megabytes(16_500_000), "16.50 MB");
    }
}
