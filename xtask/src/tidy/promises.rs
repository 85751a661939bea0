//! Checks that each promise in `tests/PROMISES.md` names a test that exists.
//!
//! A row is `| id | promise | ranges over | test |`; the last column has names in backticks:
//!
//! | name | where it must stand |
//! | --- | --- |
//! | `it::stream::x` | in `tests/it/stream.rs` |
//! | `interop::hyper::x` | in `tests/interop/hyper.rs` |
//! | `coro::timer::tests::x` | in `src/coro/timer.rs` (or `src/coro/timer/mod.rs`) |
//! | `loom: inbox::loom_x` | in a file of the library in or below a module `inbox` |
//! | `doctest: AsyncSocket::recv` | an item `recv` of the library with an example in its docs |
//! | `example: tour` | `examples/tour.rs`, which `cargo xtask examples` runs |
//!
//! A test exists if its name occurs in the code of the file, since a macro may make it.
//!
//! The third column has words of [`RANGES`]. A word in brackets is a range that no test covers. For
//! some others, one of the row's tests must contain a text that shows that it covers the range.

use super::{Complaint, File, source};

const TABLE: &str = "tests/PROMISES.md";

/// The folders of `tests`, each a binary of tests.
const TESTS: &[&str] = &["it", "interop"];

/// What a promise may range over, and texts of which one must occur in one of its tests; any test
/// will do where there is none.
const RANGES: &[(&str, &[&str])] = &[
    ("faces", &["each_face(", "each_face!(", "FACES", "BlockingSocket", "_blocking("]),
    ("kinds", &["each(", "each_at_once(", "each_face(", "each_kind(", "KINDS", "STREAMS"]),
    ("plain", &["each_plain(", "Kind::Tcp6", "PLAIN", "[::1]"]),
    ("datagrams", &["on_each_family(", "on_each_face!(", "datagram_pairs("]),
    ("verbs", &["READERS", "WRITERS", "DATAGRAMS", "datagram_readers(", "verbs(", "in VERBS"]),
    ("versions", &["each_version", "VERSIONS", "KINDS", " each(", "each_face(", "each_kind("]),
    ("states", &[]),
    ("ends", &[]),
    ("waits", &[]),
    ("threads", &[]),
];

struct Row<'a> {
    id: &'a str,
    promise: &'a str,
    ranges: &'a str,
    tests: &'a str,
}

pub(super) fn rows(files: &[File]) -> Vec<Complaint> {
    let Some(table) = files.iter().find(|file| file.path == TABLE) else {
        return vec![Complaint {
            path: TABLE.to_owned(),
            line: 0,
            sentence: "is missing".to_owned(),
        }];
    };
    let mut complaints = Vec::new();
    let mut ids: Vec<&str> = Vec::new();
    for (line, row) in table_rows(&table.text) {
        let sentences = match row {
            Some(row) => {
                let is_new = !ids.contains(&row.id);
                ids.push(row.id);
                judge(&row, is_new, files)
            }
            None => vec!["a row has four columns: id, promise, ranges over, test".to_owned()],
        };
        complaints.extend(sentences.into_iter().map(|sentence| table.complaint(line, sentence)));
    }
    complaints
}

/// Finds files in `tests/it` that `main.rs` does not name, which are never compiled.
pub(super) fn test_files(files: &[File]) -> Vec<Complaint> {
    let Some(main) = files.iter().find(|file| file.path == "tests/it/main.rs") else {
        return Vec::new();
    };
    let is_named = |name: &str| main.code.lines().any(|line| line.trim() == format!("mod {name};"));
    let mut complaints = Vec::new();
    for file in files {
        let name = file.path.strip_prefix("tests/it/").and_then(|path| path.strip_suffix(".rs"));
        let name = name.map(|name| name.strip_suffix("/mod").unwrap_or(name));
        match name {
            Some(name) if name != "main" && !name.contains('/') && !is_named(name) => {
                complaints.push(file.complaint(0, "tests/it/main.rs does not name this module"));
            }
            _ => {}
        }
    }
    complaints
}

