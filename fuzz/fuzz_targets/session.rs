//! Bytes from a peer, into a TLS session.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| asyncoro::fuzz_session(data));
