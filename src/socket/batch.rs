//! Memory for many datagrams at once.

use std::fmt;

use super::link::Link;
use crate::{
    addr::Address,
    sys::{MANY, Received},
};

/// Memory for many datagrams, which `recv_batch` fills.
///
/// It belongs to the caller and is reused, so receiving allocates nothing.
///
/// ```
/// use asyncoro::{AsyncSocket, DatagramBatch};
///
/// # fn main() -> std::io::Result<()> {
/// asyncoro::run(async {
///     let socket = AsyncSocket::create_datagram("127.0.0.1:0").await?;
///     let sender = AsyncSocket::create_datagram("127.0.0.1:0").await?;
///     let to = socket.local_addr()?;
///     sender.send_batch(&[("one", to.clone()), ("two", to)]).await?;
///
///     let mut batch = DatagramBatch::new(16, 1500);
///     let mut seen = Vec::new();
///     while seen.len() < 2 {
///         socket.recv_batch(&mut batch).await?;
///         seen.extend(batch.iter().map(|datagram| datagram.bytes.to_vec()));
///     }
///     assert_eq!(seen, [b"one", b"two"]);
///     Ok(())
/// })
/// # }
/// ```
pub struct DatagramBatch {
    memory: Vec<u8>,
    size: usize,
    received: Vec<Received>,
}

/// One datagram of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// The bytes received, at most the batch's size.
    pub bytes: &'a [u8],
    /// The sender's address.
    pub from: &'a Address,
    /// Whether the datagram was longer than the batch's size and was cut.
    pub truncated: bool,
}

impl DatagramBatch {
    /// Makes room for `count` datagrams of at most `size` bytes each. One call receives at most 64.
    ///
    /// # Panics
    /// If `count` or `size` is zero, or their product exceeds any memory.
    pub fn new(count: usize, size: usize) -> DatagramBatch {
        assert!(count > 0 && size > 0, "a batch needs room for a datagram");
        let bytes = count.checked_mul(size).expect("a batch fits into memory");
        let received = Vec::with_capacity(count.min(MANY));
        DatagramBatch { memory: vec![0; bytes], size, received }
    }

    /// Returns the datagrams of the last `recv_batch`, in the order of their arrival.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        let memory = self.memory.chunks(self.size);
        self.received.iter().zip(memory).map(|(received, memory)| Datagram {
            bytes: &memory[..received.len],
            from: &received.from,
            truncated: received.truncated,
        })
    }

    /// Returns the number of datagrams of the last `recv_batch`.
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    pub(crate) fn fill(&mut self, link: &Link) -> Result<usize, rustix::io::Errno> {
        link.sys().recv_many(&mut self.memory, self.size, &mut self.received)
    }
}

impl fmt::Debug for DatagramBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
