//! The verbs of datagrams.

use std::{future::Future, io};

use super::{AsyncSocket, verb::Verb};
use crate::{
    addr::{Address, ToAddress},
    socket::{
        batch::DatagramBatch,
        op::{RecvBatch, RecvFrom, SendBatch, SendTo, first, patiently},
    },
};

impl AsyncSocket {
    /// Receives one datagram and its sender's address. Bytes that do not fit are lost.
    ///
    /// # Errors
    /// `InvalidInput` on a stream; `TimedOut`; the system's.
    ///
    /// # Cancel
    /// Nothing is lost.
    #[doc(alias = "recvfrom")]
    pub fn recv_from<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> impl Future<Output = io::Result<(usize, Address)>> + 'a {
        Verb::new(&self.core, RecvFrom(buffer))
    }

    /// Sends one datagram to an address; a host name is resolved.
    ///
    /// # Errors
    /// `InvalidInput` on a stream; `EMSGSIZE` if it is too long; `TimedOut`; the system's.
    ///
    /// # Cancel
    /// Nothing has been sent.
    #[doc(alias = "sendto")]
    pub async fn send_to(&self, buffer: &[u8], address: impl ToAddress) -> io::Result<usize> {
        let to = first(&self.core, address.to_target()?).await?;
        patiently(&self.core, async || Verb::new(&self.core, SendTo { buffer, to: &to }).await)
            .await
    }

    /// Receives as many datagrams as are there and fit into `batch`, at least one; returns how
    /// many. Uses one call where the system can (recvmmsg).
    ///
    /// # Errors
    /// `InvalidInput` on a stream; `TimedOut`; the system's.
    ///
    /// # Cancel
    /// Nothing is lost.
    #[doc(alias = "recvmmsg")]
    pub fn recv_batch<'a>(
        &'a self,
        batch: &'a mut DatagramBatch,
    ) -> impl Future<Output = io::Result<usize>> + 'a {
        Verb::new(&self.core, RecvBatch(batch))
    }

    /// Sends datagrams, each to its address, and returns how many were sent: at least one, unless
    /// there are none. The caller sends the rest again. Uses one call where the system can
    /// (sendmmsg, 64 at most).
    ///
    /// Consecutive datagrams of one length to one address cost least; the last of them may be
    /// shorter. Linux takes them as one and splits them late (`UDP_SEGMENT`); where it refuses,
    /// they are sent one by one. The receiver sees no difference.
    ///
    /// # Errors
    /// `InvalidInput` on a stream; that of the first datagram if it cannot be sent; `TimedOut`.
    ///
    /// # Cancel
    /// Nothing has been sent.
    #[doc(alias = "sendmmsg")]
    pub async fn send_batch<B: AsRef<[u8]>>(
        &self,
        datagrams: &[(B, Address)],
    ) -> io::Result<usize> {
        patiently(&self.core, async || Verb::new(&self.core, SendBatch(datagrams)).await).await
    }
}
