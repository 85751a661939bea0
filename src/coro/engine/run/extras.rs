//! What only some coroutines have: a name, local values, a clean-up, a parent that is kept.
//!
//! It lies in a map by place, and the table has a mark for those that are in it, so a coroutine
//! without any of it takes no memory for it and ends without a look-up.
//!
//! A borrow of the map never spans foreign code: what is dropped is taken out first.

use std::{any::Any, cell::RefCell, collections::HashMap, future::Future, pin::Pin, rc::Rc};

use crate::coro::{cell::body::Body, key::Key};

/// The asynchronous part of an end.
pub(in crate::coro) type Hook = Pin<Box<dyn Future<Output = ()>>>;

/// Makes the coroutine that runs the hooks of one that has ended.
pub(in crate::coro) type Start = fn(Vec<Hook>, Past) -> Body;

/// A coroutine that has ended and whose result is handed over after its clean-up. `run`'s own
/// future has no body.
pub(in crate::coro) struct Past {
    pub(in crate::coro) body: Option<Body>,
    pub(in crate::coro) name: Option<Rc<str>>,
}

#[derive(Default)]
pub(super) struct Extra {
    pub(super) name: Option<Rc<str>>,
    /// By the number of the local.
    pub(super) locals: Vec<(usize, Rc<dyn Any>)>,
    pub(super) hooks: Vec<Hook>,
    pub(super) start: Option<Start>,
    parent: Option<Key>,
}

/// The extras of all coroutines of a scheduler, by place.
#[derive(Default)]
pub(in crate::coro) struct Extras(RefCell<HashMap<u32, Extra>>);

impl Extras {
    fn change<R>(&self, index: u32, change: impl FnOnce(&mut Extra) -> R) -> R {
        change(self.0.borrow_mut().entry(index).or_default())
    }

    /// Takes out all that a coroutine has.
    pub(super) fn take(&self, index: u32) -> Option<Extra> {
        self.0.borrow_mut().remove(&index)
    }

    pub(super) fn name(&self, index: u32) -> Option<Rc<str>> {
        self.0.borrow().get(&index)?.name.clone()
    }

    pub(super) fn set_name(&self, index: u32, name: Option<&str>) {
        self.change(index, |extra| extra.name = name.map(Rc::from));
    }

    pub(super) fn set_parent(&self, index: u32, parent: Key) {
        self.change(index, |extra| extra.parent = Some(parent));
    }

    pub(super) fn parent(&self, index: u32) -> Option<Key> {
        self.0.borrow().get(&index)?.parent
    }

    /// Returns the places of those whose parent is `parent`.
    pub(super) fn children(&self, parent: Key) -> Vec<u32> {
        let extras = self.0.borrow();
        let own = extras.iter().filter(|(_, extra)| extra.parent == Some(parent));
        own.map(|(&index, _)| index).collect()
    }

    pub(super) fn add_hook(&self, index: u32, hook: Hook, start: Start) {
        self.change(index, |extra| {
            extra.hooks.push(hook);
            extra.start = Some(start);
        });
    }

    pub(super) fn local(&self, index: u32, local: usize) -> Option<Rc<dyn Any>> {
        let extras = self.0.borrow();
        let found = extras.get(&index)?.locals.iter().find(|(of, _)| *of == local);
        found.map(|(_, value)| Rc::clone(value))
    }

    /// Sets a local value, or removes it; returns the one before, which is foreign to drop.
    pub(super) fn set_local(
        &self,
        index: u32,
        local: usize,
        value: Option<Rc<dyn Any>>,
    ) -> Option<Rc<dyn Any>> {
        self.change(index, |extra| {
            let place = extra.locals.iter().position(|(of, _)| *of == local);
            let before = place.map(|place| extra.locals.swap_remove(place).1);
            extra.locals.extend(value.map(|value| (local, value)));
            before
        })
    }
}
