//! The scheduler that a value belongs to, as seen from any thread: who it is, and the way back.

use std::{
    any::Any,
    pin::Pin,
    thread::{self, Thread},
};

use super::{
    current,
    homebound::Homebound,
    inbox::{Inbox, Post},
};
use crate::primitives::Arc;

/// The scheduler of a value.
#[derive(Clone)]
pub(crate) struct Home(Arc<Inbox>);

impl Home {
    /// Returns the scheduler that runs on this thread.
    ///
    /// # Panics
    /// If there is none; the text names the call that needs one.
    #[track_caller]
    pub(crate) fn here(call: &'static str) -> Home {
        current::expect(call, |engine| Home(Arc::clone(&engine.inbox)))
    }

    /// Sends a value of this scheduler's thread to the scheduler, which drops it. If the scheduler
    /// has ended, or is the parent's of this forked process, the value comes back.
    pub(crate) fn take_back(
        &self,
        value: Homebound<Pin<Box<dyn Any>>>,
    ) -> Result<(), Homebound<Pin<Box<dyn Any>>>> {
        match self.0.send(Post::Drop(value)) {
            Err(Post::Drop(value)) => Err(value),
            _ => Ok(()),
        }
    }

    /// Tells whether this process is a child that inherited the scheduler by fork(2).
    pub(crate) fn is_inherited(&self) -> bool {
        self.0.is_inherited()
    }

    /// Returns the name of the scheduler's thread, for a message.
    pub(crate) fn thread_name(&self) -> String {
        name_of(self.0.owner())
    }
}

/// Returns the name of this thread, for a message.
pub(crate) fn this_thread_name() -> String {
    name_of(&thread::current())
}

fn name_of(thread: &Thread) -> String {
    match thread.name() {
        Some(name) => format!("'{name}' ({:?})", thread.id()),
        None => format!("without a name ({:?})", thread.id()),
    }
}
