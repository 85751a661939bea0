//! One value, from one to another.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{
    mailbox::error::TryReceiveError,
    sharing::{Pointer, Sharing, StateCell, Threads},
};
use crate::{coro, foreign};

/// The state of a oneshot channel.
pub(super) struct State<T> {
    value: Option<T>,
    /// An end is gone or has closed it, or the value was sent.
    is_over: bool,
    receiver: Option<Waker>,
    /// That of a `closed()`.
    sender: Option<Waker>,
}

type Shared<T, S> = <S as Sharing>::Pointer<<S as Sharing>::Cell<State<T>>>;

/// Makes both ends, which share a state.
pub(super) fn pair<T, S: Sharing>() -> (OneshotSender<T, S>, OneshotReceiver<T, S>) {
    let state = State { value: None, is_over: false, receiver: None, sender: None };
    let shared = S::Pointer::new(S::Cell::new(state));
    let receiver = OneshotReceiver { shared: shared.clone(), is_done: false };
    (OneshotSender { shared, is_sent: false }, receiver)
}

/// The end of a oneshot channel that sends.
pub struct OneshotSender<T, S: Sharing = Threads> {
    shared: Shared<T, S>,
    is_sent: bool,
}

/// The end of a oneshot channel that receives: a future, whose output is the value.
///
/// # Cancel
/// Dropping `&mut receiver` loses nothing; dropping the receiver drops the value.
#[must_use = "the value is received only when this is awaited"]
pub struct OneshotReceiver<T, S: Sharing = Threads> {
    shared: Shared<T, S>,
    /// It has returned what there was, and left nothing behind.
    is_done: bool,
}

/// The sender was dropped without sending, or the value was taken already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneshotError;

impl<T, S: Sharing> OneshotSender<T, S> {
    /// Sends the value; it waits for the receiver, this does not.
    ///
    /// # Errors
    /// The value, if the receiver is gone or has closed the channel.
    #[inline]
    pub fn send(mut self, value: T) -> Result<(), T> {
        self.is_sent = true;
        let mut value = Some(value);
        let receiver = self.shared.with(|state| {
            if state.is_over {
                return None;
            }
            state.is_over = true;
            state.value = value.take();
            state.receiver.take()
        });
        wake(receiver);
        value.map_or(Ok(()), Err)
    }

    /// Tells whether the receiver is gone or has closed the channel.
    pub fn is_closed(&self) -> bool {
        self.shared.with(|state| state.is_over)
    }

    /// Waits until the receiver is gone or has closed the channel.
    ///
    /// ```
    /// use asyncoro::{future::{Winner, race}, sync::local, time::sleep};
    ///
    /// asyncoro::run(async {
    ///     let (mut sender, receiver) = local::oneshot::<u32>();
    ///     asyncoro::spawn(async move { drop(receiver) }); // wants no answer any more
    ///     let work = sleep(std::time::Duration::from_secs(60));
    ///     assert!(matches!(race(work, sender.closed()).await, Winner::Second(())));
    /// });
    /// ```
    ///
    /// # Cancel
    /// Nothing happens.
    pub fn closed(&mut self) -> impl Future<Output = ()> + Unpin {
        Closed(self)
    }
}

impl<T, S: Sharing> Drop for OneshotSender<T, S> {
    fn drop(&mut self) {
        if self.is_sent {
            return;
        }
        let (receiver, _sender) = self.shared.with_at_end(|state| {
            state.is_over = true;
            (state.receiver.take(), state.sender.take())
        });
        wake(receiver);
    }
}

impl<T, S: Sharing> OneshotReceiver<T, S> {
    /// Takes the value if it is there.
    ///
    /// # Errors
    /// [`TryReceiveError::Empty`] before it was sent, `Closed` if
    /// it never will be or was taken.
    pub fn try_receive(&mut self) -> Result<T, TryReceiveError> {
        self.shared.with(|state| match state.value.take() {
            Some(value) => Ok(value),
            None if state.is_over => Err(TryReceiveError::Closed),
            None => Err(TryReceiveError::Empty),
        })
    }

    /// Closes the channel: nothing can be sent any more. What was sent can be received.
    pub fn close(&mut self) {
        let sender = self.shared.with(|state| {
            state.is_over = true;
            state.sender.take()
        });
        wake(sender);
    }
}

impl<T, S: Sharing> Future for OneshotReceiver<T, S> {
    type Output = Result<T, OneshotError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // It spends no budget: one value keeps nobody from running, and who gets many such channels
        // gets them by something that does.
        let Self { shared, is_done } = self.get_mut();
        let look = |state: &mut State<T>| match state.value.take() {
            Some(value) => Some(Ok(value)),
            None => state.is_over.then_some(Err(OneshotError)),
        };
        let polled = wait(&**shared, context.waker(), |state| &mut state.receiver, look);
        *is_done = polled.is_ready();
        polled
    }
}

impl<T, S: Sharing> Drop for OneshotReceiver<T, S> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let (value, sender, _own) = self.shared.with_at_end(|state| {
            state.is_over = true;
            (state.value.take(), state.sender.take(), state.receiver.take())
        });
        wake(sender);
        if let Some(value) = value {
            foreign::contain("the drop of a message", || drop(value));
        }
    }
}

struct Closed<'a, T, S: Sharing>(&'a OneshotSender<T, S>);

impl<T, S: Sharing> Future for Closed<'_, T, S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let over = |state: &mut State<T>| state.is_over.then_some(());
        wait(&*self.0.shared, context.waker(), |state| &mut state.sender, over)
    }
}

impl<T, S: Sharing> Drop for Closed<'_, T, S> {
    fn drop(&mut self) {
        let _waker = self.0.shared.with_at_end(|state| state.sender.take());
    }
}

/// Looks for something in the state; if it is not there, keeps the waker in `place`.
#[inline]
fn wait<T, R>(
    cell: &impl StateCell<State<T>>,
    waker: &Waker,
    place: impl Fn(&mut State<T>) -> &mut Option<Waker>,
    mut look: impl FnMut(&mut State<T>) -> Option<R>,
) -> Poll<R> {
    let mut own: Option<Waker> = None;
    loop {
        // What is left is dropped without the state.
        let (looked, _left) = cell.with(|state| {
            if let Some(found) = look(state) {
                return (Some(Poll::Ready(found)), place(state).take());
            }
            let place = place(state);
            if place.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
                return (Some(Poll::Pending), None);
            }
            // A foreign waker must not be cloned here.
            match own.take().or_else(|| coro::waker::cloned_if_own(waker)) {
                Some(clone) => (Some(Poll::Pending), place.replace(clone)),
                None => (None, None),
            }
        });
        match looked {
            Some(polled) => return polled,
            None => own = Some(waker.clone()),
        }
    }
}

#[inline]
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        coro::waker::wake(waker);
    }
}

impl<T, S: Sharing> fmt::Debug for OneshotSender<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotSender").field("is_closed", &self.is_closed()).finish()
    }
}

impl<T, S: Sharing> fmt::Debug for OneshotReceiver<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotReceiver").finish_non_exhaustive()
    }
}

impl fmt::Display for OneshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender is gone and has sent no value, or it was received already")
    }
}

impl Error for OneshotError {}
