//! The policy for slow subscribers.

/// What happens when a channel is full because a subscriber has not taken its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Senders wait for the slowest subscriber: nothing is lost, and one that stops receiving stops
    /// all.
    Wait,
    /// The oldest message is dropped; those who had not taken it are told how many they have lost.
    DropOldest,
    /// Those who have not taken the oldest message are disconnected, and the others do not wait for
    /// them. They get [`ReceiveError::Disconnected`](super::ReceiveError::Disconnected).
    Disconnect,
}
