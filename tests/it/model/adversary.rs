//! A regular socket in place of the second end, which misbehaves.
//!
//! It sends for a bounded time; then it closes, with a reset or without.

use std::{
    io::{Read, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use socket2::{SockRef, Socket};

use super::{
    Shared,
    plan::{Adversary, Attack, Rng},
    reference::Fate,
};

/// How long a flood or a silence lasts.
const WHILE: Duration = Duration::from_millis(120);

/// Where the attacker writes: to TLS if the other end expects it, else to the socket itself.
pub(super) trait Speaks: Read + Write {}

impl<T: Read + Write> Speaks for T {}

/// Attacks and closes. `below` is the regular socket under `mouth`.
pub(super) fn attack(
    shared: &Arc<Shared>,
    plan: &Adversary,
    below: &Socket,
    mouth: &mut dyn Speaks,
) {
    let mut rng = Rng::new(shared.seed).fork(300);
    for attack in &plan.attacks {
        shared.say(1, "adversary", &format!("{attack:?}"));
        if !one(shared, *attack, plan, below, mouth, &mut rng) {
            break;
        }
        if plan.reads {
            let mut buffer = [0; 4096];
            for _ in 0..rng.below(20) {
                let _ = mouth.read(&mut buffer);
            }
        }
        shared.went_on();
    }
    if plan.breaks_records && shared.begins_secure() {
        let broken = [&[23, 3, 3, 0, 32][..], &rng.bytes(32)].concat();
        let _ = (&*below).write(&broken);
        thread::sleep(rng.moment(20));
    }
    if plan.resets {
        let _ = SockRef::from(below).set_linger(Some(Duration::ZERO));
    }
    shared.say(1, "adversary", if plan.resets { "resets" } else { "goes" });
}

/// Makes one attack; returns whether the socket can still be written to.
fn one(
    shared: &Arc<Shared>,
    attack: Attack,
    plan: &Adversary,
    below: &Socket,
    mouth: &mut dyn Speaks,
    rng: &mut Rng,
) -> bool {
    let mut say = |bytes: &[u8]| {
        let count = mouth.write(bytes).unwrap_or(0);
        shared.stream(1).sent(bytes, Fate::Exactly(count));
        count == bytes.len()
    };
    let until = Instant::now() + WHILE;
    match attack {
        Attack::Crumbs => (0..rng.below(200)).all(|_| {
            if rng.one_in(20) {
                thread::sleep(rng.moment(1));
            }
            say(&rng.bytes(1))
        }),
        Attack::Garbage => {
            let len = rng.below(5000);
            say(&rng.bytes(len))
        }
        Attack::HalfMessage => {
            let (len, part) = (100 + rng.below(70_000), rng.below(100));
            // No byte of it is one that stands for nothing received.
            let len = (len as u32 & 0xF_EF00) | 7;
            say(&len.to_be_bytes()) && say(&rng.bytes(part))
        }
        Attack::Urgent => {
            // Over TLS it would be a byte of a record, which breaks it.
            if shared.begins_secure() && !plan.breaks_records {
                return true;
            }
            // One that another one overtakes becomes a byte like any other.
            let _ = below.send_out_of_band(b"!");
            shared.stream(1).sent_urgent(b'!');
            let len = rng.below(50);
            say(&rng.bytes(len))
        }
        Attack::Flood => {
            let piece = rng.bytes(32 << 10);
            while Instant::now() < until {
                if !say(&piece) {
                    break;
                }
            }
            true
        }
        Attack::Silence => {
            thread::sleep(WHILE);
            true
        }
    }
}
