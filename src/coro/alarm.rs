//! An armed timer with an owner: dropping it disarms it, wherever that happens.

use std::{rc::Weak, task::Waker, time::Instant};

use super::{
    current,
    engine::{Engine, TimerKey},
};

/// An armed timer.
pub(crate) struct Alarm {
    engine: Weak<Engine>,
    key: TimerKey,
}

impl Alarm {
    /// Arms a timer on `engine`.
    pub(crate) fn arm(engine: &Engine, deadline: Instant, waker: &Waker) -> Alarm {
        Alarm { engine: engine.weak(), key: engine.timers.arm(deadline, waker) }
    }

    /// Tells whether it has fired.
    pub(crate) fn has_fired(&self, engine: &Engine) -> bool {
        !engine.timers.is_armed(self.key)
    }

    /// Has it wake `waker` from now on.
    pub(crate) fn set_waker(&self, engine: &Engine, waker: &Waker) {
        engine.timers.set_waker(self.key, waker);
    }

    /// Tells whether it is armed on `engine`, not on one that ran here before.
    pub(crate) fn is_on(&self, engine: &Engine) -> bool {
        std::ptr::eq(self.engine.as_ptr(), engine)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let key = self.key;
        let disarmed = current::with(|engine| {
            let own = self.is_on(engine);
            if own {
                engine.timers.disarm(key);
            }
            own
        });
        // Elsewhere: between two entries, or inside another scheduler.
        if disarmed != Some(true)
            && let Some(engine) = self.engine.upgrade()
        {
            engine.timers.disarm(key);
        }
    }
}

const _: () = {
    // Two words: an alarm stands in each waiting verb.
    assert!(size_of::<Alarm>() == 16);
};
