//! Checks that files use only their own layer and those below it, and that no files import each
//! other in a circle (ARCHITECTURE.md, "Layers").
//!
//! An arrow is a path in product code to another file: through `crate::`, `super::` or `self::`, or
//! through the name of a module in the file's own folder. It leads to the deepest file that the
//! path names; `mod x;` alone is none. Tests may use any file, and `lib.rs` is in no layer.

use std::collections::{BTreeMap, BTreeSet};

use super::{Complaint, File, source};

/// What lies in a folder, from the bottom to the top; `mod.rs` is above all of it.
const LAYERS: &[(&str, &[&[&str]])] = &[
    (
        "src",
        &[
            &[
                "error",
                "addr",
                "frame",
                "future",
                "tls",
                "primitives",
                "fork",
                "foreign",
                "log",
                "wheel",
            ],
            &["driver", "sys"],
            &["coro", "time"],
            &["pool"],
            &["resolve"],
            &["socket"],
            &["scope", "sync", "signal", "stdio"],
            &["bindings", "file", "serve"],
            &["process"],
            &["interop"],
        ],
    ),
    (
        "src/coro",
        &[
            &["batching", "cut", "ended", "homebound", "key", "memory", "statistics", "who"],
            &["waker", "waiter", "local", "state", "cell", "inbox", "table"],
            &["engine"],
            &["current"],
            &["scheduler", "alarm", "home", "monitor", "local_value"],
            &["asyncoro", "handle", "clean_up"],
            &["hosted"],
            &["guest"],
            &["on", "coros"],
        ],
    ),
    (
        "src/socket",
        &[
            &["hot", "settings", "ending"],
            &["records"],
            &["link"],
            &["make", "start", "race", "gate", "batch"],
            &["side"],
            &["parts", "facts", "shown"],
            &["op"],
            &["blocking"],
            &["asynchronous"],
        ],
    ),
    (
        "src/socket/side",
        &[&["progress", "connection"], &["queue"], &["inbound", "outbound"], &["common"]],
    ),
    (
        "src/socket/op",
        &[
            &["operation"],
            &[
                "accept",
                "connect",
                "datagram",
                "end",
                "fds",
                "message",
                "readiness",
                "receive",
                "send",
            ],
            &["composite"],
            &["handshake"],
        ],
    ),
    (
        "src/sys",
        &[
            &["errno", "kind", "descriptor", "address", "segments"],
            &["ring"],
            &["ahead"],
            &["socket"],
            &["wait", "failure", "calls", "connect", "batch", "early", "fds"],
        ],
    ),
    (
        "src/coro/engine",
        &[&["settings", "run", "io", "timers"], &["parts"], &["ahead"], &["watch"], &["turn"]],
    ),
    ("src/scope", &[&["nest", "child"], &["phase", "list"], &["run", "group"], &["limits"]]),
    (
        "src/file",
        &[
            &["ahead", "watch", "walk"],
            &["stream", "pooled"],
            &["asyncfile"],
            &["open", "verbs", "lines"],
            &["whole"],
        ],
    ),
    (
        "src/serve",
        &[&["control", "inherited"], &["connection", "hand_over"], &["run"], &["server"]],
    ),
    ("src/process", &[&["orphans"], &["child"], &["pipe"]]),
    (
        "src/sync",
        &[
            &["sharing", "wait_queue", "block_on"],
            &["budget"],
            &["waiting"],
            &["permits", "mailbox"],
            &["lock", "rw_lock", "semaphore", "event", "barrier", "once_cell"],
            &["condition", "oneshot", "watch", "channel"],
            &["generic", "local"],
            &["loom_tests"],
        ],
    ),
    ("src/future", &[&["stage"], &["all", "join", "race", "slot"]]),
    (
        "python/src",
        &[
            &["gil", "exiting", "arguments", "quick", "view", "mask"],
            &["once", "fresh", "hooks"],
            &["error", "address"],
            &["engine"],
            &["log", "watcher", "threads"],
            &["holding", "guest"],
            &["call"],
            &["timer", "signal", "promise"],
            &["coro", "socket", "eventloop"],
            &["file", "sync"],
            &["serve"],
        ],
    ),
    (
        "python/src/guest",
        &[&["wakes"], &["object"], &["known"], &["turns", "tasks"], &["life"], &["driven"]],
    ),
    (
        "python/src/eventloop",
        &[
            &["epoll", "handle"],
            &["watch", "timers"],
            &["object"],
            &["entry", "sockets", "iteration", "descriptors"],
        ],
    ),
    (
        "python/src/call",
        &[
            &["outcome", "origin", "current"],
            &["place"],
            &["object"],
            &["memory", "waiting"],
            &["slots", "first"],
        ],
    ),
    (
        "python/src/coro",
        &[
            &["context", "step", "end", "mail", "ties"],
            &["order"],
            &["object"],
            &["gc", "registry", "kept", "target", "circle"],
            &["verbs", "mailbox", "orders", "ending"],
            &["runner"],
            &["driver", "alarm", "standing"],
            &["start"],
            &["made", "quick"],
        ],
    ),
    (
        "python/src/sync",
        &[
            &["done", "fork", "line"],
            &["stand"],
            &["hold", "items"],
            &["lock", "event", "semaphore", "queue"],
            &["notices", "channel"],
            &["broadcast"],
            &["deliver"],
            &["quick"],
        ],
    ),
    (
        "python/src/socket",
        &[
            &["flags", "settings", "tls", "convert"],
            &["object"],
            &["shared", "calls"],
            &["regular"],
            &["mode", "end"],
            &["options", "passed"],
            &["flagged"],
            &[
                "receive",
                "lines",
                "send",
                "messages",
                "datagrams",
                "fds",
                "connections",
                "make",
                "iterate",
                "served",
            ],
            &["quick"],
        ],
    ),
    (
        "python/src/file",
        &[&["descriptor", "within", "open"], &["object"], &["make", "end", "read"], &["write"]],
    ),
];

