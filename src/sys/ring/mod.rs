//! Many calls in one system call: `uring.rs`, through io_uring(7); `absent.rs` where there is none,
//! or the crate is built without it.

mod ran;

#[cfg(not(all(
    feature = "io-uring",
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "loongarch64",
        target_arch = "powerpc64",
        target_arch = "riscv64",
    )
)))]
#[path = "absent.rs"]
mod here;
#[cfg(all(
    feature = "io-uring",
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "loongarch64",
        target_arch = "powerpc64",
        target_arch = "riscv64",
    )
))]
#[path = "uring.rs"]
mod here;

pub(crate) use self::{
    here::{EXISTS, Ring},
    ran::Ran,
};
