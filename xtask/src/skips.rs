//! Collects what a run has left out and why, for the list at its end.
//!
//! A step that cannot do a part of its work calls [`add`]; what tests skip is read from their
//! output ([`read`]).

use std::sync::{Mutex, PoisonError};

static SKIPS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Prints that something is left out, and keeps it for the list at the end.
pub(crate) fn add(what: &str) {
    println!("skipped: {what}");
    keep(what);
}

/// Keeps what a line of tests' output reports as skipped, if it does: the words after `skipped: `
/// (`tests/it`) or `SKIPPED ` (pytest with `-rs`).
pub(crate) fn read(line: &str) {
    let said = line.split_once("skipped: ").map(|(_, what)| what);
    if let Some(what) = said.or_else(|| line.strip_prefix("SKIPPED ")) {
        keep(what);
    }
}

/// Takes everything that was left out since the last call, each once, in order.
pub(crate) fn take() -> Vec<String> {
    std::mem::take(&mut *SKIPS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn keep(what: &str) {
    let mut skips = SKIPS.lock().unwrap_or_else(PoisonError::into_inner);
    let what = what.trim().to_owned();
    if !skips.contains(&what) {
        skips.push(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_skip_is_read_from_their_output_each_once() {
        for line in [
            "skipped: wrk is missing",
            "test tools::a ... skipped: wrk is missing",
            "test race::b ... ok",
            "SKIPPED [2] python/tests/test_old.py:9: no pycos",
            "test result: ok. 1 passed; 0 failed",
        ] {
            read(line);
        }
        let taken = take();
        assert!(taken.contains(&"wrk is missing".to_owned()), "{taken:?}");
        assert!(taken.iter().any(|what| what.starts_with("[2] python/tests")), "{taken:?}");
        assert_eq!(taken.iter().filter(|what| what.contains("wrk")).count(), 1);
    }
}
