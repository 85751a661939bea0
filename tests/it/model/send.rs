//! Steps that send, and the fate of the bytes by each verb's documentation.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

use asyncoro::{bytes::Bytes, error};

use super::{
    Shared,
    ends::{Actor, Socket, now, on},
    fickle::{How, fickle},
    plan::Carries,
    reference::{Fate, MARKER},
};
use crate::pairs::inner;

/// Makes steps; returns `false` if the stream has ended for the sender.
pub(super) async fn steps(actor: &mut Actor, socket: &Socket, steps: usize, alone: bool) -> bool {
    for _ in 0..steps {
        if actor.shared.has_failed() {
            return false;
        }
        if !actor.shared.plan.ends[actor.end].deaf {
            socket.pause(&mut actor.rng).await;
        }
        if !step(actor, socket, alone).await {
            return false;
        }
    }
    true
}

/// Sends the marker, and flushes it.
pub(super) async fn mark(actor: &mut Actor, socket: &Socket) {
    let how = How::whole(&mut actor.rng);
    let (bytes, outcome) = match actor.shared.plan.ends[actor.end].sends {
        Carries::Bytes => (MARKER.to_vec(), on!(socket, how, send_all(&MARKER))),
        Carries::Messages => (framed(&MARKER), on!(socket, how, send_msg(&MARKER))),
    };
    actor.shared.stream(actor.end).sent(&bytes, Fate::All);
    actor.say(format!("marker: {outcome:?}"));
    if let Some(Err(error)) = outcome {
        actor.goes_on_after("marker", &error);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Send,
    SendAll,
    SendVectored,
    SendQueued,
    SendMsg,
    TrySend,
    TrySendMsg,
    Flush,
    Writable,
    /// Sends a message, in pieces, by raw verbs.
    Pieces,
    Coalescing,
}

const ANY: &[Verb] = &[
    Verb::Send,
    Verb::Send,
    Verb::SendAll,
    Verb::SendAll,
    Verb::SendVectored,
    Verb::SendQueued,
    Verb::SendQueued,
    Verb::SendMsg,
    Verb::SendMsg,
    Verb::TrySend,
    Verb::TrySendMsg,
    Verb::Flush,
    Verb::Writable,
    Verb::Coalescing,
];

/// Verbs that keep messages whole.
const WHOLE: &[Verb] = &[
    Verb::SendMsg,
    Verb::SendMsg,
    Verb::SendMsg,
    Verb::SendMsg,
    Verb::TrySendMsg,
    Verb::Flush,
    Verb::Writable,
    Verb::Coalescing,
];

async fn step(actor: &mut Actor, socket: &Socket, alone: bool) -> bool {
    let verb = match actor.shared.plan.ends[actor.end].sends {
        Carries::Bytes => actor.rng.pick(ANY),
        Carries::Messages if alone && actor.rng.one_in(4) => Verb::Pieces,
        Carries::Messages => actor.rng.pick(WHOLE),
    };
    let how =
        if actor.rng.one_in(3) { How::dropped(&mut actor.rng) } else { How::whole(&mut actor.rng) };
    let len = match actor.shared.plan.ends[actor.end].deaf {
        true => actor.rng.len_above(50_000),
        false => actor.rng.len(),
    };
    let payload = actor.rng.bytes(len);
    match verb {
        Verb::Pieces => pieces(actor, socket, &framed(&payload)).await,
        Verb::Coalescing => {
            let coalescing = actor.rng.one_in(2);
            now!(socket, set_coalescing(coalescing));
            actor.say(format!("set_coalescing({coalescing})"));
            true
        }
        Verb::Flush => {
            let outcome = on!(socket, how, flush());
            judged(
                actor,
                &format!("flush{}", how.text()),
                outcome.map(|flushed| flushed.map(|()| 0)),
            )
        }
        Verb::Writable => writable(actor, socket, how, &payload, alone).await,
        Verb::TrySend => tried(actor, socket, &payload),
        Verb::TrySendMsg => {
            let handed = Handed::new(actor, &framed(&payload), Fate::Some);
            let outcome = now!(socket, try_send_msg(&Bytes::from(payload)));
            match outcome {
                Ok(()) => handed.settle(Fate::All),
                Err(ref error) if error.kind() == ErrorKind::WouldBlock => {
                    handed.settle(Fate::Exactly(0));
                    return true;
                }
                Err(_) => drop(handed),
            }
            judged(actor, &format!("try_send_msg({len})"), Some(outcome.map(|()| len)))
        }
        Verb::Send | Verb::SendVectored => {
            let handed = Handed::new(actor, &payload, Fate::Exactly(0));
            let outcome = if verb == Verb::Send {
                on!(socket, how, send(&payload))
            } else {
                let (one, other) = payload.split_at(len / 3);
                on!(socket, how, send_vectored(&[one, &[], other]))
            };
            match &outcome {
                Some(Ok(count)) => handed.settle(Fate::Exactly(*count)),
                Some(Err(error)) if !is_timeout(error) => handed.settle(Fate::Some),
                _ => drop(handed),
            }
            if let Some(Ok(0)) = outcome
                && len > 0
            {
                actor.blame(format!("{verb:?}({len}) gave 0"));
            }
            judged(actor, &format!("{verb:?}({len}){}", how.text()), outcome)
        }
        Verb::SendAll => {
            let handed = Handed::new(actor, &payload, Fate::Some);
            let outcome = on!(socket, how, send_all(&payload));
            match &outcome {
                Some(Ok(())) => handed.settle(Fate::All),
                Some(Err(error)) => match inner::<error::TimedOut>(error) {
                    Some(timed_out) => handed.settle(Fate::Exactly(timed_out.done)),
                    None => drop(handed),
                },
                None => drop(handed),
            }
            judged(
                actor,
                &format!("send_all({len}){}", how.text()),
                outcome.map(|all| all.map(|()| len)),
            )
        }
        Verb::SendQueued | Verb::SendMsg => {
            let bytes = if verb == Verb::SendMsg { framed(&payload) } else { payload.clone() };
            let handed = Handed::new(actor, &bytes, Fate::AllOrNothing);
            let outcome = if verb == Verb::SendMsg {
                on!(socket, how, send_msg(&payload))
            } else {
                on!(socket, how, send_queued(&payload))
            };
            match &outcome {
                Some(Ok(())) => handed.settle(Fate::All),
                Some(Err(error)) => match inner::<error::TimedOut>(error) {
                    Some(timed_out) if timed_out.rest_queued => handed.settle(Fate::All),
                    Some(_) => handed.settle(Fate::Exactly(0)),
                    None => handed.settle(Fate::Some),
                },
                None => drop(handed),
            }
            judged(
                actor,
                &format!("{verb:?}({len}){}", how.text()),
                outcome.map(|all| all.map(|()| len)),
            )
        }
    }
}

/// Waits for `writable`, after which a send must not block.
async fn writable(
    actor: &mut Actor,
    socket: &Socket,
    how: How,
    payload: &[u8],
    alone: bool,
) -> bool {
    let outcome = on!(socket, how, writable());
    let is_ready = matches!(outcome, Some(Ok(())));
    let goes_on =
        judged(actor, &format!("writable{}", how.text()), outcome.map(|ready| ready.map(|()| 0)));
    let carries_bytes = actor.shared.plan.ends[actor.end].sends == Carries::Bytes;
    if !is_ready || !alone || !carries_bytes || payload.is_empty() {
        return goes_on;
    }
    let payload = &payload[..payload.len().min(16)];
    let handed = Handed::new(actor, payload, Fate::Some);
    let outcome = now!(socket, try_send(payload));
    match &outcome {
        Ok(count) => handed.settle(Fate::Exactly(*count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            handed.settle(Fate::Exactly(0));
            actor.blame("try_send after writable would block");
        }
        Err(_) => drop(handed),
    }
    judged(actor, "try_send", Some(outcome))
}

fn tried(actor: &mut Actor, socket: &Socket, payload: &[u8]) -> bool {
    let handed = Handed::new(actor, payload, Fate::Some);
    let outcome = now!(socket, try_send(payload));
    match &outcome {
        Ok(count) => handed.settle(Fate::Exactly(*count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            handed.settle(Fate::Exactly(0));
            return true;
        }
        Err(_) => drop(handed),
    }
    judged(actor, &format!("try_send({})", payload.len()), Some(outcome))
}

/// Sends a message by raw verbs, cut anywhere, even within its header.
async fn pieces(actor: &mut Actor, socket: &Socket, message: &[u8]) -> bool {
    let mut rest = message;
    let mut cuts = 1 + actor.rng.below(4);
    while !rest.is_empty() {
        let most = if cuts == 0 { rest.len() } else { 1 + actor.rng.below(rest.len().min(7)) };
        cuts = cuts.saturating_sub(1);
        let piece = &rest[..most];
        let how = How::whole(&mut actor.rng);
        let handed = Handed::new(actor, piece, Fate::Some);
        let (verb, outcome) = match actor.rng.below(4) {
            0 => ("send_all", on!(socket, how, send_all(piece)).map(|all| all.map(|()| most))),
            1 => ("send", on!(socket, how, send(piece))),
            2 => ("try_send", Some(now!(socket, try_send(piece)))),
            _ => {
                ("send_queued", on!(socket, how, send_queued(piece)).map(|all| all.map(|()| most)))
            }
        };
        let sent = match &outcome {
            Some(Ok(count)) => *count,
            Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => 0,
            Some(Err(error)) => match inner::<error::TimedOut>(error) {
                Some(timed_out) if timed_out.rest_queued => most,
                Some(timed_out) => timed_out.done,
                None => {
                    drop(handed);
                    return judged(actor, verb, outcome);
                }
            },
            None => 0,
        };
        handed.settle(Fate::Exactly(sent));
        rest = &rest[sent..];
        actor.say(format!("piece of {most} by {verb}: {sent}"));
        socket.pause(&mut actor.rng).await;
        if actor.shared.has_failed() {
            return false;
        }
    }
    actor.shared.went_on();
    true
}

/// Judges the result of a step; returns whether the sender continues.
fn judged(actor: &Actor, verb: &str, outcome: Option<io::Result<usize>>) -> bool {
    match outcome {
        None => {
            actor.say(format!("{verb}: dropped"));
            true
        }
        Some(Ok(count)) => {
            actor.say(format!("{verb}: {count}"));
            actor.shared.went_on();
            true
        }
        Some(Err(error)) => {
            if actor.goes_on_after(verb, &error) {
                actor.say(format!("{verb}: timed out, {:?}", inner::<error::TimedOut>(&error)));
                return true;
            }
            actor.shared.excuse(actor.end, format!("{verb} told {error:?}"));
            false
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    inner::<error::TimedOut>(error).is_some()
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("payloads are short");
    [&len.to_be_bytes()[..], payload].concat()
}

/// Bytes that were passed to a verb. However the verb ends, this records their fate at that moment.
struct Handed {
    shared: Arc<Shared>,
    end: usize,
    bytes: Vec<u8>,
    /// The fate if the verb's future is dropped.
    fate: Fate,
}

impl Handed {
    fn new(actor: &Actor, bytes: &[u8], dropped: Fate) -> Handed {
        let shared = Arc::clone(&actor.shared);
        Handed { shared, end: actor.end, bytes: bytes.to_vec(), fate: dropped }
    }

    fn settle(mut self, fate: Fate) {
        self.fate = fate;
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        self.shared.stream(self.end).sent(&self.bytes, self.fate);
    }
}
