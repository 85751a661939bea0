//! Compares the wheel with a plain list that is searched.

use std::{
    sync::{Arc, Mutex},
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use super::{TICK_NS, TimerKey, TimingWheel};
use crate::coro::Waiter;

/// A waker that records its number.
struct Note(u64, Arc<Mutex<Vec<u64>>>);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

struct Rig {
    wheel: TimingWheel<Waiter>,
    origin: Instant,
    woken: Arc<Mutex<Vec<u64>>>,
}

impl Rig {
    fn new() -> Rig {
        let origin = Instant::now();
        Rig { wheel: TimingWheel::new(origin), origin, woken: Arc::default() }
    }

    fn arm(&mut self, number: u64, after: Duration) -> TimerKey {
        let waker = Waker::from(Arc::new(Note(number, Arc::clone(&self.woken))));
        self.wheel.arm(self.origin + after, Waiter::of(&waker))
    }

    fn fire(&mut self, after: Duration) -> Vec<u64> {
        let mut due = Vec::new();
        self.wheel.fire(self.origin + after, &mut due);
        due.into_iter().for_each(Waiter::wake);
        std::mem::take(&mut self.woken.lock().unwrap())
    }
}

/// Numbers that look random, from one seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Small and huge numbers alike.
    fn any_size(&mut self, least_bits: u64, more_bits: u64) -> u64 {
        let bits = least_bits + self.below(more_bits);
        self.below(1 << bits)
    }
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn fires_in_order_never_early_and_once() {
    let mut rig = Rig::new();
    rig.arm(3, 30 * MS);
    rig.arm(1, 10 * MS);
    rig.arm(2, 20 * MS);
    assert_eq!(rig.fire(9 * MS), []);
    assert_eq!(rig.fire(11 * MS), [1]);
    assert_eq!(rig.fire(1000 * MS), [2, 3]);
    assert_eq!(rig.fire(2000 * MS), []);
    assert_eq!(rig.wheel.armed(), 0);
}

#[test]
fn timers_of_one_tick_fire_in_the_order_of_arming() {
    let mut rig = Rig::new();
    for number in 0..10 {
        rig.arm(number, 5000 * MS);
    }
    assert_eq!(rig.fire(6000 * MS), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_disarmed_timer_never_fires_and_its_key_stays_dead() {
    let mut rig = Rig::new();
    let key = rig.arm(1, 10 * MS);
    assert!(rig.wheel.get(key).is_some());
    assert!(rig.wheel.disarm(key).is_some());
    assert!(rig.wheel.disarm(key).is_none());
    let other = rig.arm(2, 10 * MS);
    assert!(rig.wheel.get(key).is_none(), "the place was used again under another generation");
    assert!(rig.wheel.get(other).is_some());
    assert_eq!(rig.fire(20 * MS), [2]);
}

#[test]
fn next_is_never_after_the_first_deadline() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..200 {
        let mut rig = Rig::new();
        let after: Vec<u64> = (0..20).map(|_| 1 + dice.any_size(8, 40)).collect();
        for (number, nanos) in after.iter().enumerate() {
            rig.arm(number as u64, Duration::from_nanos(*nanos));
        }
        let first = Duration::from_nanos(*after.iter().min().unwrap() + TICK_NS);
        assert!(rig.wheel.next().unwrap() <= rig.origin + first);
    }
}

#[test]
fn agrees_with_a_list_whatever_is_armed_and_disarmed() {
    for seed in 1..=50u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut rig = Rig::new();
        let mut list: Vec<(u64, u64, TimerKey)> = Vec::new();
        let mut now = 0;
        for number in 0..400 {
            match dice.below(4) {
                0 | 1 => {
                    let due = now + dice.any_size(10, 34);
                    let key = rig.arm(number, Duration::from_nanos(due));
                    list.push((due, number, key));
                }
                2 if !list.is_empty() => {
                    let (.., key) = list.swap_remove(dice.below(list.len() as u64) as usize);
                    assert!(rig.wheel.disarm(key).is_some(), "seed {seed}");
                }
                _ => {
                    now += dice.any_size(10, 30);
                    let fired = rig.fire(Duration::from_nanos(now));
                    for number in &fired {
                        let place = list.iter().position(|(_, other, _)| other == number);
                        let (due, ..) = list.swap_remove(place.expect("fired once"));
                        assert!(due <= now, "seed {seed}: early");
                    }
                    // A timer may be late by one tick, but not by two.
                    let late = list.iter().find(|(due, ..)| due + 2 * TICK_NS <= now);
                    assert!(late.is_none(), "seed {seed}: late");
                }
            }
            assert_eq!(rig.wheel.armed(), list.len(), "seed {seed}");
        }
    }
}

#[test]
fn the_farthest_deadline_is_kept() {
    let mut rig = Rig::new();
    let key = rig.arm(1, Duration::from_secs(400 * 365 * 24 * 3600));
    assert_eq!(rig.fire(Duration::from_secs(100 * 365 * 24 * 3600)), []);
    assert!(rig.wheel.get(key).is_some());
    assert!(rig.wheel.disarm(key).is_some());
}
