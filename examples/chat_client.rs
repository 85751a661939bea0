//! A chat client: sends each typed line to all others, and prints what they send.
//!
//! ```text
//! cargo run --release --example chat_client [ADDRESS]     (127.0.0.1:3456 if none is given)
//! ```
//!
//! Its server is `chat_server`, or `chat_sock_server.py` of pycos. It ends at `quit`, at the end of
//! the input, at Ctrl-C and SIGTERM, and when the server ends.

use std::{env, io};

use asyncoro::{AsyncSocket, error::is_closed, signal, stdio};

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3456".to_owned());
    asyncoro::run_until(async {
        let socket = AsyncSocket::create_connection(address).await?;
        asyncoro::spawn(say(socket.clone())).or_log();
        asyncoro::spawn(leave_when_told(socket.clone())).or_log();
        match hear(&socket).await {
            Err(error) if is_closed(&error) => Ok(()),
            ended => ended,
        }
    })
}

/// Sends each line until there are no more; closing the socket then ends `hear`.
async fn say(socket: AsyncSocket) -> io::Result<()> {
    let mut lines = stdio::lines();
    while let Some(line) = lines.next().await? {
        match line.trim() {
            "" => {} // an empty message would end the conversation
            "quit" | "exit" => break,
            line => socket.send_msg(line.as_bytes()).await?,
        }
    }
    socket.close().await
}

async fn leave_when_told(socket: AsyncSocket) -> io::Result<()> {
    signal::shutdown().await?;
    socket.close().await
}

async fn hear(socket: &AsyncSocket) -> io::Result<()> {
    while let Some(message) = socket.recv_msg().await? {
        println!("{}", String::from_utf8_lossy(&message));
    }
    Ok(())
}
