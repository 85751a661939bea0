//! The two owners of a cell on two threads, in every order.

use std::{
    future::Future,
    panic::Location,
    task::{Context, Poll, Waker},
};

use loom::thread;

use super::{
    Joint,
    body::{Body, publish_places},
};
use crate::coro::ended::Ended;

#[track_caller]
fn new<F: Future + 'static>(future: F) -> (Body, Joint<F::Output>) {
    super::new(future, Location::caller())
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn loom_a_handle_dropped_elsewhere_leaves_nothing_behind() {
    loom::model(|| {
        let (mut body, joint) = new(async { loom::sync::Arc::new(1) });
        let other = thread::spawn(move || drop(joint));
        assert!(body.resume(&mut cx()));
        body.finish(Some("x"));
        other.join().expect("the handle's thread");
    });
}

#[test]
fn loom_a_handle_polled_elsewhere_gets_the_value_or_is_woken() {
    loom::model(|| {
        let (mut body, mut joint) = new(async { 7 });
        let other = thread::spawn(move || {
            loop {
                match joint.poll(&mut cx()) {
                    Poll::Ready(result) => return result.expect("not terminated"),
                    Poll::Pending => thread::yield_now(),
                }
            }
        });
        assert!(body.resume(&mut cx()));
        body.finish(Some("x"));
        assert_eq!(other.join().expect("the handle's thread"), 7);
    });
}

#[test]
fn loom_a_handle_polled_and_dropped_elsewhere_frees_the_cell_once() {
    loom::model(|| {
        let (mut body, mut joint) = new(async { loom::sync::Arc::new(1) });
        let other = thread::spawn(move || {
            let _ = joint.poll(&mut cx());
        });
        assert!(body.resume(&mut cx()));
        body.finish(Some("x"));
        other.join().expect("the handle's thread");
    });
}

#[test]
fn loom_a_termination_from_elsewhere_is_seen_or_comes_too_late() {
    loom::model(|| {
        let (mut body, joint) = new(std::future::ready(3));
        let other = thread::spawn(move || {
            joint.ask_to_end();
            joint
        });
        assert!(body.resume(&mut cx()));
        body.finish(Some("x"));
        let mut joint = other.join().expect("the handle's thread");
        let result = joint.poll(&mut cx());
        assert!(matches!(result, Poll::Ready(Ok(3) | Err(Ended::Terminated(_)))));
    });
}

#[test]
fn loom_a_termination_finds_the_place_or_the_first_resume_finds_the_mark() {
    loom::model(|| {
        let (mut body, joint) = new(std::future::pending::<()>());
        let other = thread::spawn(move || {
            joint.ask_to_end();
            (joint.key() != 0, joint)
        });
        body.place(7);
        publish_places();
        let ended = body.resume(&mut cx());
        let (wakes, joint) = other.join().expect("the handle's thread");
        assert!(ended || wakes);
        assert!(ended || body.resume(&mut cx()));
        body.finish(Some("x"));
        drop(joint);
    });
}

/// Counts how often it was told of a value.
struct Told(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl super::See<u8> for Told {
    fn see(self, result: Result<&u8, &Ended>, _: crate::coro::ended::Origin) -> Vec<Waker> {
        assert_eq!(result.ok(), Some(&7));
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Vec::new()
    }

    fn see_none(self, _: crate::coro::ended::Origin) -> Vec<Waker> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Vec::new()
    }

    fn is_wanted(&self) -> bool {
        true
    }
}

#[test]
fn loom_a_monitor_made_elsewhere_is_told_once() {
    for takes in [true, false] {
        loom::model(move || {
            let told = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let seen = std::sync::Arc::clone(&told);
            let (mut body, mut joint) = new(std::future::ready(7));
            let other = thread::spawn(move || {
                joint.watch(Told(std::sync::Arc::clone(&seen)));
                if takes {
                    let _ = joint.poll(&mut cx());
                }
                joint.watch(Told(seen));
            });
            assert!(body.resume(&mut cx()));
            body.finish(Some("x"));
            other.join().expect("the handle's thread");
            assert_eq!(told.load(std::sync::atomic::Ordering::Relaxed), 2);
        });
    }
}
