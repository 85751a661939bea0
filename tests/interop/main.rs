//! asyncoro with the libraries of others, a file per subject.

mod buffered;
#[cfg(feature = "heavy")]
mod grpc;
mod guest;
#[cfg(feature = "heavy")]
mod heavy;
mod http;
#[cfg(feature = "heavy")]
mod kubernetes;
mod libraries;
#[cfg(feature = "heavy")]
mod nats;
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
#[cfg(feature = "heavy")]
mod quic;
#[cfg(feature = "heavy")]
mod rabbitmq;
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
