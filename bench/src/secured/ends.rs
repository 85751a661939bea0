//! The work of the group `tls`, written once: both ends of a connection on one runtime.

use std::future::Future;

use super::{IN_FLIGHT, Identity, MESSAGE, RECORD, Secured};
use crate::runtime::{HEADER, Runtime};

/// TLS on the streams of a runtime.
pub(crate) trait Net: Runtime {
    /// The configurations of a server and its clients.
    type Config: Clone + 'static;
    type Stream: 'static;

    fn configure(identity: &Identity) -> Self::Config;
    /// Makes two ends and does their handshake; if `resumed`, with a ticket of the previous
    /// connection, if there is one.
    fn pair(
        config: Self::Config,
        resumed: bool,
    ) -> impl Future<Output = (Self::Stream, Self::Stream)> + 'static;
    /// Sends all bytes.
    fn write(stream: &mut Self::Stream, bytes: &[u8]) -> impl Future<Output = ()>;
    /// Waits until the kernel has all sent bytes.
    fn flush(stream: &mut Self::Stream) -> impl Future<Output = ()>;
    /// Fills the buffer.
    fn read(stream: &mut Self::Stream, buffer: &mut [u8]) -> impl Future<Output = ()>;
    /// Receives what is there, at least a byte.
    fn read_some(stream: &mut Self::Stream, buffer: &mut [u8]) -> impl Future<Output = usize>;
    fn close(stream: &mut Self::Stream) -> impl Future<Output = ()>;

    /// Sends the messages in flight and receives them again, a number of times; if `gathered`, in
    /// one write. A runtime with messages of its own uses those.
    fn ask(stream: &mut Self::Stream, times: usize, gathered: bool) -> impl Future<Output = ()> {
        async move {
            let (writes, bytes) = framed(gathered);
            let mut answers = vec![0; bytes.len() * writes];
            for _ in 0..times {
                for _ in 0..writes {
                    Self::write(stream, &bytes).await;
                    Self::flush(stream).await;
                }
                Self::read(stream, &mut answers).await;
            }
        }
    }

    /// Answers these messages.
    fn answer(stream: &mut Self::Stream, times: usize, gathered: bool) -> impl Future<Output = ()> {
        async move {
            let (writes, mut bytes) = framed(gathered);
            for _ in 0..times * writes {
                Self::read(stream, &mut bytes).await;
                Self::write(stream, &bytes).await;
                Self::flush(stream).await;
            }
        }
    }
}

/// How many writes an iteration has, and the bytes of each.
pub(super) fn framed(gathered: bool) -> (usize, Vec<u8>) {
    let mut message = (MESSAGE.len() as u32).to_be_bytes().to_vec();
    debug_assert_eq!(message.len(), HEADER, "a length");
    message.extend_from_slice(&MESSAGE);
    if gathered { (1, message.repeat(IN_FLIGHT)) } else { (IN_FLIGHT, message) }
}

pub(crate) struct Ends<R: Net> {
    runtime: R,
    config: R::Config,
    /// `None` while a function uses it.
    pair: Option<(R::Stream, R::Stream)>,
    kept: Vec<(R::Stream, R::Stream)>,
}

impl<R: Net> Ends<R> {
    pub(crate) fn new(identity: &Identity) -> Ends<R> {
        let mut runtime = R::new().expect("a runtime can be made");
        let config = R::configure(identity);
        let pair = Some(runtime.block_on(R::pair(config.clone(), false)));
        Ends { runtime, config, pair, kept: Vec::new() }
    }

    /// Runs both ends, the far one in a coroutine, and keeps them.
    fn both<N, F>(&mut self, near: impl FnOnce(R::Stream) -> N, far: impl FnOnce(R::Stream) -> F)
    where
        N: Future<Output = R::Stream> + 'static,
        F: Future<Output = R::Stream> + 'static,
    {
        let streams = self.pair.take().expect("it was put back");
        let (near, far) = (near(streams.0), far(streams.1));
        self.pair = Some(self.runtime.block_on(async {
            let far = R::spawn(far);
            (near.await, R::join(far).await)
        }));
    }

    /// Makes a connection whose client has its tickets, which come before the first byte.
    async fn connected(config: R::Config, resumed: bool) -> (R::Stream, R::Stream) {
        let (mut near, mut far) = R::pair(config, resumed).await;
        R::write(&mut far, b"!").await;
        R::flush(&mut far).await;
        R::read(&mut near, &mut [0]).await;
        (near, far)
    }
}

impl<R: Net> Secured for Ends<R> {
    fn ping_pong(&mut self, times: usize, bytes: usize) {
        let near = move |mut near| async move {
            let mut buffer = vec![b'p'; bytes];
            for _ in 0..times {
                R::write(&mut near, &buffer).await;
                R::flush(&mut near).await;
                R::read(&mut near, &mut buffer).await;
            }
            near
        };
        self.both(near, move |mut far| async move {
            let mut buffer = vec![0; bytes];
            for _ in 0..times {
                R::read(&mut far, &mut buffer).await;
                R::write(&mut far, &buffer).await;
                R::flush(&mut far).await;
            }
            far
        });
    }

    fn messages(&mut self, times: usize, gathered: bool) {
        let near = move |mut near| async move {
            R::ask(&mut near, times, gathered).await;
            near
        };
        self.both(near, move |mut far| async move {
            R::answer(&mut far, times, gathered).await;
            far
        });
    }

    fn bulk(&mut self, records: usize) {
        let near = move |mut near| async move {
            for _ in 0..records {
                R::write(&mut near, &RECORD).await;
            }
            R::flush(&mut near).await;
            near
        };
        self.both(near, move |mut far| async move {
            let mut buffer = vec![0; RECORD.len()];
            let mut left = records * RECORD.len();
            while left > 0 {
                left -= R::read_some(&mut far, &mut buffer).await;
            }
            far
        });
    }

    fn handshakes(&mut self, times: usize, resumed: bool) {
        let config = self.config.clone();
        self.runtime.block_on(async move {
            for _ in 0..times {
                let (mut near, mut far) = Ends::<R>::connected(config.clone(), resumed).await;
                R::close(&mut near).await;
                R::close(&mut far).await;
            }
        });
    }

    fn keep(&mut self, connections: usize) {
        for _ in 0..connections {
            let connected = Ends::<R>::connected(self.config.clone(), false);
            self.kept.push(self.runtime.block_on(connected));
        }
    }
}
