//! Steps that receive. What a verb returns is recorded at once, so the records of several receivers
//! have the stream's order; memory that a verb must not have written to is checked, too.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use asyncoro::{AsyncSocket, error, time::timeout};

use super::{
    ends::{Actor, Socket, Until, now, on},
    fickle::{How, fickle},
    plan::Carries,
    reference::UNTOUCHED,
    uninit::Room,
};
use crate::pairs::inner;

/// Receives until `until` says to stop.
pub(super) async fn until(actor: &mut Actor, socket: &Socket, until: Until, alone: bool) {
    loop {
        let over = {
            let stream = actor.shared.stream(1 - actor.end);
            stream.ended
                || stream.failed
                || match until {
                    Until::Stop => actor.shared.sending[actor.end].load(Ordering::SeqCst) == 0,
                    Until::Marker => stream.marked.is_some(),
                    Until::End => false,
                }
        };
        if over || actor.shared.has_failed() {
            return;
        }
        socket.pause(&mut actor.rng).await;
        if !step(actor, socket, until, alone).await {
            return;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Recv,
    RecvBytes,
    RecvWith,
    RecvUninit,
    RecvVectored,
    Peek,
    Readable,
    TryRecv,
    RecvAll,
    RecvAllBytes,
    RecvUntil,
    RecvLine,
    RecvMsg,
    RecvMsgInto,
}

/// Verbs that return what is there.
const SOME: &[Verb] = &[
    Verb::Recv,
    Verb::Recv,
    Verb::RecvBytes,
    Verb::RecvWith,
    Verb::RecvUninit,
    Verb::RecvVectored,
    Verb::Peek,
    Verb::Readable,
    Verb::TryRecv,
];

/// Verbs that wait for a certain part.
const PARTS: &[Verb] = &[
    Verb::RecvAll,
    Verb::RecvAll,
    Verb::RecvAllBytes,
    Verb::RecvAllBytes,
    Verb::RecvUntil,
    Verb::RecvLine,
];

const MESSAGES: &[Verb] = &[Verb::RecvMsg, Verb::RecvMsg, Verb::RecvMsgInto];

/// Longer than any message that an end sends.
const LONGEST: usize = 1 << 20;

fn choose(actor: &mut Actor, until: Until, alone: bool) -> (Verb, usize) {
    let peer = 1 - actor.end;
    let (missing, nonsense) = {
        let stream = actor.shared.stream(peer);
        (stream.missing(), stream.nonsense || stream.missing() > LONGEST)
    };
    let rng = &mut actor.rng;
    if actor.shared.plan.ends[peer].sends == Carries::Messages && !nonsense {
        if missing > 0 {
            // The rest of a message whose front was received by a raw verb.
            let verb = if rng.one_in(2) { rng.pick(SOME) } else { rng.pick(&PARTS[..4]) };
            return (verb, missing);
        }
        if !alone || !rng.one_in(5) {
            let others = [Verb::Peek, Verb::Readable];
            let verb = if rng.one_in(8) { rng.pick(&others) } else { rng.pick(MESSAGES) };
            return (verb, 100);
        }
        return (rng.pick(SOME), 1 + rng.below(9));
    }
    let verb =
        if until == Until::Marker || !rng.one_in(3) { rng.pick(SOME) } else { rng.pick(PARTS) };
    (verb, 1 + rng.len())
}

async fn step(actor: &mut Actor, socket: &Socket, until: Until, alone: bool) -> bool {
    let (mut verb, len) = choose(actor, until, alone);
    if verb == Verb::RecvLine && actor.shared.plan.adversary.is_some() {
        // It sends carriage returns, too: nobody could tell what was taken off.
        verb = Verb::RecvUntil;
    }
    // With nobody who sends, a receiver that must stop is not to wait for ever.
    let drops = until == Until::Stop || actor.rng.one_in(3);
    let how = if drops { How::dropped(&mut actor.rng) } else { How::whole(&mut actor.rng) };
    let text = format!("{verb:?}({len}){}", how.text());
    let peer = 1 - actor.end;
    let takes_any = SOME.contains(&verb) && verb != Verb::TryRecv;
    let at_hand = alone && takes_any && now!(socket, has_received());
    let outcome = match verb {
        Verb::Recv | Verb::TryRecv | Verb::Peek => {
            let mut buffer = vec![UNTOUCHED; len];
            let outcome = match verb {
                Verb::Recv => match socket {
                    Socket::Async(socket) if actor.rng.one_in(30) => {
                        impatient(socket, &mut buffer).await
                    }
                    _ => on!(socket, how, recv(&mut buffer)),
                },
                Verb::Peek => on!(socket, how, peek(&mut buffer)),
                _ => match now!(socket, try_recv(&mut buffer)) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                    outcome => Some(outcome),
                },
            };
            let count = match &outcome {
                Some(Ok(count)) => *count,
                _ => 0,
            };
            if verb == Verb::Peek {
                actor.shared.stream(peer).saw(&buffer[..count]);
            } else {
                actor.shared.stream(peer).got(&buffer[..count]);
            }
            untouched(actor, &text, &buffer[count..], &outcome);
            ended_at(actor, len, outcome)
        }
        Verb::RecvBytes => {
            let outcome = on!(socket, how, recv_bytes(len));
            ended_at(actor, len, got(actor, &text, len, outcome))
        }
        Verb::RecvWith => {
            let limit =
                if actor.shared.plan.ends[peer].sends == Carries::Bytes { usize::MAX } else { len };
            let mut calls = 0;
            let outcome = on!(
                socket,
                how,
                recv_with_limit(limit, |bytes| {
                    calls += 1;
                    bytes.to_vec()
                })
            );
            if calls != usize::from(matches!(outcome, Some(Ok(_)))) {
                actor.blame(format!("{text}: called {calls} times"));
            }
            ended_at(actor, len, got(actor, &text, limit, outcome))
        }
        Verb::RecvUninit => {
            let outcome = on!(socket, how, recv_uninit(|| Room::new(len)));
            let outcome = outcome.map(|outcome| outcome.map(|(room, count)| room.filled(count)));
            ended_at(actor, len, got(actor, &text, len, outcome))
        }
        Verb::RecvVectored => {
            let mut buffer = vec![UNTOUCHED; len];
            let outcome = {
                let (one, other) = buffer.split_at_mut(len / 3);
                let mut slices = [IoSliceMut::new(one), IoSliceMut::new(other)];
                on!(socket, how, recv_vectored(&mut slices))
            };
            let count = match &outcome {
                Some(Ok(count)) => *count,
                _ => 0,
            };
            actor.shared.stream(peer).got(&buffer[..count]);
            untouched(actor, &text, &buffer[count..], &outcome);
            ended_at(actor, len, outcome)
        }
        Verb::Readable => {
            let outcome = on!(socket, how, readable());
            if let Some(Ok(())) = outcome
                && alone
                && actor.shared.plan.adversary.is_none()
            {
                is_readable(actor, socket);
            }
            outcome.map(|ready| ready.map(|()| 0))
        }
        Verb::RecvAll => recv_all(actor, socket, how, len, &text).await,
        Verb::RecvAllBytes => {
            let outcome = on!(socket, how, recv_all_bytes(len));
            if let Some(Ok(bytes)) = &outcome
                && bytes.len() != len
            {
                actor.blame(format!("{text} gave {}", bytes.len()));
            }
            got(actor, &text, len, outcome)
        }
        Verb::RecvUntil => {
            let delimiter = [actor.rng.below(0xF0) as u8, actor.rng.below(0xF0) as u8];
            let delimiter = &delimiter[..if actor.rng.one_in(4) { 2 } else { 1 }];
            let outcome = on!(socket, how, recv_until(delimiter, len));
            if let Some(Ok(bytes)) = &outcome {
                let found = bytes.windows(delimiter.len()).position(|part| part == delimiter);
                if found.is_none_or(|at| at + delimiter.len() != bytes.len()) {
                    actor.blame(format!("{text} for {delimiter:?} gave {bytes:?}"));
                }
            }
            got(actor, &text, len, outcome)
        }
        Verb::RecvLine => {
            let outcome = on!(socket, how, recv_line(len));
            let outcome = outcome.map(|outcome| outcome.map(|line| line.map(Vec::from)));
            line(actor, &text, len, outcome)
        }
        Verb::RecvMsg => {
            let outcome = on!(socket, how, recv_msg());
            let outcome = outcome.map(|outcome| outcome.map(|message| message.map(Vec::from)));
            message(actor, outcome)
        }
        Verb::RecvMsgInto => {
            let mut into = vec![UNTOUCHED; 3];
            let outcome = on!(socket, how, recv_msg_into(&mut into));
            let outcome =
                outcome.map(|outcome| outcome.map(|len| (len, std::mem::take(&mut into))));
            let outcome = outcome.map(|outcome| match outcome {
                Ok((Some(len), message)) if len == message.len() => Ok(Some(message)),
                Ok((Some(len), message)) => {
                    actor.blame(format!("{text}: {len} of {} bytes", message.len()));
                    Ok(None)
                }
                Ok((None, _)) => Ok(None),
                Err(error) => Err(error),
            });
            if !matches!(outcome, Some(Ok(_))) {
                let left = if into.len() == 3 { &into[..] } else { &[0] };
                untouched(actor, &text, left, &outcome);
            }
            message(actor, outcome)
        }
    };
    let has_waited = match &outcome {
        Some(Err(error)) => inner::<error::TimedOut>(error).is_some(),
        None => how.is_bound_by_time(),
        Some(Ok(_)) => false,
    };
    if at_hand && has_waited {
        actor.blame(format!("{text} waited in vain, with bytes at hand"));
    }
    judged(actor, &text, outcome)
}

/// Receives with timeouts of zero, which must see what comes and let others run.
async fn impatient(socket: &AsyncSocket, buffer: &mut [u8]) -> Option<io::Result<usize>> {
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let outcome = timeout(Duration::ZERO, socket.recv(buffer)).await;
        if let Ok(outcome) = outcome {
            return Some(outcome);
        }
    }
    None
}

