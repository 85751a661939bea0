//! Finds the programs and test binaries that cargo built, by name.
//!
//! Cargo prints JSON, a line per artifact. The two fields that matter are extracted by hand, so
//! that xtask needs no JSON library.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{Outcome, command::Job};

/// Runs a building cargo command (`build` or `test --no-run`) and lists the executables by name.
pub(crate) fn build(job: Job) -> Outcome<BTreeMap<String, PathBuf>> {
    let lines = job.argument("--message-format=json-render-diagnostics").capture()?;
    Ok(lines.lines().filter_map(executable).collect())
}

fn executable(line: &str) -> Option<(String, PathBuf)> {
    let path = string_after(line, "\"executable\":")?;
    let (_, target) = line.split_once("\"target\":{")?;
    let name = string_after(target, "\"name\":")?;
    Some((name, PathBuf::from(path)))
}

/// Returns the JSON string that follows `key`; `None` if something else does (`null`, for example).
fn string_after(text: &str, key: &str) -> Option<String> {
    let (_, rest) = text.split_once(key)?;
    let mut value = String::new();
    let mut characters = rest.strip_prefix('"')?.chars();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_is_found_by_its_name() {
        let line = r#"{"reason":"compiler-artifact","package_id":"x","target":{"kind":["test"],
            "crate_types":["bin"],"name":"it","src_path":"a"},"executable":"/t/deps/it-1\"2"}"#;
        assert_eq!(executable(line), Some(("it".to_owned(), PathBuf::from("/t/deps/it-1\"2"))));
    }

    #[test]
    fn a_library_is_no_executable() {
        assert_eq!(executable(r#"{"target":{"name":"asyncoro"},"executable":null}"#), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
