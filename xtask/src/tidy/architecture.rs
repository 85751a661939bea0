//! What ARCHITECTURE.md says of the tree is what is there: its layers, its files, its unsafe ones.
//!
//! The lists stand in the code, once: layers in `layers.rs`, files on the disk, unsafe ones by the
//! attribute that lets the compiler accept them. The page repeats them for readers, with reasons.

use std::collections::BTreeSet;

use super::{Complaint, File, layers, source};

const PAGE: &str = "ARCHITECTURE.md";

/// The attribute without which a file's unsafe code does not compile.
const ALLOWS: &str = "allow(unsafe_code)";

pub(super) fn page(files: &[File]) -> Vec<Complaint> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        let sentence = "is missing".to_owned();
        return vec![Complaint { path: PAGE.to_owned(), line: 0, sentence }];
    };
    let mut sentences = layers_told(&page.text, &layers::of_library());
    sentences.extend(tree_told(&page.text, files));
    sentences.extend(unsafe_told(&page.text, files));
    sentences.into_iter().map(|sentence| page.complaint(0, sentence)).collect()
}

/// A file that allows unsafe code allows it in the modules below it as well, so it has none; and it
/// has unsafe code.
pub(super) fn unsafe_by_file(files: &[File]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && !file.path.starts_with("xtask/")) {
        for (position, _) in file.code.match_indices(ALLOWS) {
            let line = source::line_at(&file.code, position);
            if !file.code[..position].ends_with("#![") {
                let advice = "allows unsafe code in a part of it; put #![allow(unsafe_code)] at \
                              the top of the file";
                complaints.push(file.complaint(line, advice));
            }
            if !source::words(&file.code).any(|(_, word)| word == "unsafe") {
                complaints.push(file.complaint(line, "allows unsafe code and has none"));
            }
            if let Some(below) = module_below(&file.product) {
                let sentence = format!(
                    "allows unsafe code in the module {below} below it, too; put what is unsafe \
                     into a file of its own"
                );
                complaints.push(file.complaint(line, sentence));
            }
        }
    }
    complaints
}

/// The name of a module that lies in another file.
fn module_below(product: &str) -> Option<&str> {
    let words: Vec<(usize, &str)> = product
        .match_indices("mod ")
        .filter(|(at, _)| !product[..*at].ends_with(source::is_word))
        .collect();
    words.into_iter().find_map(|(at, _)| {
        let rest = &product[at + "mod ".len()..];
        let name = rest.split(|c| !source::is_word(c)).next()?;
        rest[name.len()..].trim_start().starts_with(';').then_some(name)
    })
}

/// The rows of the table whose heading begins with `| heading |`, as columns.
fn table<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let start = format!("| {heading} |");
    let rows = text.lines().skip_while(|line| !line.starts_with(&start)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn layers_told(text: &str, layers: &[&[&str]]) -> Vec<String> {
    let rows = table(text, "layer");
    let told = |at: usize| -> BTreeSet<&str> {
        let number = at.to_string();
        let row = rows.iter().find(|row| row[0] == number);
        row.and_then(|row| row.get(1))
            .map_or_else(BTreeSet::new, |cell| in_backticks(cell).collect())
    };
    let mut sentences = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let is: BTreeSet<&str> = layer.iter().copied().collect();
        if told(at) != is {
            sentences.push(format!("layer {at} is {is:?} in LAYERS, {:?} in the table", told(at)));
        }
    }
    if rows.len() != layers.len() {
        sentences.push(format!("there are {} layers, {} in the table", layers.len(), rows.len()));
    }
    sentences
}

fn tree_told(text: &str, files: &[File]) -> Vec<String> {
    let Some((_, tree)) = text.split_once("## The tree") else {
        return vec!["has no tree".to_owned()];
    };
    let tree = tree.split("```").nth(1).unwrap_or_default();
    let mut sentences = Vec::new();
    let mut told = Vec::new();
    let mut folder = "";
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let names = line.trim_start().split("  ").take_while(|part| !part.is_empty());
        let names = names.flat_map(str::split_whitespace);
        let names: Vec<&str> = match indent {
            0 | 2 => names.take_while(|name| name.ends_with('/') || name.contains('.')).collect(),
            _ => continue, // goes on with the text of the line before
        };
        if indent == 0 {
            folder = names.first().filter(|name| name.ends_with('/')).copied().unwrap_or("");
        }
        for name in names {
            let path = if indent == 0 { name.to_owned() } else { format!("{folder}{name}") };
            let exists = files.iter().any(|file| {
                file.path == path || (path.ends_with('/') && file.path.starts_with(&path))
            });
            if !exists {
                sentences.push(format!("the tree has {path}, which there is not"));
            }
            told.push(path);
        }
    }
    let is_told = |path: &str| {
        let told_in =
            |told: &String| told != "src/" && told.ends_with('/') && path.starts_with(told);
        told.iter().any(|told| told == path || told_in(told))
    };
    let missing = files.iter().filter(|file| {
        let is_test = file.path.ends_with("tests.rs") || file.path.contains("/tests/");
        file.path.starts_with("src/") && file.is_rust() && !is_test && !is_told(&file.path)
    });
    sentences.extend(missing.map(|file| format!("the tree lacks {}", file.path)));
    sentences
}

