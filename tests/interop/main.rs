//! asyncoro with the libraries of others, a file per subject.

mod buffered;
mod guest;
mod http;
mod nginx;
mod on;
mod pairs;
#[path = "../it/programs.rs"]
#[allow(dead_code, reason = "tests/it uses all of it")]
mod programs;
mod streams;
mod thread_bound;
mod timer;
mod websocket;
