//! A client that retries: with a timeout for each attempt, and longer and longer pauses.
//!
//! ```text
//! cargo run --release --example retry [ADDRESS]           (localhost:7008 if none is given)
//! ```
//!
//! Start it, then `msg_server` within three seconds: the next attempt finds it. Each attempt looks
//! up the host name again, and tries all of its addresses.

use std::{env, io, time::Duration};

use asyncoro::{
    AsyncSocket,
    time::{sleep, timeout},
};
use bytes::Bytes;

const ATTEMPTS: u32 = 6;

/// How long one attempt may take, with the look-up.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause after the first attempt; it doubles after each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("localhost:7008".to_owned());
    let answer = asyncoro::run(persist(&address))?;
    println!("{address} answered: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

async fn persist(address: &str) -> io::Result<Bytes> {
    let mut pause = FIRST_PAUSE;
    for attempt in 1..ATTEMPTS {
        match ask(address).await {
            // Another attempt does not help against a mistyped address.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => {
                println!("attempt {attempt}: {error}; again in {pause:?}");
            }
            ended => return ended,
        }
        sleep(pause).await;
        pause *= 2;
    }
    ask(address).await
}

async fn ask(address: &str) -> io::Result<Bytes> {
    let asking = async {
        let socket = AsyncSocket::create_connection(address).await?;
        socket.send_msg(b"are you there?").await?;
        let answer = socket.recv_msg().await?;
        answer.ok_or_else(|| io::Error::other("it left without an answer"))
    };
    timeout(PATIENCE, asking).await?
}
