//! asyncoro with the libraries of others, a file per subject.

mod buffered;
mod guest;
#[cfg(feature = "heavy")]
mod heavy;
mod http;
mod libraries;
mod nginx;
mod on;
mod pairs;
mod postgres;
#[path = "examples/postgres/main.rs"]
#[allow(dead_code)]
mod postgres_example;
#[path = "../it/programs.rs"]
#[allow(dead_code, reason = "tests/it uses all of it")]
mod programs;
mod redis;
#[path = "examples/redis_client.rs"]
#[allow(dead_code)]
mod redis_example;
#[cfg(feature = "heavy")]
#[path = "examples/reqwest_guest.rs"]
mod reqwest_example;
mod servers;
mod streams;
mod thread_bound;
mod timer;
mod websocket;
