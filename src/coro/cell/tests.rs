//! Tests what a cell's two owners find, in either order of release.

use std::{
    future::{self, Future},
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::{Joint, body::Body, head::Head};
use crate::coro::ended::Ended;

#[track_caller]
fn new<F: Future + 'static>(future: F) -> (Body, Joint<F::Output>) {
    super::new(future, Location::caller())
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Counts drops.
struct Tracked(Arc<AtomicUsize>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn where_a_coroutine_was_spawned_costs_no_memory() {
    assert_eq!(size_of::<Head>(), 4 * size_of::<usize>());
}

#[test]
fn a_coroutine_that_is_to_end_still_says_where_it_was_spawned() {
    let (body, joint) = new(future::pending::<()>());
    let before = body.who(None).to_string();
    joint.ask_to_end();
    assert_eq!(body.who(None).to_string(), before);
    assert!(before.contains("src/coro/cell/tests.rs:"), "{before}");
    body.finish(Some("x"));
}

#[test]
fn the_handle_finds_the_value_after_the_scheduler_has_let_go() {
    let (mut body, mut joint) = new(async { 7 });
    assert!(body.resume(&mut cx()));
    assert!(joint.poll(&mut cx()).is_pending());
    assert!(body.finish(Some("x")).is_none());
    assert!(joint.is_done());
    assert!(matches!(joint.poll(&mut cx()), Poll::Ready(Ok(7))));
}

#[test]
fn a_value_that_nobody_takes_is_dropped_once() {
    for handle_first in [true, false] {
        let drops = Arc::new(AtomicUsize::new(0));
        let tracked = Tracked(Arc::clone(&drops));
        let (mut body, joint) = new(async move { tracked });
        assert!(body.resume(&mut cx()));
        if handle_first {
            drop(joint);
            body.finish(Some("x"));
        } else {
            body.finish(Some("x"));
            drop(joint);
        }
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn ending_drops_the_future_and_tells_the_handle() {
    let drops = Arc::new(AtomicUsize::new(0));
    let tracked = Tracked(Arc::clone(&drops));
    let (mut body, mut joint) = new(async move {
        future::pending::<()>().await;
        drop(tracked);
    });
    assert!(!body.resume(&mut cx()));
    body.end();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    body.finish(Some("x"));
    assert!(matches!(joint.poll(&mut cx()), Poll::Ready(Err(Ended::Terminated(_)))));
}

#[test]
fn a_panic_nobody_sees_is_given_to_whoever_finishes() {
    let (mut body, joint) = new(async { panic!("unseen") });
    drop::<super::Joint<()>>(joint);
    assert!(body.resume(&mut cx()));
    let (_, payload) = body.finish(Some("x")).expect("the panic's payload");
    assert_eq!(*payload.downcast_ref::<&str>().expect("a text"), "unseen");
}

#[test]
fn a_panic_in_the_drop_of_a_future_stays_in_bounds() {
    struct Explosive;
    impl Drop for Explosive {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let explosive = Explosive;
    let (mut body, mut joint) = new(async move {
        future::pending::<()>().await;
        drop(explosive);
    });
    assert!(!body.resume(&mut cx()));
    body.end();
    body.finish(Some("x"));
    let result = joint.poll(&mut cx());
    assert!(matches!(result, Poll::Ready(Err(Ended::Panicked(_, _)))));
}
