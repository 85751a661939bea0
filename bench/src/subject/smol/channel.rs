//! smol's channel.

use smol::channel;

use super::Smol;
use crate::runtime::Channel;

impl Channel for Smol {
    type Sender = channel::Sender<u64>;
    type Receiver = channel::Receiver<u64>;

    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        channel::bounded(capacity)
    }
    async fn send(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("the receiver is there");
    }
    fn send_across(sender: &Self::Sender, value: u64) {
        sender.try_send(value).expect("there is room");
    }
    async fn receive(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().await.expect("a sender is there")
    }
}
