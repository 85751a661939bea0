//! Scopes: what is started in one has ended when it returns.
//!
//! A child of a scope is a part of the scope's own future, which polls only those children that
//! were woken. So a child may borrow from whoever opened the scope, and ends with it: a scope that
//! is dropped in the middle, by a timeout, a race or the end of its coroutine, drops its children.
//! The first child that panics, or in a [`try_scope`] fails, ends its siblings, and comes out.
//!
//! ```
//! use std::cell::Cell;
//!
//! use asyncoro::{scope::scope, time::sleep};
//!
//! asyncoro::run(async {
//!     let total = Cell::new(0);
//!     let last = scope(async |s| {
//!         for number in 1..=3 {
//!             let total = &total;
//!             s.spawn(async move {
//!                 sleep(std::time::Duration::from_millis(1)).await;
//!                 total.set(total.get() + number);
//!             });
//!         }
//!         s.spawn(async { "a value" }).await.unwrap()
//!     })
//!     .await;
//!     assert_eq!((total.get(), last), (6, "a value")); // all three have ended
//! });
//! ```
//!
//! | function | the scope ends early |
//! | --- | --- |
//! | [`scope`] | when a child panics |
//! | [`try_scope`] | when a child panics or, started by [`Scope::try_spawn`], fails |
//! | [`Limits::scope`], [`Limits::try_scope`] | also when its time is over |
//!
//! # Soft and hard
//! [`Scope::stop`] asks a scope to end: [`Scope::is_stopping`] tells it and [`Scope::stopping`]
//! waits for it, here and in all scopes within; code far below, without a `Scope`, asks
//! [`is_stopping`] and [`stopping`]. That is the soft phase. With a [grace](Limits::grace), it is
//! followed by the hard one when the grace is over: what is left is dropped, and the log says where
//! it was spawned. A scope whose child has failed, and one whose deadline comes near, begin their
//! soft phase by themselves.
//!
//! # Deadlines
//! A scope within another one has the earlier of both deadlines, [`Scope::deadline`]: it can only
//! be shortened. It is about the scopes of one coroutine; one that is [spawned](crate::spawn) in a
//! scope belongs to no scope.
//!
//! # Lists
//! [`first`], [`first_ok`], [`map_bounded`] and [`try_map_bounded`] are for futures of one type.
//! For all of a list there is [`join_all`](crate::future::join_all), and for the first of some
//! futures of different types [`race`](crate::future::race()).
//!
//! # Where
//! Scopes need no scheduler: any executor can poll them. Only those with [`Limits`] do, which have
//! a timer. All of a scope runs in one coroutine, and shares its turn. For children that have a
//! turn each, and an end each, there is [`Coros`](crate::coro::Coros).

mod child;
mod group;
mod limits;
mod list;
mod nest;
mod phase;
mod run;

pub(crate) use self::group::Group;
pub use self::{
    child::Child,
    limits::Limits,
    list::{first, first_ok, map_bounded, try_map_bounded},
    phase::{is_stopping, stopping},
    run::{Scope, scope, try_scope},
};