async fn recv_all(
    actor: &Actor,
    socket: &Socket,
    how: How,
    len: usize,
    text: &str,
) -> Option<io::Result<usize>> {
    let mut buffer = vec![UNTOUCHED; len];
    let outcome = on!(socket, how, recv_all(&mut buffer));
    // No byte of a stream is like this; so the buffer tells how many have come.
    let count = buffer.iter().position(|byte| *byte == UNTOUCHED).unwrap_or(len);
    actor.shared.stream(1 - actor.end).got(&buffer[..count]);
    untouched(actor, text, &buffer[count..], &outcome);
    let said = match &outcome {
        Some(Ok(())) => Some(len),
        Some(Err(error)) => inner::<error::TimedOut>(error)
            .map(|timed_out| timed_out.done)
            .or(inner::<error::Incomplete>(error).map(|incomplete| incomplete.got)),
        None => None,
    };
    if said.is_some_and(|said| said != count) {
        actor.blame(format!("{text} says {said:?}, and {count} bytes have come: {outcome:?}"));
    }
    outcome.map(|all| all.map(|()| count))
}

/// Records that something is there: data, the end, or an error.
fn is_readable(actor: &Actor, socket: &Socket) {
    let mut buffer = [UNTOUCHED; 1];
    match now!(socket, try_recv(&mut buffer)) {
        Ok(count) => {
            let mut stream = actor.shared.stream(1 - actor.end);
            stream.got(&buffer[..count]);
            stream.ended |= count == 0;
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            actor.blame("try_recv after readable would block");
        }
        Err(_) => {}
    }
}

