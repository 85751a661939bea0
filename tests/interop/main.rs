//! asyncoro with the libraries of others, a file per subject.

mod buffered;
mod libraries;
mod pairs;
mod postgres;
#[path = "examples/postgres/main.rs"]
#[allow(dead_code)]
mod postgres_example;
mod servers;
mod streams;