/// The folders of crates whose files must form no circles.
const ROOTS: &[&str] = &["src/", "python/src/"];

/// Files that take the place of another one under a `cfg`.
const STANDS_FOR: &[(&str, &str)] =
    &[("src/socket/records/absent.rs", "src/socket/records/mod.rs")];

/// A path from one file to another.
struct Arrow {
    from: usize,
    line: usize,
    to: usize,
}

/// The layers of the library's modules, from the bottom to the top.
pub(super) fn of_library() -> Vec<&'static [&'static str]> {
    LAYERS.iter().find(|(folder, _)| *folder == "src").map_or_else(Vec::new, |(_, it)| it.to_vec())
}

pub(super) fn arrows(files: &[File]) -> Vec<Complaint> {
    arrows_within(files, LAYERS)
}

fn arrows_within(files: &[File], layers: &[(&str, &[&[&str]])]) -> Vec<Complaint> {
    let (arrows, mut complaints) = Tree::new(files).arrows();
    for (folder, layers) in layers {
        let layer = |child: &str| layers.iter().position(|layer| layer.contains(&child));
        let place = |file: usize| {
            let child = child(&files[file].path, folder)?;
            Some((child, if child == "mod" { Some(layers.len()) } else { layer(child) }))
        };
        let mut without = BTreeSet::new();
        for (index, file) in files.iter().enumerate() {
            if let Some((child, None)) = place(index)
                && without.insert(child)
            {
                let advice = "give it a place in LAYERS in xtask/src/tidy/layers.rs";
                let sentence = format!("{folder}/{child} is in no layer; {advice}");
                complaints.push(file.complaint(0, sentence));
            }
        }
        for arrow in &arrows {
            let (Some((child, Some(from))), Some((other, Some(to)))) =
                (place(arrow.from), place(arrow.to))
            else {
                continue;
            };
            if to > from {
                let sentence = format!(
                    "{child} (layer {from} of {folder}) reaches up to {other} (layer {to}); hand \
                     it a value, a waker or a trait of its own instead"
                );
                complaints.push(files[arrow.from].complaint(arrow.line, sentence));
            }
        }
    }
    complaints
}

