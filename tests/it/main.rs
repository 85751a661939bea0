//! The promises, a file each; `../PROMISES.md` lists them with their tests.
#![allow(clippy::async_yields_async, reason = "tests hand handles out of a run on purpose")]

mod attempts;
mod callbacks;
mod chat;
mod connect;
mod corners;
mod failures;
mod injected;
mod programs;
mod shared;
mod tools;
mod web;

mod budget;
mod coroutines;
mod embed;
mod endings;
mod fairness;
mod foreign;
mod fork;
mod fuzzed;
mod hostile;
mod idle;
mod log;
mod send_sync;
mod threads;
mod timers;
mod wakers;
mod within;

// Streams and messages.
mod blocking;
mod bounded;
mod closing;
mod conversions;
mod datagrams;
mod exchange;
mod given_up;
mod in_line;
mod leaving;
mod loads;
mod message;
mod misplaced;
mod model;
mod names;
mod pairs;
mod pycos;
mod race;
mod read_ahead;
mod scenarios;
mod shown;
mod socket;
mod states;
mod stream;
mod termination;
#[cfg(feature = "tls")]
mod tls;
mod verbs;
mod woken;
