//! A client that does not give up at once: a timeout for each attempt, longer and longer pauses.
//!
//! ```text
//! cargo run --release --example retry [ADDRESS]           (localhost:7008 if none is given)
//! ```
//!
//! Start it, then `msg_server` within three seconds: it is found at the next attempt. A host name
//! is resolved anew each time, and all of its addresses are tried.

use std::{env, io, time::Duration};

use asyncoro::{
    AsyncSocket,
    time::{sleep, timeout},
};
use bytes::Bytes;

const ATTEMPTS: u32 = 6;

/// How long one attempt may take, whatever it is that takes so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// After the first attempt; then twice as long after each.
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
            // No attempt makes a mistyped address a good one.
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
