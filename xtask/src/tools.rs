//! Third-party programs, which cargo installs into `target/tools` if a machine lacks them.

use std::time::Duration;

use crate::{
    Outcome,
    command::{Job, minutes},
    root,
};

/// Returns the path of the program of the crate of the same name; installs it if it is missing.
pub(crate) fn get(name: &str) -> Outcome<String> {
    if let Ok((true, _)) = Job::program(name, "--version").observe() {
        return Ok(name.to_owned());
    }
    let path = root().join("target/tools/bin").join(name);
    if !path.exists() {
        let words = format!("install --locked --root target/tools {name}");
        Job::cargo(&words).deadline(INSTALL).run()?;
    }
    path.to_str().map(str::to_owned).ok_or_else(|| format!("{} is not UTF-8", path.display()))
}

/// How long an installation may take.
const INSTALL: Duration = minutes(60);

/// Returns the last lines of a text.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }
}