/// Returns the rows after the head of the table; `None` for one that has not four columns.
fn table_rows(text: &str) -> impl Iterator<Item = (usize, Option<Row<'_>>)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let rows = lines.filter(|(_, line)| line.starts_with('|') && !is_head(line));
    rows.map(|(line, row)| (line, parse(row)))
}

fn is_head(row: &str) -> bool {
    row.replace(' ', "") == "|id|promise|rangesover|test|"
        || row.chars().all(|c| " |:-".contains(c))
}

fn parse(row: &str) -> Option<Row<'_>> {
    let cells = row.strip_prefix('|')?.strip_suffix('|')?;
    let (id, rest) = cells.split_once('|')?;
    // Only the promise may contain a bar.
    let (rest, tests) = rest.rsplit_once('|')?;
    let (promise, ranges) = rest.rsplit_once('|')?;
    let [id, promise, ranges, tests] = [id, promise, ranges, tests].map(str::trim);
    Some(Row { id, promise, ranges, tests })
}

fn judge(row: &Row, is_new: bool, files: &[File]) -> Vec<String> {
    let mut sentences = Vec::new();
    let id = row.id;
    if id.is_empty() || row.promise.is_empty() {
        sentences.push("a row needs an id and a promise".to_owned());
    }
    if !is_new {
        sentences.push(format!("the id {id} stands here a second time"));
    }
    let names: Vec<&str> = row.tests.split('`').skip(1).step_by(2).collect();
    if names.is_empty() {
        sentences.push(format!("{id} names no test (in backticks, in the last column)"));
    }
    let code: String = names.iter().filter_map(|name| body(name, files)).collect();
    let ranges = row.ranges.split_whitespace().filter_map(|word| misused(word, &code));
    sentences.extend(ranges.map(|sentence| format!("{id}: {sentence}")));
    if row.ranges.is_empty() {
        sentences.push(format!("{id} does not say what it ranges over (`-` for one thing)"));
    }
    let wrong = names.into_iter().filter_map(|name| find(name, files).err());
    sentences.extend(wrong.map(|sentence| format!("{id}: {sentence}")));
    sentences
}

/// Returns what is wrong with a word of the third column, for a row whose tests are `code`.
fn misused(word: &str, code: &str) -> Option<String> {
    let bare = word.strip_prefix('(').and_then(|word| word.strip_suffix(')'));
    let known = |word| RANGES.iter().find(|(range, _)| *range == word);
    match (known(bare.unwrap_or(word)), bare) {
        (None, None) if word == "-" => None,
        (None, _) => Some(format!("{word} is no word for what a promise ranges over")),
        (Some(_), Some(_)) => None,
        (Some((_, signs)), None) => {
            let goes_through = signs.is_empty() || signs.iter().any(|sign| code.contains(sign));
            (!goes_through).then(|| format!("none of its tests goes through all {word}"))
        }
    }
}

/// Returns the code of a test, up to the next function.
fn body<'a>(name: &str, files: &'a [File]) -> Option<&'a str> {
    let (modules, test) = name.rsplit_once("::")?;
    let path = modules.replace("::", "/");
    let is_test = TESTS.iter().any(|folder| path.starts_with(&format!("{folder}/")));
    let path = format!("{}/{path}", if is_test { "tests" } else { "src" });
    let candidates = [format!("{path}.rs"), format!("{path}/mod.rs")];
    let file = files.iter().find(|file| candidates.contains(&file.path))?;
    let begin = file.code.find(&format!("fn {test}("))?;
    let code = &file.code[begin..];
    Some(&code[..code.find("\n}\n").unwrap_or(code.len())])
}