/// Returns the file or folder directly in `folder` that contains `path`; `None` for the root of a
/// crate.
fn child<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let inside = path.strip_prefix(folder)?.strip_prefix('/')?;
    let child = inside.split('/').next()?;
    let child = child.strip_suffix(".rs").unwrap_or(child);
    (child != "lib").then_some(child)
}

pub(super) fn circles(files: &[File]) -> Vec<Complaint> {
    let (arrows, _) = Tree::new(files).arrows();
    let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for arrow in arrows {
        next.entry(arrow.from).or_default().insert(arrow.to);
    }
    let reached: BTreeMap<usize, BTreeSet<usize>> =
        next.keys().map(|&file| (file, reached_from(file, &next))).collect();
    let reaches = |from: usize, to: usize| reached.get(&from).is_some_and(|all| all.contains(&to));
    let mut told = BTreeSet::new();
    let mut complaints = Vec::new();
    for &file in next.keys().filter(|&&file| reaches(file, file)) {
        if told.contains(&file) {
            continue;
        }
        let circle: Vec<usize> =
            next.keys().copied().filter(|&o| reaches(file, o) && reaches(o, file)).collect();
        let names: Vec<&str> = circle.iter().map(|&index| files[index].path.as_str()).collect();
        told.extend(circle);
        let sentence = format!("files import each other in a circle: {}", names.join(", "));
        complaints.push(files[file].complaint(0, sentence));
    }
    complaints
}

fn reached_from(file: usize, next: &BTreeMap<usize, BTreeSet<usize>>) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for &to in next.get(&file).into_iter().flatten() {
            if reached.insert(to) {
                open.push(to);
            }
        }
    }
    reached
}

/// The files of the crates, by the path of their module within the crate.
struct Tree<'a> {
    files: &'a [File],
    modules: BTreeMap<(&'static str, Vec<&'a str>), usize>,
}

impl<'a> Tree<'a> {
    fn new(files: &'a [File]) -> Tree<'a> {
        let mut modules = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            let stands_for = STANDS_FOR.iter().any(|(path, _)| *path == file.path);
            if let Some(key) = key(&file.path)
                && !stands_for
            {
                modules.insert(key, index);
            }
        }
        Tree { files, modules }
    }

    /// Returns all arrows, and complaints about paths that lead nowhere.
    fn arrows(&self) -> (Vec<Arrow>, Vec<Complaint>) {
        let (mut arrows, mut complaints) = (Vec::new(), Vec::new());
        for (index, file) in self.files.iter().enumerate() {
            let real = STANDS_FOR.iter().find(|(path, _)| *path == file.path);
            let Some((root, module)) = key(real.map_or(file.path.as_str(), |(_, real)| real))
            else {
                continue;
            };
            if module.is_empty() {
                continue; // the crate's root
            }
            for (line, path) in paths(&file.product) {
                match self.target(root, &module, &path) {
                    Target::File(to) if to != index => {
                        arrows.push(Arrow { from: index, line, to });
                    }
                    Target::Root => complaints.push(file.complaint(
                        line,
                        format!("{} is no module; name the module where it lives", path.join("::")),
                    )),
                    _ => {}
                }
            }
        }
        (arrows, complaints)
    }

