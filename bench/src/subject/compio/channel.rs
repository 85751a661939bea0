//! A channel for compio, which has none for several threads: flume's.

use super::Compio;
use crate::runtime::Channel;

impl Channel for Compio {
    type Sender = flume::Sender<u64>;
    type Receiver = flume::Receiver<u64>;

    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        flume::bounded(capacity)
    }
    async fn send(sender: &Self::Sender, value: u64) {
        sender.send_async(value).await.expect("the receiver is there");
    }
    fn send_across(sender: &Self::Sender, value: u64) {
        sender.try_send(value).expect("there is room");
    }
    async fn receive(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv_async().await.expect("a sender is there")
    }
}
