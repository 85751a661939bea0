//! asyncoro
pub mod addr;
pub mod coro;
mod driver;
pub mod error;
mod frame;
pub mod pool;
mod primitives;
pub mod resolve;
pub mod signal;
mod socket;
pub mod stdio;
pub mod sync;
pub mod time;

pub use bytes;
pub use socket2;

pub use addr::{Address, ToAddress};
pub use coro::{AsynCoro, Coro, run, run_until, spawn};
pub use socket::{AsyncSocket, BlockingRefused, BlockingSocket, Datagram, DatagramBatch, Refused};
