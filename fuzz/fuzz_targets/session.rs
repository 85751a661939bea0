//! Bytes from the peer, fed to a session of TLS: `cargo +nightly fuzz run session`.
//!
//! What an input means, and what must hold, stands in `src/tls/fuzzing.rs`; the seeds in
//! `corpus/session/` are fed in a unit test too. New inputs are kept beside the seeds: look at what
//! is added before it is committed.

#![no_main]

use std::cell::OnceCell;

use asyncoro::fuzzing::Ends;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static ENDS: OnceCell<Ends> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| ENDS.with(|ends| ends.get_or_init(make).feed(input)));

fn make() -> Ends {
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let chain = params.self_signed(&key).expect("it is our own").pem();
    Ends::new(chain.as_bytes(), key.serialize_pem().as_bytes()).expect("they fit")
}
