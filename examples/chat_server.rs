//! A chat server: passes each message of a client on to all others.
//!
//! ```text
//! cargo run --release --example chat_server [ADDRESS]     (127.0.0.1:3456 if none is given)
//! cargo run --release --example chat_client               (in several other terminals)
//! ```
//!
//! It uses the protocol of pycos's `chat_sock_server.py`, so that `chat_sock_client.py` can take
//! part. A client that does not read delays nobody: when 64 KiB are queued for it, beyond what the
//! system buffers, it is disconnected. Ctrl-C and SIGTERM end the server.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    env, io,
    net::Shutdown,
    rc::Rc,
};

use asyncoro::{AsyncSocket, signal};
use bytes::Bytes;

/// The longest message, in bytes.
const LONGEST: usize = 16 << 10;

fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3456".to_owned());
    asyncoro::run_until(async {
        let shutdown = signal::shutdown();
        let server = AsyncSocket::create_server(address).await?;
        println!("listening on {}", server.local_addr()?);
        asyncoro::spawn(serve(server)).or_log();
        shutdown.await
    })
}

async fn serve(server: AsyncSocket) -> io::Result<()> {
    let room = Rc::new(Room::default());
    loop {
        let (client, _) = server.accept().await?;
        client.set_message_limit(LONGEST);
        let room = Rc::clone(&room);
        asyncoro::spawn(async move {
            let id = room.enter(&client)?;
            let left = room.hear(id, &client).await;
            room.leave(id);
            left
        })
        .or_log();
    }
}

/// All coroutines run on one thread, so a cell suffices and no lock is needed.
#[derive(Default)]
struct Room {
    clients: RefCell<BTreeMap<u32, AsyncSocket>>,
    last_id: Cell<u32>,
}

impl Room {
    fn enter(&self, client: &AsyncSocket) -> io::Result<u32> {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        client.try_send_msg(&format!("id: {id}").into())?;
        self.tell(id, format!("{id} joined").into());
        self.clients.borrow_mut().insert(id, client.clone());
        Ok(id)
    }

    /// Passes on the messages of one client until it ends its stream or sends an empty message.
    async fn hear(&self, id: u32, client: &AsyncSocket) -> io::Result<()> {
        while let Some(text) = client.recv_msg().await?.filter(|text| !text.is_empty()) {
            let says = format!("{id} says: ");
            self.tell(id, [says.as_bytes(), &text[..]].concat().into());
        }
        Ok(())
    }

    fn leave(&self, id: u32) {
        self.clients.borrow_mut().remove(&id);
        self.tell(id, format!("{id} left").into());
    }

    /// Queues a message for everybody but its sender, without waiting.
    fn tell(&self, speaker: u32, message: Bytes) {
        for (_, client) in self.clients.borrow().iter().filter(|(id, _)| **id != speaker) {
            if client.try_send_msg(&message).is_err() {
                // Too slow, or gone: its own coroutine now receives the end of the stream and ends.
                let _ = client.options().shutdown(Shutdown::Both);
            }
        }
    }
}