/// Checks that a verb has written no more than it returned. One that was ended by a close in
/// another thread may have written before.
fn untouched<T>(actor: &Actor, text: &str, rest: &[u8], outcome: &Option<io::Result<T>>) {
    if let Some(Err(error)) = outcome
        && error::is_closed(error)
    {
        return;
    }
    if rest.iter().any(|byte| *byte != UNTOUCHED) {
        actor.blame(format!("{text}: written to beyond what it says"));
    }
}

/// Records bytes that came in memory of their own.
fn got<B: AsRef<[u8]>>(
    actor: &Actor,
    text: &str,
    most: usize,
    outcome: Option<io::Result<B>>,
) -> Option<io::Result<usize>> {
    outcome.map(|outcome| {
        outcome.map(|bytes| {
            let bytes = bytes.as_ref();
            if bytes.len() > most {
                actor.blame(format!("{text} gave {}", bytes.len()));
            }
            actor.shared.stream(1 - actor.end).got(bytes);
            bytes.len()
        })
    })
}

/// Records the end of the stream, which an empty result means.
fn ended_at(
    actor: &Actor,
    asked: usize,
    outcome: Option<io::Result<usize>>,
) -> Option<io::Result<usize>> {
    if let Some(Ok(0)) = outcome
        && asked > 0
    {
        actor.shared.stream(1 - actor.end).ended = true;
    }
    outcome
}