/// Checks that the test with this name exists; if not, the error says where it was looked for.
fn find(name: &str, files: &[File]) -> Result<(), String> {
    let exists = match name.split_once(": ") {
        Some(("loom", path)) => has_loom_model(path, files),
        Some(("doctest", path)) => has_doctest(path, files),
        Some(("example", example)) => {
            files.iter().any(|file| file.path == format!("examples/{example}.rs"))
        }
        Some((kind, _)) => return Err(format!("{kind} is no kind of test, in {name}")),
        None => return find_test(name, files),
    };
    if exists { Ok(()) } else { Err(format!("there is no {name}")) }
}

fn find_test(name: &str, files: &[File]) -> Result<(), String> {
    let mut modules: Vec<&str> = name.split("::").collect();
    let test = modules.pop().unwrap_or_default();
    let is_test = modules.first().is_some_and(|first| TESTS.contains(first));
    let folder = if is_test { "tests" } else { "src" };
    // The longest path that is a file; the rest are modules inside it.
    for length in (1..=modules.len()).rev() {
        let path = format!("{folder}/{}", modules[..length].join("/"));
        let candidates =
            [format!("{path}.rs"), format!("{path}/mod.rs"), format!("{path}/main.rs")];
        if let Some(file) = files.iter().find(|file| candidates.contains(&file.path)) {
            return if has_word(file, test) {
                Ok(())
            } else {
                Err(format!("{} has no test {test}", file.path))
            };
        }
    }
    Err(format!("{name} leads to no file under {folder}/"))
}

fn has_loom_model(path: &str, files: &[File]) -> bool {
    let Some((modules, test)) = path.rsplit_once("::") else {
        return false;
    };
    let module = modules.split("::").next().unwrap_or_default();
    let is_there = |file: &&File| file.module().is_some_and(|own| own.contains(&module));
    test.starts_with("loom_") && files.iter().filter(is_there).any(|file| has_word(file, test))
}

/// Tells whether an item or a module of the library has an example in its documentation.
fn has_doctest(path: &str, files: &[File]) -> bool {
    let names: Vec<&str> = path.split("::").collect();
    let (item, owner) = (names[names.len() - 1], &names[..names.len() - 1]);
    let has_owner = |file: &File| {
        owner.last().is_none_or(|owner| {
            has_word(file, owner) || file.module().is_some_and(|module| module.contains(owner))
        })
    };
    let is_module = |file: &File| {
        let module = file.module().unwrap_or_default();
        let shows = file.text.lines().take_while(|line| line.starts_with("//!"));
        module.ends_with(&names) && shows.into_iter().any(|line| line.contains("```"))
    };
    let sources = || files.iter().filter(|file| file.module().is_some());
    sources().any(is_module) || sources().any(|file| has_owner(file) && documents(file, item))
}

/// Tells whether the doc comment directly before a definition of `item` contains an example.
fn documents(file: &File, item: &str) -> bool {
    let mut has_example = false;
    for (line, code) in file.text.lines().zip(file.code.lines()) {
        let line = line.trim_start();
        if line.starts_with("///") {
            has_example |= line.contains("```");
        } else if !line.starts_with("#[") {
            if has_example && defines(code, item) {
                return true;
            }
            has_example = false;
        }
    }
    false
}

fn defines(code: &str, item: &str) -> bool {
    let words: Vec<&str> = source::words(code).map(|(_, word)| word).collect();
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod", "macro_rules"];
    words.windows(2).any(|pair| kinds.contains(&pair[0]) && pair[1] == item)
}

fn has_word(file: &File, name: &str) -> bool {
    source::words(&file.code).any(|(_, word)| word == name)
}

#[cfg(test)]
mod tests {
    use super::{super::complaints, *};

