//! The integration tests, a file for each subject; `../PROMISES.md` lists the promises with their
//! tests.
#![allow(clippy::async_yields_async, reason = "tests hand handles out of a run on purpose")]

mod callbacks;
mod chat;
mod connect;
mod failures;
mod injected;
mod interactions;
mod process;
mod programs;
mod shared;
mod tools;
mod try_verbs;
mod web;

mod batching;
mod budget;
mod coros;
mod coroutines;
mod embed;
mod endings;
mod fairness;
mod file;
mod foreign;
mod fork;
mod future;
mod fuzzed;
mod hosted;
mod hostile;
mod idle;
mod life;
mod log;
mod monitor;
mod on;
mod scope;
mod send_sync;
mod thread_bound;
mod threads;
mod timers;
mod wakers;
mod within;

// Streams and messages.
mod blocking;
mod blocking_ends;
mod bounded;
mod cancellation;
mod closing;
mod conversions;
mod copy;
mod datagrams;
mod debug_format;
mod fds;
mod first_come_first_served;
mod heavy_load;
mod host_names;
mod limits;
mod line;
mod message;
mod misused_verbs;
mod model;
mod pairs;
mod polled;
mod pycos;
mod race;
mod read_ahead;
mod scenarios;
mod socket;
mod states;
mod stream;
mod termination;
#[cfg(feature = "tls")]
mod tls;
mod unsent_queues;
mod verbs;
mod waker_of_last_poll;
