//! Many calls in one system call: `uring.rs`, through io_uring(7); `absent.rs` where there is none,
//! or the crate is built without it.

#[cfg(not(all(target_os = "linux", feature = "io-uring")))]
mod absent;
mod ran;
#[cfg(all(target_os = "linux", feature = "io-uring"))]
mod uring;

#[cfg(not(all(target_os = "linux", feature = "io-uring")))]
pub(crate) use self::absent::Ring;
#[cfg(all(target_os = "linux", feature = "io-uring"))]
pub(crate) use self::uring::Ring;

pub(crate) use self::ran::Ran;
