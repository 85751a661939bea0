//! A library that needs tokio's runtime, in a coroutine: reqwest, beside a server of asyncoro's.

use std::{error::Error, io};

use asyncoro::AsyncSocket;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    // Coroutines, tokio's reactor and its tasks, all on this thread.
    asyncoro::tokio::run(async {
        let server = AsyncSocket::create_server("127.0.0.1:0").await?;
        let url = format!("http://{}/", server.local_addr()?);
        let serving = asyncoro::spawn(async move {
            loop {
                let (client, _) = server.accept().await?;
                asyncoro::spawn(serve(client)).or_log();
            }
            #[allow(unreachable_code, reason = "it says what `?` returns")]
            io::Result::Ok(())
        });

        let client = reqwest::Client::new();
        for name in ["one", "two"] {
            let answer = client.post(&url).body(name).send().await?.text().await?;
            println!("{answer}");
        }
        // Its connections close, and their coroutines end.
        drop(client);
        serving.terminate();
        Ok(())
    })
}

/// Answers the requests of one client.
async fn serve(client: AsyncSocket) -> io::Result<()> {
    loop {
        let head = match client.recv_until(b"\r\n\r\n", 16 << 10).await {
            Ok(head) => String::from_utf8_lossy(&head).to_lowercase(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let name = client.recv_all_bytes(length).await?;
        let body = format!("hello, {}", String::from_utf8_lossy(&name));
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        client.send_all(answer.as_bytes()).await?;
    }
}