/// Records a line with its end, or the end.
fn line(
    actor: &Actor,
    text: &str,
    most: usize,
    outcome: Option<io::Result<Option<Vec<u8>>>>,
) -> Option<io::Result<usize>> {
    match outcome? {
        Ok(Some(line)) if line.contains(&b'\n') => {
            actor.blame(format!("{text} gave several lines"));
            Some(Ok(0))
        }
        Ok(Some(mut line)) => {
            line.push(b'\n');
            got(actor, text, most, Some(Ok(line)))
        }
        Ok(None) => {
            actor.shared.stream(1 - actor.end).ended = true;
            Some(Ok(0))
        }
        Err(error) => Some(Err(error)),
    }
}

/// Records a message with its header, or the end.
fn message(
    actor: &Actor,
    outcome: Option<io::Result<Option<Vec<u8>>>>,
) -> Option<io::Result<usize>> {
    let mut stream = actor.shared.stream(1 - actor.end);
    match outcome? {
        Ok(Some(payload)) => {
            stream.got(&[&(payload.len() as u32).to_be_bytes()[..], &payload].concat());
            Some(Ok(payload.len()))
        }
        Ok(None) => {
            stream.ended = true;
            Some(Ok(0))
        }
        Err(error) => Some(Err(error)),
    }
}

/// Judges the result of a step; returns whether the receiver continues.
fn judged(actor: &Actor, text: &str, outcome: Option<io::Result<usize>>) -> bool {
    let peer = 1 - actor.end;
    let error = match outcome {
        None => {
            actor.say(format!("{text}: dropped"));
            return true;
        }
        Some(Ok(count)) => {
            actor.say(format!("{text}: {count}"));
            actor.shared.went_on();
            return true;
        }
        Some(Err(error)) => error,
    };
    if inner::<error::DelimiterMissing>(&error).is_some() {
        actor.say(format!("{text}: no delimiter"));
        return true;
    }
    if inner::<error::Incomplete>(&error).is_some() {
        // What has come stays readable, and ends with the end.
        actor.say(format!("{text}: {error}"));
        let orderly = actor.shared.plan.is_orderly();
        if orderly && actor.shared.plan.ends[peer].sends == Carries::Messages {
            actor.blame(format!("{text}: {error}"));
        }
        actor.shared.stream(peer).nonsense = true;
        return true;
    }
    if inner::<error::MessageTooLong>(&error).is_some() && actor.shared.plan.adversary.is_some() {
        actor.say(format!("{text}: {error}"));
        actor.shared.stream(peer).nonsense = true;
        return true;
    }
    if actor.goes_on_after(text, &error) {
        actor.say(format!("{text}: timed out"));
        return true;
    }
    actor.shared.stream(peer).failed = true;
    false
}
