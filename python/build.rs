//! Tells the source which CPython it is built for, and refuses one without a GIL (`src/gil.rs`).

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    if pyo3_build_config::get().target_abi().kind().is_free_threaded() {
        println!(
            "cargo::error=asyncoro needs a CPython with the GIL, and this is a free-threaded build \
             (its name ends in t, as python3.14t does): use the build without the t"
        );
    }
}
