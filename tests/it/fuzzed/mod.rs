//! The code of the fuzz targets in `fuzz/`, run here with their seeds.
//!
//! Each file has a function `feed` that uses only the public API and panics if an invariant does
//! not hold. The target of the same name includes the file as a module.

mod addresses;
mod frames;
#[cfg(feature = "tls")]
mod pem;
mod verbs;

use std::{fs, path::Path};

use crate::within::within;

/// Feeds each seed of a target as it is, cut, and with each of its first bytes changed.
fn replay(target: &str, feed: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        within(move || {
            feed(&seed);
            feed(&seed[..seed.len() / 2]);
            for at in 0..seed.len().min(8) {
                let mut changed = seed.clone();
                changed[at] = changed[at].wrapping_mul(7).wrapping_add(13);
                feed(&changed);
            }
        });
        count += 1;
    }
    assert!(count >= 4, "{count} seeds of {target}");
}

#[test]
fn the_seeds_of_frames_do_no_harm() {
    replay("frames", frames::feed);
}

#[test]
fn the_seeds_of_addresses_do_no_harm() {
    replay("addresses", addresses::feed);
}

#[cfg(feature = "tls")]
#[test]
fn the_seeds_of_pem_do_no_harm() {
    replay("pem", pem::feed);
}

#[test]
fn the_seeds_of_verbs_do_no_harm() {
    replay("verbs", verbs::feed);
}
