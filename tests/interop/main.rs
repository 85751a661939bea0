//! asyncoro with the libraries of others, a file per subject.

mod buffered;
#[cfg(feature = "heavy")]
mod heavy;
mod libraries;
mod on;
mod pairs;
mod postgres;
#[path = "examples/postgres/main.rs"]
#[allow(dead_code)]
mod postgres_example;
mod redis;
#[path = "examples/redis_client.rs"]
#[allow(dead_code)]
mod redis_example;
mod servers;
mod streams;
mod thread_bound;
