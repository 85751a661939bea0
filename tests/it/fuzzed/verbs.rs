//! Verbs in any order on both ends of a stream, some dropped while they wait: each end receives
//! exactly the bytes that the other's verbs reported as sent.
//!
//! An input is a list of at most [`VERBS`] verbs with their end and size, two bytes each. The value
//! of byte n of a direction depends on n only, so that a receiver can check it.

use std::{
    future::{Future, poll_fn},
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    pin::pin,
    task::Poll,
    time::Duration,
};

use asyncoro::{AsyncSocket, coro::yield_now, time::timeout};

const VERBS: usize = 200;

/// How often a verb is resumed before it is dropped.
const RESUMES: usize = 3;

/// Longer than any case takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn feed(input: &[u8]) {
    asyncoro::run_until(async {
        timeout(PATIENCE, converse(input)).await.expect("a verb hangs");
    });
}

async fn converse(input: &[u8]) {
    let (one, other) = UnixStream::pair().expect("a pair");
    let mut ends = [End::new(one), End::new(other)];
    for pair in input.chunks_exact(2).take(VERBS) {
        let near = usize::from(pair[0] >> 7);
        let [first, second] = &mut ends;
        let (near, far) = if near == 0 { (first, second) } else { (second, first) };
        near.verb(pair[0] & 0x7f, 16 * usize::from(pair[1]), far).await;
    }
    // All that was accepted arrives, and then the end. What is queued may wait for the other to
    // read, so both do both at once.
    let [one, other] = &mut ends;
    for (near, far) in [(&*one, &*other), (&*other, &*one)] {
        let socket = near.socket().clone();
        let ending = asyncoro::spawn(async move { socket.shutdown(Shutdown::Write).await });
        let rest = receive_all(far.socket()).await;
        far.check(&rest);
        assert_eq!(far.received + rest.len() as u64, near.sent, "bytes that arrived");
        ending.await.expect("it does not panic").expect("what is queued has left");
    }
}

async fn receive_all(socket: &AsyncSocket) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match socket.recv(&mut buffer).await.expect("nobody resets") {
            0 => return all,
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

struct End {
    /// `None` only while it is converted.
    socket: Option<AsyncSocket>,
    /// How many bytes were accepted for sending, and how many received.
    sent: u64,
    received: u64,
    has_ended: bool,
}

impl End {
    fn new(stream: UnixStream) -> End {
        let socket = Some(AsyncSocket::new(stream).expect("a socket"));
        End { socket, sent: 0, received: 0, has_ended: false }
    }

    fn socket(&self) -> &AsyncSocket {
        self.socket.as_ref().expect("it is back")
    }

    async fn verb(&mut self, verb: u8, size: usize, far: &End) {
        match verb % 12 {
            0 => {
                let bytes = pattern(self.sent, size);
                let sent = tried(self.socket().send(&bytes)).await;
                self.count_sent(sent, size);
            }
            1 => {
                let sent = self.socket().try_send(&pattern(self.sent, size));
                self.count_sent(Some(sent), size);
            }
            2 => {
                let bytes = pattern(self.sent, size);
                let queued = tried(self.socket().send_queued(&bytes)).await;
                self.count_sent(queued.map(|queued| queued.map(|()| size)), size);
            }
            3 => drop(tried(self.socket().flush()).await),
            4 => {
                let mut buffer = vec![0; size];
                if let Some(count) = tried(self.socket().recv(&mut buffer)).await {
                    let count = count.expect("nobody resets");
                    self.take(&buffer[..count], count == 0 && size > 0, far);
                }
            }
            5 => {
                let mut buffer = vec![0; size];
                if let Some(count) = tried(self.socket().peek(&mut buffer)).await {
                    self.check(&buffer[..count.expect("nobody resets")]);
                }
            }
            6 if size > 0 => {
                let some = tried(self.socket().recv_with_limit(size, <[u8]>::to_vec)).await;
                if let Some(some) = some {
                    let some = some.expect("nobody resets");
                    assert!(some.len() <= size);
                    self.take(&some, some.is_empty(), far);
                }
            }
            7 => {
                if let Some(Ok(all)) = tried(self.socket().recv_all_bytes(size)).await {
                    assert_eq!(all.len(), size);
                    self.take(&all, false, far);
                }
            }
            8 => {
                let mut buffer = vec![0; size];
                if let Ok(count) = self.socket().try_recv(&mut buffer) {
                    self.take(&buffer[..count], count == 0 && size > 0, far);
                }
            }
            9 => {
                if let Some(ended) = tried(self.socket().shutdown(Shutdown::Write)).await {
                    ended.expect("nobody resets");
                    self.has_ended = true;
                }
            }
            10 => {
                // The way through the other face keeps what was received and what is queued. It
                // waits for the queue, which needs a reader: only where nothing is queued.
                if let Some(Ok(())) = tried(self.socket().flush()).await {
                    let socket = self.socket.take().expect("it is back");
                    let blocking = socket.into_blocking().await.expect("nobody else has it");
                    let back = blocking.into_async().expect("nobody else has it");
                    self.socket = Some(back);
                }
            }
            _ => {
                if tried(self.socket().readable()).await.is_some() {
                    self.socket().try_recv(&mut []).expect("it is readable");
                }
            }
        }
    }

    fn count_sent(&mut self, sent: Option<io::Result<usize>>, size: usize) {
        match sent {
            Some(Ok(count)) => {
                assert!(count <= size);
                assert!(!self.has_ended || size == 0, "sent behind the end");
                self.sent += count as u64;
            }
            Some(Err(error)) => {
                let may_wait = error.kind() == io::ErrorKind::WouldBlock;
                assert!(self.has_ended || may_wait, "{error}");
            }
            None => {}
        }
    }

    /// Checks and counts received bytes, or the end.
    fn take(&mut self, bytes: &[u8], is_end: bool, far: &End) {
        self.check(bytes);
        self.received += bytes.len() as u64;
        assert!(self.received <= far.sent, "more than was sent");
        assert!(!is_end || far.has_ended, "an end that nobody has made");
        assert!(!is_end || self.received == far.sent, "an end before the last byte");
    }

    fn check(&self, bytes: &[u8]) {
        assert!(bytes == pattern(self.received, bytes.len()), "other bytes than were sent");
    }
}

fn pattern(from: u64, count: usize) -> Vec<u8> {
    (from..from + count as u64).map(|n| (n % 251) as u8).collect()
}

/// Polls a verb a few times and drops it if it is not done then.
async fn tried<T>(verb: impl Future<Output = T>) -> Option<T> {
    let mut verb = pin!(verb);
    for _ in 0..RESUMES {
        let polled = poll_fn(|context| Poll::Ready(verb.as_mut().poll(context))).await;
        if let Poll::Ready(value) = polled {
            return Some(value);
        }
        yield_now().await;
    }
    None
}