    /// Resolves a path in the module.
    fn target(&self, root: &'static str, module: &[&'a str], path: &[&'a str]) -> Target {
        let mut names = module.to_vec();
        let mut rest = path;
        match path[0] {
            "crate" => {
                names.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {}
            name => {
                names.push(name);
                if !self.modules.contains_key(&(root, names.clone())) {
                    return Target::Elsewhere;
                }
                rest = &path[1..];
            }
        }
        while let ["super", more @ ..] = rest {
            if names.pop().is_none() {
                return Target::Elsewhere;
            }
            rest = more;
        }
        for &name in rest {
            names.push(name);
            if !self.modules.contains_key(&(root, names.clone())) {
                names.pop();
                break;
            }
        }
        if names.is_empty() {
            return if rest.is_empty() { Target::Elsewhere } else { Target::Root };
        }
        self.modules.get(&(root, names)).map_or(Target::Elsewhere, |&file| Target::File(file))
    }
}

enum Target {
    File(usize),
    /// The root of the crate, which only re-exports.
    Root,
    /// Another crate, or a name of the file itself.
    Elsewhere,
}

/// Returns the root of a file's crate, and the path of its module.
fn key(path: &str) -> Option<(&'static str, Vec<&str>)> {
    let root = ROOTS.iter().find(|root| path.starts_with(**root))?;
    let path = path.strip_prefix(root)?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    Some((root, if path == "lib" { Vec::new() } else { path.split('/').collect() }))
}

/// Returns the paths in some code, each with its line; a group is one path for each of its names.
fn paths(code: &str) -> Vec<(usize, Vec<&str>)> {
    let mut paths = Vec::new();
    let mut end = 0;
    for (position, _) in code.match_indices("::") {
        let start = code[..position].rfind(|c| !source::is_word(c)).map_or(0, |at| at + 1);
        let before = &code[..start];
        let goes_on = before.ends_with(':') || before.trim_end().ends_with("(in");
        if position < end || start == position || goes_on {
            continue;
        }
        let mut found = Vec::new();
        end = read(code, start, &mut Vec::new(), &mut found);
        let line = source::line_at(code, start);
        paths.extend(found.into_iter().map(|path| (line, path)));
    }
    paths
}

/// Reads the path at `at` and its branches; returns where it ends. The name of a macro is no path.
fn read<'a>(
    code: &'a str,
    mut at: usize,
    names: &mut Vec<&'a str>,
    found: &mut Vec<Vec<&'a str>>,
) -> usize {
    let depth = names.len();
    let blanks = |at: usize| code.len() - code[at..].trim_start().len();
    loop {
        let rest = &code[at..];
        if rest.starts_with('{') {
            at = blanks(at + 1);
            while at < code.len() && !code[at..].starts_with('}') {
                let end = read(code, at, names, found);
                // After a name: nothing, or `as` and another name.
                at = end + code[end..].find([',', '}']).unwrap_or(code.len() - end);
                at = blanks(at + usize::from(code[at..].starts_with(',')));
            }
            at = (at + 1).min(code.len());
            break;
        }
        let length = rest.find(|c| !source::is_word(c)).unwrap_or(rest.len());
        names.extend((length > 0).then(|| &rest[..length]));
        at += length;
        let rest = &code[at..];
        if rest.starts_with('!') {
            break;
        }
        if length == 0 || !rest.starts_with("::") {
            found.extend((names.len() > depth).then(|| names.clone()));
            break;
        }
        at += 2;
    }
    names.truncate(depth);
    at
}

#[cfg(test)]
mod tests {
    use super::{super::complaints, *};

    const SMALL: &[(&str, &[&[&str]])] = &[
        ("src", &[&["error", "frame"], &["driver"], &["coro", "time"], &["socket"]]),
        ("src/coro", &[&["cell", "key"], &["engine"], &["handle"]]),
    ];

    /// Returns the complaints about these files.
    fn about(files: &[(&str, &str)]) -> Vec<String> {
        let others = ["error", "frame", "driver", "driver/epoll", "coro/mod", "coro/cell", "time"]
            .map(|name| format!("src/{name}.rs"));
        let mut all: Vec<(&str, &str)> = files.to_vec();
        all.extend(others.iter().filter_map(|path| {
            let is_given = files.iter().any(|(given, _)| given == path);
            (!is_given).then_some((path.as_str(), ""))
        }));
        complaints(|files| arrows_within(files, SMALL), &all)
    }

    fn about_circles(files: &[(&str, &str)]) -> Vec<String> {
        complaints(circles, files)
    }

    #[test]
    fn downward_and_level_arrows_are_fine() {
        let text = "use crate::{driver, coro::{self, x}};";
        assert!(about(&[("src/socket.rs", text)]).is_empty());
        assert!(about(&[("src/coro/cell.rs", "use crate::time::Instant; fn f() {}")]).is_empty());
        assert!(about(&[("src/lib.rs", "use crate::socket::AsyncSocket;")]).is_empty());
        assert!(about(&[("tests/it/main.rs", "use crate::anything;")]).is_empty());
    }