fn unsafe_told(text: &str, files: &[File]) -> Vec<String> {
    let rows = table(text, "file");
    let told: BTreeSet<String> = rows
        .iter()
        .flat_map(|row| in_backticks(row[0]))
        .map(|path| {
            let in_src = format!("src/{path}");
            if files.iter().any(|file| file.path == in_src) { in_src } else { path.to_owned() }
        })
        .collect();
    let is: BTreeSet<String> = files
        .iter()
        .filter(|file| file.is_rust() && file.code.contains(ALLOWS))
        .filter(|file| !file.path.starts_with("xtask/"))
        .map(|file| file.path.clone())
        .collect();
    let lacks = is.difference(&told).map(|path| format!("the table of unsafe files lacks {path}"));
    let too_many = told
        .difference(&is)
        .map(|path| format!("the table of unsafe files has {path}, which allows no unsafe code"));
    lacks.chain(too_many).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::complaints, *};

    #[test]
    fn a_file_that_allows_unsafe_code_has_some_and_nothing_below_it() {
        let found = complaints(
            unsafe_by_file,
            &[
                ("src/a.rs", "#![allow(unsafe_code)]\nfn f() { unsafe { x() } }"),
                ("src/b.rs", "// unsafe\n#![allow(unsafe_code)]\nfn f() {}"),
                ("src/c.rs", "#![allow(unsafe_code)]\npub(crate) mod d;\nunsafe fn f() {}"),
                ("src/d.rs", "#[allow(unsafe_code)]\nunsafe fn f() {}"),
                ("src/e.rs", "#![allow(unsafe_code)]\nunsafe fn f() {}\n#[cfg(test)]\nmod tests;"),
                ("src/f.rs", "// allow(unsafe_code)\nmod x { fn f() {} }"),
            ],
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("src/b.rs:2: allows unsafe code and has none"));
        assert!(found[1].contains("src/c.rs:1: allows unsafe code in the module d below it"));
        assert!(found[2].starts_with("src/d.rs:1: allows unsafe code in a part"));
    }

    #[test]
    fn a_table_of_layers_that_has_drifted_is_told() {
        let text = "x\n| layer | modules | is |\n| --- | --- | --- |\n| 1 | `c` | x |\n\
                    | 0 | `a`, `b` | y |\n\n| 9 | `z` | |";
        assert!(layers_told(text, &[&["b", "a"], &["c"]]).is_empty());
        assert_eq!(layers_told(text, &[&["a"], &["c"]]).len(), 1);
        assert_eq!(layers_told(text, &[&["a", "b"], &["c"], &["d"]]).len(), 2);
    }

    #[test]
    fn a_tree_that_has_drifted_is_told() {
        let page = |tree: &str| format!("## The tree\n\n```\n{tree}```\n");
        let files: Vec<File> = ["src/lib.rs", "src/a/mod.rs", "src/a/b.rs", "src/c/d.rs", "docs/x"]
            .map(|path| File::new(path, ""))
            .into();
        let whole = "src/\n  lib.rs    the root\n  a/mod.rs  a/b.rs  both\n  c/        more\n\
                             \x20           of it.rs\ndocs/  pages\n";
        assert_eq!(tree_told(&page(whole), &files), [""; 0]);
        let lacks = tree_told(&page(&whole.replace("  c/ ", "  a/ ")), &files);
        assert_eq!(lacks, ["the tree lacks src/c/d.rs"]);
        let gone = tree_told(&page(&whole.replace("lib.rs ", "old.rs ")), &files);
        assert_eq!(
            gone,
            ["the tree has src/old.rs, which there is not", "the tree lacks src/lib.rs"]
        );
    }

    #[test]
    fn a_table_of_unsafe_files_that_has_drifted_is_told() {
        let text = "| file | what for |\n| --- | --- |\n| `a.rs`, `tests/b.rs` | x |\n";
        let a = File::new("src/a.rs", "#![allow(unsafe_code)] unsafe {}");
        let b = File::new("tests/b.rs", "#![allow(unsafe_code)] unsafe {}");
        let c = File::new("src/c.rs", "#![allow(unsafe_code)] unsafe {}");
        assert_eq!(unsafe_told(text, &[a, b]), [""; 0]);
        let a = File::new("src/a.rs", "#![allow(unsafe_code)] unsafe {}");
        let found = unsafe_told(text, &[a, c]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("lacks src/c.rs") && found[1].contains("has tests/b.rs"));
    }
}
