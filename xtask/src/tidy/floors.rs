//! Arrows between modules point downward or stay on their floor (ARCHITECTURE.md, "Floors").
//!
//! An arrow is a path through `crate::`, or through as many `super::` as reach the root. Tests may
//! reach anywhere, and `lib.rs` stands outside.

use super::{Complaint, File, source};

/// The house from the ground up.
const FLOORS: &[&[&str]] = &[
    &["error", "addr", "frame", "tls", "primitives", "fork", "foreign", "log"],
    &["driver", "sys"],
    &["coro", "time"],
    &["pool"],
    &["resolve"],
    &["socket"],
    &["sync", "signal", "stdio"],
];

pub(super) fn arrows(files: &[File]) -> Vec<Complaint> {
    files.iter().flat_map(arrows_of).collect()
}

fn arrows_of(file: &File) -> Vec<Complaint> {
    let Some(module) = file.module() else {
        return Vec::new();
    };
    let Some(&from) = module.first() else {
        return Vec::new(); // lib.rs
    };
    let Some(own_floor) = floor(from) else {
        let advice = "give it a place in FLOORS in xtask/src/tidy/floors.rs";
        return vec![file.complaint(0, format!("the module {from} is on no floor; {advice}"))];
    };
    let complain = |(line, to): (usize, &str)| match floor(to) {
        Some(floor) if floor <= own_floor => None,
        Some(floor) => Some(file.complaint(
            line,
            format!(
                "{from} (floor {own_floor}) reaches up to {to} (floor {floor}); hand it a value, a \
                 waker or a trait of its own instead"
            ),
        )),
        None => Some(file.complaint(
            line,
            format!("crate::{to} is no module of a floor; name the module where it lives"),
        )),
    };
    targets(&file.product, module.len()).into_iter().filter_map(complain).collect()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The first names behind each way to the root, with their lines.
fn targets(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let to_parent = "super::".repeat(depth);
    let mut targets = Vec::new();
    for root in ["crate::", to_parent.as_str()] {
        for (position, _) in code.match_indices(root) {
            let before = &code[..position];
            if before.ends_with(|c| source::is_word(c) || c == ':') {
                continue; // the end of another path or word
            }
            let line = source::line_at(code, position);
            let names = first_names(&code[position + root.len()..]);
            targets.extend(names.into_iter().map(|name| (line, name)));
        }
    }
    targets
}

/// The names with which a path goes on: one, or those of a group `{a, b::{c, d}}`.
fn first_names(rest: &str) -> Vec<&str> {
    let Some(group) = rest.strip_prefix('{') else {
        let name = name(rest);
        let is_macro = rest[name.len()..].starts_with('!');
        let goes_further_up = name == "super";
        return if is_macro || goes_further_up { Vec::new() } else { vec![name] };
    };
    let mut depth = 1_usize;
    let mut names = vec![name(group)];
    for (position, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(name(&group[position + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn name(rest: &str) -> &str {
    let rest = rest.trim_start();
    let end = rest.find(|c| !source::is_word(c)).unwrap_or(rest.len());
    &rest[..end]
}

#[cfg(test)]
mod tests {
    use super::{super::complaints, *};

    fn about(path: &str, text: &str) -> Vec<String> {
        complaints(arrows, &[(path, text)])
    }

    #[test]
    fn downward_and_level_arrows_are_fine() {
        assert!(about("src/socket/core.rs", "use crate::{driver, coro::{self, x}};").is_empty());
        assert!(about("src/coro/timer.rs", "use crate::time::Instant;").is_empty());
        assert!(about("src/lib.rs", "use crate::socket::AsyncSocket;").is_empty());
        assert!(about("tests/it/main.rs", "use crate::anything;").is_empty());
    }

    #[test]
    fn upward_arrows_are_named_with_their_line() {
        let found =
            about("src/driver/epoll.rs", "//! x\nuse crate::{\n  error,\n  coro::Coro,\n};");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("src/driver/epoll.rs:2: driver (floor 1) reaches up to coro"));
        assert_eq!(about("src/frame.rs", "fn f() { crate::socket::x() }").len(), 1);
        assert_eq!(
            about("src/coro/mod.rs", "macro_rules! m { () => { $crate::pool::x } }").len(),
            1
        );
    }

    #[test]
    fn the_way_over_super_is_an_arrow_too() {
        assert_eq!(about("src/coro/cell.rs", "use super::super::socket;").len(), 1);
        assert_eq!(about("src/coro/mod.rs", "use super::socket;").len(), 1);
        assert!(
            about("src/coro/cell.rs", "use super::state; use super::super::driver;").is_empty()
        );
    }

    #[test]
    fn tests_comments_and_strings_may_reach_anywhere() {
        let text = "// crate::socket\n/// [crate::socket]\nconst X: &str = \"crate::socket\";\n\
                    #[cfg(test)]\nmod tests { use crate::socket::AsyncSocket; }";
        assert!(about("src/frame.rs", text).is_empty());
        assert_eq!(about("src/frame.rs", &format!("{text} use crate::socket;")).len(), 1);
        assert!(about("src/coro/cell/tests.rs", "use crate::socket;").is_empty());
        assert!(about("src/coro/cell/loom_tests.rs", "use crate::socket;").is_empty());
    }

    #[test]
    fn what_is_on_no_floor_is_refused() {
        assert!(about("src/attic.rs", "")[0].contains("attic is on no floor"));
        assert!(about("src/time.rs", "use crate::AsyncSocket;")[0].contains("name the module"));
        assert!(about("src/time.rs", "crate::a_macro!(x);").is_empty());
    }
}