    const HEAD: &str = "| id | promise | ranges over | test |\n| --- | --- | --- | --- |\n";
    const LIBRARY: &[(&str, &str)] = &[
        ("src/frame.rs", "mod tests { fn reads() {} }\n// fn gone() {}"),
        ("src/coro/inbox.rs", "//! ```\n//! x\n//! ```\nfn loom_wake() {} fn other() {}"),
        (
            "src/socket/mod.rs",
            "impl AsyncSocket {\n  /// ```\n  /// x\n  /// ```\n  #[inline]\n  \
                               pub fn recv() {}\n  /// Bare.\n  pub fn send() {}\n}",
        ),
        ("tests/it/main.rs", "mod stream;\nmod faces;\n// mod lost;"),
        ("tests/it/stream.rs", "suite!(echoes);\nmod tcp { fn half_close() {} }"),
        ("tests/it/faces.rs", "fn both() {\n each_face(1);\n}\nfn one() {}\n"),
        ("src/coro/cell/loom_tests.rs", "fn loom_drop() {}"),
        ("examples/tour.rs", ""),
    ];

    fn about(table: &str) -> Vec<String> {
        let table = format!("{HEAD}{table}");
        complaints(rows, &[LIBRARY, &[(TABLE, table.as_str())]].concat())
    }

    fn is_known(test: &str) -> bool {
        about(&format!("| A1 | it does | - | `{test}` |")).is_empty()
    }

    #[test]
    fn each_kind_of_test_is_found() {
        for test in [
            "frame::tests::reads",
            "coro::inbox::other",
            "it::stream::echoes",
            "it::stream::tcp::half_close",
            "loom: inbox::loom_wake",
            "loom: coro::inbox::tests::loom_wake",
            "loom: cell::loom_drop",
            "doctest: AsyncSocket::recv",
            "doctest: coro::inbox",
            "example: tour",
        ] {
            assert!(is_known(test), "{test}");
        }
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        for test in [
            "frame::tests::gone",
            "frame::tests::read",
            "attic::tests::reads",
            "it::datagram::echoes",
            "it::stream::half",
            "loom: inbox::other",
            "loom: frame::loom_wake",
            "doctest: AsyncSocket::send",
            "doctest: Lock::recv",
            "example: detour",
            "proof: frame::tests::reads",
        ] {
            assert!(!is_known(test), "{test}");
        }
    }

    #[test]
    fn a_complaint_tells_row_and_place() {
        let found = about("| A1 | a or | b | - | `frame::tests::reads`, `it::stream::nothing` |");
        assert_eq!(found, ["tests/PROMISES.md:3: A1: tests/it/stream.rs has no test nothing"]);
    }

    #[test]
    fn a_row_is_whole_and_its_id_its_own() {
        assert!(about("| A1 | promise |")[0].contains("four columns"));
        assert!(about("| A1 | promise | - | none yet |")[0].contains("names no test"));
        assert!(about("| A1 | | - | `frame::tests::reads` |")[0].contains("needs an id"));
        assert!(about("| A1 | a | | `frame::tests::reads` |")[0].contains("does not say"));
        let twice = "| A1 | a | - | `frame::tests::reads` |\n".repeat(2);
        assert!(about(&twice)[0].contains("a second time"));
        assert!(complaints(rows, &[])[0].contains("is missing"));
    }

    #[test]
    fn what_a_row_ranges_over_is_a_known_word_and_shows_in_its_tests() {
        let ranges = |words: &str, test: &str| about(&format!("| A1 | a | {words} | `{test}` |"));
        assert!(ranges("faces kinds threads (verbs)", "it::faces::both").is_empty());
        assert!(ranges("faces", "it::faces::one")[0].contains("goes through all faces"));
        assert!(ranges("?", "it::faces::both")[0].contains("is no word"));
        assert!(ranges("(faces)", "it::faces::one").is_empty());
        assert!(ranges("(-)", "it::faces::one")[0].contains("is no word"));
    }

    #[test]
    fn a_test_file_that_nobody_compiles_is_found() {
        let lost = [LIBRARY, &[("tests/it/lost.rs", ""), ("tests/it/a/b.rs", "")]].concat();
        let found = complaints(test_files, &lost);
        assert_eq!(found, ["tests/it/lost.rs: tests/it/main.rs does not name this module"]);
    }
}
