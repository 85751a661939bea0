//! Runs each fuzz target of `fuzz/` for a while, from its seeds and the inputs that earlier runs
//! found.
//!
//! New inputs go to `target/fuzz/NAME`, not among the seeds in `fuzz/corpus/NAME`: look at them
//! before committing them there. An input that fails is left in `fuzz/artifacts/NAME`, and its path
//! printed.

use std::{fs, time::Duration};

use crate::{Outcome, command::minutes, portable, root, tools};

/// Runs each target for `seconds`; returns the number of inputs of each.
pub(crate) fn run(seconds: u64, names: &[&str]) -> Outcome<String> {
    let program = tools::get("cargo-fuzz")?;
    let targets = targets()?;
    if let Some(name) = names.iter().find(|name| !targets.iter().any(|target| target == **name)) {
        return Err(format!("there is no target {name}; there are {}", targets.join(", ")));
    }
    let mut figures = Vec::new();
    for target in targets.iter().filter(|it| names.is_empty() || names.contains(&it.as_str())) {
        let found = format!("target/fuzz/{target}");
        fs::create_dir_all(root().join(&found)).map_err(|error| format!("{found}: {error}"))?;
        let limits =
            format!("-max_total_time={seconds} -rss_limit_mb=2048 -max_len=4096 -timeout=60");
        let words = format!("fuzz run {target} {found} fuzz/corpus/{target} -- {limits}");
        let (well, text) = portable::with_nightly(&program, &words)
            .deadline(Duration::from_secs(seconds) + minutes(30))
            .observe()?;
        let done = text.lines().rev().find_map(|line| line.strip_prefix("Done "));
        let Some(done) = done.filter(|_| well) else {
            return Err(format!("fuzz target {target} has failed:\n{}", tools::tail(&text, 60)));
        };
        let runs = done.split(' ').next().unwrap_or("?");
        println!("fuzz {target}: {runs} inputs in {seconds} s, nothing found");
        figures.push(format!("{target} {runs}"));
    }
    Ok(format!("inputs: {}", figures.join(", ")))
}

/// Returns the names of the targets, which are those of their files.
fn targets() -> Outcome<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let is_rust = path.extension().is_some_and(|ending| ending == "rs");
        is_rust.then(|| path.file_stem()?.to_str().map(str::to_owned)).flatten()
    };
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_seeds_and_a_place_in_the_manifest() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let targets = targets().unwrap();
        assert!(targets.len() >= 5);
        for target in targets {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
            let seeds = fs::read_dir(root().join("fuzz/corpus").join(&target)).unwrap().count();
            assert!(seeds >= 4, "{seeds} seeds of {target}");
        }
    }
}
