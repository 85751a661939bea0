//! `cargo +nightly fuzz run frames`: what an input means, and what must hold, stands in
//! `tests/it/fuzzed/frames.rs`.

#![no_main]

#[path = "../../tests/it/fuzzed/frames.rs"]
mod subject;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| subject::feed(input));
