//! The project's rules that no other tool checks, each with a message that says what to do.
//!
//! A rule is a function from all files of the repository to complaints, so its tests need no disk:
//! `code.rs` (module docs, forbidden macros), `architecture.rs` (what ARCHITECTURE.md lists),
//! `layers.rs` (arrows between files),
//! `text.rs` (lines, paths, hosts), `promises.rs` (rows and their tests). `source.rs` tells code
//! from comments and strings. The files are those that git tracks or would add.

mod architecture;
mod code;
mod layers;
mod promises;
mod source;
mod text;

use std::{fmt, fs, io};

use crate::{Outcome, command::Job, root};

/// A file of the repository.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
    /// Rust files only: the text with comments and literals replaced by blanks, so that positions
    /// stay.
    code: String,
    /// As `code`, with the tests blanked too; empty for `tests.rs` and `*_tests.rs`.
    product: String,
}

/// A violation of a rule, with its place.
struct Complaint {
    path: String,
    /// Counted from 1; 0 for the whole file.
    line: usize,
    sentence: String,
}

type Rule = fn(&[File]) -> Vec<Complaint>;

const RULES: &[Rule] = &[
    layers::arrows,
    layers::circles,
    code::module_docs,
    architecture::page,
    architecture::unsafe_by_file,
    code::forbidden_macros,
    promises::rows,
    promises::test_files,
    text::machine_paths,
    text::registry_hosts,
    text::long_lines,
    text::trailing_whitespace,
];

/// Checks every rule and prints all complaints.
pub(crate) fn run() -> Outcome {
    let files = read()?;
    for advice in code::long_files(&files) {
        println!("advice: {advice}");
    }
    let complaints: Vec<Complaint> = RULES.iter().flat_map(|rule| rule(&files)).collect();
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => Ok(()),
        1 => Err("tidy has one complaint".to_owned()),
        count => Err(format!("tidy has {count} complaints")),
    }
}

/// Tells whether the code of the library, tests included, contains `words`.
pub(crate) fn source_has(words: &str) -> Outcome<bool> {
    Ok(read()?.iter().any(|file| file.path.starts_with("src/") && file.code.contains(words)))
}

/// Reads the text files of the repository; skips files that are not UTF-8.
fn read() -> Outcome<Vec<File>> {
    let words = "-c safe.directory=* ls-files --cached --others --exclude-standard -z";
    let paths = Job::program("git", words).capture()?;
    let mut files = Vec::new();
    for path in paths.split_terminator('\0') {
        match fs::read(root().join(path)) {
            Ok(bytes) => files.extend(String::from_utf8(bytes).map(|text| File::new(path, text))),
            // A deleted file that is not committed yet, or a link to a folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {}
            Err(error) => return Err(format!("{path}: {error}")),
        }
    }
    Ok(files)
}

impl File {
    fn new(path: &str, text: impl Into<String>) -> Self {
        let text = text.into();
        let code = if path.ends_with(".rs") { source::code(&text) } else { String::new() };
        let is_test = path.ends_with("/tests.rs") || path.ends_with("_tests.rs");
        let product = if is_test { String::new() } else { source::without_tests(&code) };
        File { path: path.to_owned(), text, code, product }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_python(&self) -> bool {
        self.path.ends_with(".py") || self.path.ends_with(".pyi")
    }

    /// Returns the module path of a file of the library; empty for `lib.rs`.
    fn module(&self) -> Option<Vec<&str>> {
        let path = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let path = path.strip_suffix("/mod").unwrap_or(path);
        Some(if path == "lib" { Vec::new() } else { path.split('/').collect() })
    }

    fn complaint(&self, line: usize, sentence: impl Into<String>) -> Complaint {
        Complaint { path: self.path.clone(), line, sentence: sentence.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.sentence),
            line => write!(f, "{}:{line}: {}", self.path, self.sentence),
        }
    }
}

/// Returns the complaints of `rule` about these files, as shown.
#[cfg(test)]
fn complaints(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<File> = files.iter().map(|(path, text)| File::new(path, *text)).collect();
    rule(&files).iter().map(Complaint::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_knows_its_module() {
        let module = |path| File::new(path, "").module().map(|names| names.join("::"));
        assert_eq!(module("src/coro/timer.rs").as_deref(), Some("coro::timer"));
        assert_eq!(module("src/coro/mod.rs").as_deref(), Some("coro"));
        assert_eq!(module("src/lib.rs").as_deref(), Some(""));
        assert_eq!(module("tests/it/main.rs"), None);
    }

    #[test]
    fn the_repository_can_be_read() {
        let files = read().unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/tidy/mod.rs"));
    }
}
