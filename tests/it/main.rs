//! The promises, a file each; `../PROMISES.md` lists them with their tests.
#![allow(clippy::async_yields_async, reason = "tests hand handles out of a run on purpose")]

mod attempts;
mod chat;
mod corners;
mod programs;
mod tools;

mod budget;
mod coroutines;
mod embed;
mod endings;
mod fairness;
mod foreign;
mod fork;
mod hostile;
mod idle;
mod send_sync;
mod threads;
mod timers;
mod wakers;
mod within;

// Streams and messages.
mod blocking;
mod bounded;
mod datagrams;
mod loads;
mod message;
mod names;
mod pairs;
mod pycos;
mod race;
mod scenarios;
mod socket;
mod stream;
#[cfg(feature = "tls")]
mod tls;
