//! Rules for single Rust files: they open with a module doc, leave nothing undone, and are short.

use super::{Complaint, File, source};

/// Where a file opens with a module doc.
const DOCUMENTED: &[&str] = &["src/", "tests/", "examples/", "bench/", "python/", "xtask/"];

/// Files of the library or of the bindings with more lines than this are reported, as they may have
/// two subjects.
const LONG: usize = 500;

/// Files that are longer for a reason, with the reason.
const LONG_FOR_A_REASON: &[(&str, &str)] = &[];

pub(super) fn module_docs(files: &[File]) -> Vec<Complaint> {
    let documented = |file: &&File| DOCUMENTED.iter().any(|folder| file.path.starts_with(folder));
    let mute = |file: &&File| file.is_rust() && !file.text.starts_with("//!");
    let advice =
        "opens without a module doc; say in `//!` lines what lives here and what must hold";
    let silent = files.iter().filter(documented).filter(mute);
    silent.map(|file| file.complaint(1, advice)).collect()
}

pub(super) fn forbidden_macros(files: &[File]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files {
        for (index, line) in file.code.lines().enumerate() {
            for name in ["todo!", "unimplemented!", "dbg!"] {
                let stands_alone = |at: usize| !line[..at].ends_with(source::is_word);
                if line.match_indices(name).any(|(at, _)| stands_alone(at)) {
                    complaints
                        .push(file.complaint(index + 1, format!("{name} is not for commits")));
                }
            }
        }
    }
    complaints
}

/// Gives advice, not complaints: a long file may still have one subject.
pub(super) fn long_files(files: &[File]) -> Vec<String> {
    let is_excused = |file: &&File| LONG_FOR_A_REASON.iter().any(|(path, _)| *path == file.path);
    let is_source = |file: &&File| file.module().is_some() || file.path.starts_with("python/src/");
    let sources = files.iter().filter(is_source).filter(|file| !is_excused(file));
    let counted = sources.map(|file| (file, file.text.lines().count()));
    let long = counted.filter(|(_, lines)| *lines > LONG);
    long.map(|(file, lines)| format!("{} has {lines} lines: look for the second story", file.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::complaints, *};

    #[test]
    fn each_file_opens_with_its_module_doc() {
        let files = [("src/a.rs", "//! A.\n"), ("bench/b.rs", "use x;\n"), ("attic/c.rs", "x")];
        let found = complaints(module_docs, &files);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("bench/b.rs:1: opens without"));
    }

    #[test]
    fn unfinished_code_is_found_and_talk_about_it_is_not() {
        let text = "// todo!\nfn f() { todo!() }\nlet x = my_dbg!(\"dbg!\");\ndbg!(x)";
        let found = complaints(forbidden_macros, &[("src/a.rs", text)]);
        assert_eq!(
            found,
            ["src/a.rs:2: todo! is not for commits", "src/a.rs:4: dbg! is not for commits"]
        );
    }

    #[test]
    fn long_files_of_the_library_are_pointed_out() {
        let (long, short) = ("\n".repeat(LONG + 1), "\n".repeat(LONG));
        let paths = [("src/a.rs", &long), ("src/b.rs", &short), ("bench/c.rs", &long)];
        let files: Vec<File> = paths.iter().map(|(path, text)| File::new(path, *text)).collect();
        assert_eq!(long_files(&files).len(), 1);
        assert!(long_files(&files)[0].starts_with("src/a.rs has 501 lines"));
    }
}
