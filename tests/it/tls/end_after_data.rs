//! An end or a failure comes with data in one segment, while TCP stays open: the next verb,
//! whichever it is, reports it.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    mem::MaybeUninit,
    sync::Arc,
    thread,
};

use asyncoro::{AsyncSocket, BlockingSocket, time::timeout};

use super::{
    each_version, listening, listening_blocking,
    records::{Identity, Peer, broken},
    run_each_version,
};
use crate::pairs::{LIMIT, started};

/// A message, a line, eight bytes.
const DATA: &[u8; 8] = b"\0\0\0\x04abc\n";

/// Each verb that receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Recv,
    Peek,
    Bytes,
    LongBytes,
    With,
    Uninit,
    Vectored,
    All,
    AllBytes,
    Until,
    Line,
    Msg,
    MsgInto,
    Readable,
}

const VERBS: [Verb; 14] = [
    Verb::Recv,
    Verb::Peek,
    Verb::Bytes,
    Verb::LongBytes,
    Verb::With,
    Verb::Uninit,
    Verb::Vectored,
    Verb::All,
    Verb::AllBytes,
    Verb::Until,
    Verb::Line,
    Verb::Msg,
    Verb::MsgInto,
    Verb::Readable,
];

/// Calls a verb on either face; returns how many bytes it received.
macro_rules! call {
    ($socket:expr, $verb:expr $(, $wait:tt)?) => {{
        let mut room = [0; DATA.len()];
        let mut vector = Vec::new();
        match $verb {
            Verb::Recv => $socket.recv(&mut room)$(.$wait)?,
            Verb::Peek => $socket.peek(&mut room)$(.$wait)?,
            Verb::Bytes => $socket.recv_bytes(8)$(.$wait)?.map(|bytes| bytes.len()),
            Verb::LongBytes => $socket.recv_bytes(1 << 16)$(.$wait)?.map(|bytes| bytes.len()),
            Verb::With => $socket.recv_with(|bytes| bytes.len())$(.$wait)?,
            Verb::Uninit => {
                let make = || [MaybeUninit::<u8>::uninit(); 99];
                $socket.recv_uninit(make)$(.$wait)?.map(|(_, count)| count)
            }
            Verb::Vectored => {
                let (left, right) = room.split_at_mut(3);
                let mut buffers = [IoSliceMut::new(left), IoSliceMut::new(right)];
                $socket.recv_vectored(&mut buffers)$(.$wait)?
            }
            Verb::All => $socket.recv_all(&mut room)$(.$wait)?.map(|()| 8),
            Verb::AllBytes => $socket.recv_all_bytes(8)$(.$wait)?.map(|bytes| bytes.len()),
            Verb::Until => $socket.recv_until(b"\n", 99)$(.$wait)?.map(|bytes| bytes.len()),
            Verb::Line => {
                let line = $socket.recv_line(99)$(.$wait)?;
                line.map(|line| line.map_or(0, |line| line.len() + 1))
            }
            Verb::Msg => {
                let message = $socket.recv_msg()$(.$wait)?;
                message.map(|message| message.map_or(0, |message| message.len() + 4))
            }
            Verb::MsgInto => {
                let message = $socket.recv_msg_into(&mut vector)$(.$wait)?;
                message.map(|message| message.map_or(0, |count| count + 4))
            }
            Verb::Readable => $socket.readable()$(.$wait)?.map(|()| 0),
        }
    }};
}

async fn call(socket: &AsyncSocket, verb: Verb) -> io::Result<usize> {
    let called = timeout(LIMIT / 4, async { call!(socket, verb, await) }).await;
    called.unwrap_or_else(|_| panic!("{verb:?} hangs"))
}

fn call_blocking(socket: &BlockingSocket, verb: Verb) -> io::Result<usize> {
    call!(socket, verb)
}

impl Verb {
    /// Returns the verb to call next if this one takes no data.
    fn then(self) -> Option<Verb> {
        matches!(self, Verb::Peek | Verb::Readable).then_some(Verb::Recv)
    }

    #[track_caller]
    fn judge(self, fails: bool, outcome: io::Result<usize>) {
        let expected = match self {
            Verb::Readable => None,
            _ if fails => Some(ErrorKind::InvalidData),
            Verb::All | Verb::AllBytes | Verb::Until => Some(ErrorKind::UnexpectedEof),
            _ => None,
        };
        match outcome {
            Ok(count) => assert_eq!((count, None), (0, expected), "{self:?}"),
            Err(error) => assert_eq!(Some(error.kind()), expected, "{self:?}: {error:?}"),
        }
    }
}

/// Makes the records of one segment.
fn segment(peer: &mut Peer, fails: bool) -> [Vec<u8>; 2] {
    let data = peer.sealer.data(DATA);
    [data, if fails { broken() } else { peer.sealer.close_notify() }]
}

#[test]
fn an_end_or_a_failure_behind_data_in_one_segment_is_told_by_the_next_verb() {
    run_each_version(async |version| {
        let identity = Arc::new(Identity::new(version));
        let (listener, port) = listening(&identity.both().0).await;
        for verb in VERBS {
            for fails in [false, true] {
                let connecting = Arc::clone(&identity);
                let connecting = thread::spawn(move || connecting.connect(port));
                let socket = listener.accept().await.unwrap().0;
                let mut peer = connecting.join().unwrap();
                // It waits when the segment comes.
                let reader = socket.clone();
                let reading = started(async move { call(&reader, verb).await }).await;
                let segment = segment(&mut peer, fails);
                peer.send(&segment);
                let seen = reading.await.unwrap().unwrap();
                match verb.then() {
                    Some(other) => assert_eq!(call(&socket, other).await.unwrap(), 8),
                    None => assert_eq!(seen, 8, "{verb:?}"),
                }
                // It stays so.
                for _ in 0..2 {
                    verb.judge(fails, call(&socket, verb).await);
                }
            }
        }
    });
}

#[test]
fn a_thread_is_told_of_an_end_or_a_failure_behind_data() {
    each_version(|version| {
        let identity = Arc::new(Identity::new(version));
        let (listener, port) = listening_blocking(&identity.both().0);
        for verb in VERBS {
            for fails in [false, true] {
                let connecting = Arc::clone(&identity);
                let connecting = thread::spawn(move || connecting.connect(port));
                let socket = listener.accept().unwrap().0;
                socket.set_timeout(Some(LIMIT / 4));
                socket.flush().unwrap();
                let mut peer = connecting.join().unwrap();
                let segment = segment(&mut peer, fails);
                peer.send(&segment);
                let seen = call_blocking(&socket, verb).unwrap();
                match verb.then() {
                    Some(other) => assert_eq!(call_blocking(&socket, other).unwrap(), 8),
                    None => assert_eq!(seen, 8, "{verb:?}"),
                }
                for _ in 0..2 {
                    verb.judge(fails, call_blocking(&socket, verb));
                }
            }
        }
    });
}
