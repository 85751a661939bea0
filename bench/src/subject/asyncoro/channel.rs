//! asyncoro's mailbox.

use asyncoro::coro::Scheduler;
use asyncoro::sync::{Receiver, Sender, mailbox};

use crate::runtime::Channel;

impl Channel for Scheduler {
    type Sender = Sender<u64>;
    type Receiver = Receiver<u64>;

    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        mailbox(capacity)
    }
    async fn send(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("the receiver is there");
    }
    fn send_across(sender: &Self::Sender, value: u64) {
        sender.try_send(value).expect("there is room");
    }
    async fn receive(receiver: &mut Self::Receiver) -> u64 {
        receiver.receive().await.expect("a sender is there")
    }
}
