//! Waiting for several futures at once, in one coroutine.
//!
//! | function | waits for | the others |
//! | --- | --- | --- |
//! | [`join`], [`join3`], [`join4`], [`join_all`] | all | |
//! | [`try_join`], [`try_join3`], [`try_join_all`] | all, or an error | are dropped at an error |
//! | [`race`], [`race3`], [`race4`] | the first | are dropped |
//!
//! They need no scheduler and no allocation (those for lists take one for each future), and the
//! futures need not be `Send`. A future that is dropped has lost what its documentation says under
//! "Cancel": nearly each verb of a socket loses nothing.
//!
//! For many futures at once, or a number that changes, spawn coroutines and use
//! [`Coros`](crate::coro::Coros): here all that are not done are polled whenever one of them wakes.
//!
//! # A loop that waits for several things
//! Make the short futures anew in each round; what has not won is dropped, and has lost nothing.
//! Put a future that must go on from round to round, such as a long operation or a timer, into a
//! [`Slot`] and lend that: when it is done the slot is empty, and an empty slot never wins. So no
//! round polls a finished future, and none needs a `fuse`.
//!
//! ```
//! use std::{io, pin::pin, time::Duration};
//!
//! use asyncoro::{
//!     AsyncSocket,
//!     future::{Slot, Winner, race3},
//!     time::sleep,
//! };
//!
//! /// Answers messages while `work` is being done, then tells of its result, and goes on.
//! async fn serve(socket: AsyncSocket, work: impl Future<Output = u32>) -> io::Result<u32> {
//!     let mut work = pin!(Slot::new(work));
//!     let mut idle = Slot::new(sleep(Duration::from_secs(60)));
//!     let mut answered = 0;
//!     loop {
//!         match race3(work.as_mut(), socket.recv_msg(), &mut idle).await {
//!             Winner::First(result) => {
//!                 socket.send_msg(format!("result: {result}").as_bytes()).await?;
//!             }
//!             Winner::Second(message) => {
//!                 let Some(message) = message? else { return Ok(answered) };
//!                 socket.send_msg(&message).await?;
//!                 answered += 1;
//!                 idle.fill(sleep(Duration::from_secs(60))); // starts anew
//!             }
//!             Winner::Third(()) => return Ok(answered),
//!         }
//!     }
//! }
//!
//! # fn main() -> io::Result<()> {
//! let (near, far) = std::os::unix::net::UnixStream::pair()?;
//! asyncoro::run(async {
//!     let work = async {
//!         sleep(Duration::from_millis(5)).await;
//!         42
//!     };
//!     let far = AsyncSocket::new(far)?;
//!     let served = asyncoro::spawn(serve(AsyncSocket::new(near)?, work));
//!     far.send_msg(b"before").await?;
//!     assert_eq!(far.recv_msg().await?.unwrap(), "before");
//!     assert_eq!(far.recv_msg().await?.unwrap(), "result: 42");
//!     far.send_msg(b"after").await?;
//!     assert_eq!(far.recv_msg().await?.unwrap(), "after");
//!     far.close().await?;
//!     assert_eq!(served.await??, 2);
//!     Ok(())
//! })
//! # }
//! ```

mod all;
mod join;
mod race;
mod slot;
mod stage;

pub use self::{
    all::{JoinAll, TryJoinAll, join_all, try_join_all},
    join::{Join, Join3, Join4, TryJoin, TryJoin3, join, join3, join4, try_join, try_join3},
    race::{Race, Race3, Race4, Winner, race, race3, race4},
    slot::Slot,
};
