//! `cargo +nightly fuzz run verbs`: what an input means, and what must hold, stands in
//! `tests/it/fuzzed/verbs.rs`.

#![no_main]

#[path = "../../tests/it/fuzzed/verbs.rs"]
mod subject;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| subject::feed(input));
