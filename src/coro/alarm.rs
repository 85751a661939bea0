//! An armed timer with an owner, whose drop disarms it, inside its scheduler or not.

use std::{rc::Weak, task::Waker, time::Instant};

use super::{current, engine::Engine};
use crate::wheel::TimerKey;

/// An armed timer.
pub(crate) struct Alarm {
    engine: Weak<Engine>,
    key: TimerKey,
}

impl Alarm {
    /// Arms a timer on `engine`.
    pub(crate) fn arm(engine: &Engine, deadline: Instant, waker: &Waker) -> Alarm {
        let key = engine.timers.arm(deadline, waker);
        engine.note_armed(deadline);
        Alarm { engine: engine.weak(), key }
    }

    /// Tells whether the timer has fired.
    pub(crate) fn has_fired(&self, engine: &Engine) -> bool {
        !engine.timers.is_armed(self.key)
    }

    /// Makes the timer wake `waker` from now on.
    pub(crate) fn set_waker(&self, engine: &Engine, waker: &Waker) {
        engine.timers.set_waker(self.key, waker);
    }

    /// Tells whether the timer is armed on `engine`, not on an earlier scheduler of this thread.
    pub(crate) fn is_on(&self, engine: &Engine) -> bool {
        std::ptr::eq(self.engine.as_ptr(), engine)
    }
}

impl Drop for Alarm {
    #[inline]
    fn drop(&mut self) {
        let key = self.key;
        let disarmed = current::with(|engine| {
            let own = self.is_on(engine);
            if own {
                engine.timers.disarm(key);
            }
            own
        });
        // The drop happens between two entries, or inside another scheduler.
        if disarmed != Some(true)
            && let Some(engine) = self.engine.upgrade()
        {
            engine.timers.disarm(key);
        }
    }
}

const _: () = {
    // Two words: each waiting verb with a timeout has an alarm.
    assert!(size_of::<Alarm>() == 16);
};
