//! A future until it is done, then its value, until that is taken.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

pin_project! {
    /// A future until it is done, then its value, until that is taken.
    #[project = StageProjection]
    #[project_replace = StageReplaced]
    pub(super) enum Stage<F: Future> {
        Running {
            #[pin]
            future: F,
        },
        Done {
            value: F::Output,
        },
        Taken,
    }
}

impl<F: Future> Stage<F> {
    pub(super) fn new(future: F) -> Stage<F> {
        Stage::Running { future }
    }

    /// Polls the future, unless it is done; tells whether it is. A future that is done is dropped.
    ///
    /// # Panics
    /// If the value was taken: whoever holds this was polled after its end.
    pub(super) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let value = match self.as_mut().project() {
            StageProjection::Running { future } => future.poll(cx),
            StageProjection::Done { .. } => return true,
            StageProjection::Taken => panic!("a joined future was polled after it had finished"),
        };
        match value {
            Poll::Ready(value) => {
                self.set(Stage::Done { value });
                true
            }
            Poll::Pending => false,
        }
    }

    /// Takes the value.
    ///
    /// # Panics
    /// If the future is not done.
    pub(super) fn take(self: Pin<&mut Self>) -> F::Output {
        match self.project_replace(Stage::Taken) {
            StageReplaced::Done { value } => value,
            _ => unreachable!("a value is taken once, when all are done"),
        }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Stage<F> {
    /// Polls as [`Stage::poll`]; an error is taken out at once.
    pub(super) fn try_poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<bool, E> {
        if !self.as_mut().poll(cx) {
            return Ok(false);
        }
        if !matches!(self.as_mut().project(), StageProjection::Done { value: Err(_) }) {
            return Ok(true);
        }
        match self.take() {
            Ok(_) => unreachable!("it was an error just now"),
            Err(error) => Err(error),
        }
    }

    /// Takes the value, of whose kind [`Stage::try_poll`] has made sure.
    pub(super) fn take_ok(self: Pin<&mut Self>) -> T {
        match self.take() {
            Ok(value) => value,
            Err(_) => unreachable!("an error is taken at once"),
        }
    }
}