    #[test]
    fn upward_arrows_are_named_with_their_line() {
        let text = "//! x\nuse crate::{\n  error,\n  coro::Coro,\n};";
        let found = about(&[("src/driver/epoll.rs", text)]);
        let said = "src/driver/epoll.rs:2: driver (layer 1 of src) reaches up to coro (layer 2)";
        assert!(found.len() == 1 && found[0].starts_with(said), "{found:?}");
        assert_eq!(about(&[("src/frame.rs", "fn f() { crate::driver::x() }")]).len(), 1);
        let text = "macro_rules! m { () => { $crate::time::x } }";
        assert_eq!(about(&[("src/driver.rs", text)]).len(), 1);
    }

    #[test]
    fn layers_hold_inside_of_a_folder_too() {
        let handle = ("src/coro/handle.rs", "use super::{engine::Engine, cell};");
        let engine = ("src/coro/engine/mod.rs", "use super::key; mod run;");
        let key = ("src/coro/key.rs", "");
        assert!(about(&[handle, engine, key]).is_empty());
        let run = ("src/coro/engine/run.rs", "fn f() { super::super::handle::g() }");
        let found = about(&[handle, engine, key, run]);
        let said = "src/coro/engine/run.rs:1: engine (layer 1 of src/coro) reaches up to handle";
        assert!(found.len() == 1 && found[0].starts_with(said), "{found:?}");
        // `mod.rs` is above the files beside it.
        let found = about(&[("src/coro/key.rs", "use super::Ended;")]);
        assert!(found.len() == 1 && found[0].contains("reaches up to mod"), "{found:?}");
    }

    #[test]
    fn what_the_cases_of_a_feature_name_counts_as_theirs() {
        let path = STANDS_FOR[0].0;
        let files = [(path, "use super::core;"), ("src/socket/core.rs", "use super::secure::X;")];
        let files = [files[0], files[1], (STANDS_FOR[0].1, "")];
        assert!(about_circles(&files).is_empty(), "both name other files");
        let files = [files[0], ("src/socket/core.rs", ""), (STANDS_FOR[0].1, "use super::core;")];
        assert!(about_circles(&files).is_empty());
    }

    #[test]
    fn circles_are_told_once_with_all_their_files() {
        let a = ("src/a.rs", "use crate::b::B;");
        let b = ("src/b.rs", "fn f() { super::c::d::g() }");
        let c = ("src/c/mod.rs", "mod d;");
        assert!(about_circles(&[a, b, c, ("src/c/d.rs", "")]).is_empty());
        let found = about_circles(&[a, b, c, ("src/c/d.rs", "use crate::a;")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("in a circle: src/a.rs, src/b.rs, src/c/d.rs"), "{found:?}");
        // A facade that one of its parts imports.
        let parent = ("src/c/mod.rs", "mod d;\npub use d::{self, D as E};");
        assert_eq!(about_circles(&[parent, ("src/c/d.rs", "use super::E;")]).len(), 1);
    }

    #[test]
    fn tests_comments_and_strings_may_reach_anywhere() {
        let text = "// crate::time\n/// [crate::time]\nconst X: &str = \"crate::time\";\n\
                    #[cfg(test)]\nmod tests { use crate::time::sleep; }";
        assert!(about(&[("src/frame.rs", text)]).is_empty());
        assert_eq!(about(&[("src/frame.rs", &format!("{text} use crate::time;"))]).len(), 1);
        assert!(about(&[("src/coro/cell/tests.rs", "use crate::socket;")]).is_empty());
        assert!(about(&[("src/driver/epoll.rs", "pub(in crate::coro) fn f() {}")]).is_empty());
    }

    #[test]
    fn what_is_in_no_layer_is_refused() {
        assert!(about(&[("src/attic.rs", "")])[0].contains("src/attic is in no layer"));
        assert!(
            about(&[("src/time.rs", "use crate::AsyncSocket;")])[0].contains("name the module")
        );
        assert!(about(&[("src/time.rs", "crate::a_macro!(x);")]).is_empty());
    }
}
