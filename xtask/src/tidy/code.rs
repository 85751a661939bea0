//! Rules for single Rust files: they open with a module doc, use `unsafe` only where it is argued
//! for, have no unfinished code, and are short.

use super::{Complaint, File, source};

/// The only files that may be unsafe; each argues in its module doc who owns the memory and until
/// when. Remove a line when its file no longer needs unsafe.
const UNSAFE_FILES: &[&str] = &[
    "bench/src/heap.rs",
    "python/src/arguments.rs",
    "python/src/awaiting.rs",
    "python/src/call.rs",
    "python/src/coro/made.rs",
    "python/src/coro/mod.rs",
    "python/src/engine.rs",
    "python/src/fresh.rs",
    "python/src/gc.rs",
    "python/src/gil.rs",
    "python/src/place.rs",
    "python/src/quick.rs",
    "python/src/runner.rs",
    "python/src/socket/mod.rs",
    "python/src/socket/mode.rs",
    "python/src/step.rs",
    "python/src/target.rs",
    "python/src/view.rs",
    "src/coro/cell.rs",
    "src/coro/current.rs",
    "src/coro/memory.rs",
    "src/coro/waiter.rs",
    "src/coro/waker.rs",
    "src/driver/epoll.rs",
    "src/driver/poll.rs",
    "src/fork.rs",
    "src/resolve.rs",
    "src/socket/blocking/mod.rs",
    "src/socket/core.rs",
    "src/socket/mod.rs",
    "src/socket/sys/address.rs",
    "src/socket/sys/batch.rs",
    "src/socket/sys/descriptor.rs",
    "src/socket/sys/mod.rs",
    "tests/it/callbacks.rs",
    "tests/it/embed.rs",
    "tests/it/failures.rs",
    "tests/it/foreign.rs",
    "tests/it/fork.rs",
    "tests/it/hostile.rs",
    "tests/it/model/uninit.rs",
    "tests/it/shared.rs",
];

/// Folders in which each file opens with a module doc.
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

pub(super) fn unsafe_only_where_listed(files: &[File]) -> Vec<Complaint> {
    unsafe_outside(files, UNSAFE_FILES)
}

fn unsafe_outside(files: &[File], list: &[&str]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| !list.contains(&file.path.as_str())) {
        let advice = "unsafe in a file that is not in UNSAFE_FILES (xtask/src/tidy/code.rs)";
        complaints.extend(unsafe_line(file).map(|line| file.complaint(line, advice)));
    }
    for listed in list {
        let but = match files.iter().find(|file| file.path == **listed) {
            None => "does not exist",
            Some(file) if unsafe_line(file).is_none() => "holds no unsafe: take it off the list",
            Some(_) => continue,
        };
        let sentence = format!("is in UNSAFE_FILES (xtask/src/tidy/code.rs) but {but}");
        complaints.push(Complaint { path: (*listed).to_owned(), line: 0, sentence });
    }
    complaints
}

fn unsafe_line(file: &File) -> Option<usize> {
    source::words(&file.code).find(|(_, word)| *word == "unsafe").map(|(line, _)| line)
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
    fn unsafe_stands_only_in_listed_files() {
        let rule = |files: &[File]| unsafe_outside(files, &["src/a.rs", "src/b.rs", "src/c.rs"]);
        let found = complaints(
            |files| unsafe_outside(files, &["src/a.rs", "src/b.rs", "src/c.rs"]),
            &[
                ("src/a.rs", "unsafe { x() }"),
                ("src/b.rs", "// unsafe\n#![allow(unsafe_code)]"),
                ("src/d.rs", "\"unsafe\";\nunsafe fn f() {}"),
            ],
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("src/d.rs:2: unsafe in a file"));
        assert!(found[1].starts_with("src/b.rs: ") && found[1].contains("holds no unsafe"));
        assert!(found[2].starts_with("src/c.rs: ") && found[2].contains("does not exist"));
        assert_eq!(rule(&[]).len(), 3);
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
