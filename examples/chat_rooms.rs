//! A chat with rooms: each message of a client goes to all others in its room, over a `Channel`.
//!
//! ```text
//! cargo run --release --example chat_rooms [ADDRESS]              (the server)
//! cargo run --release --example chat_rooms load CLIENTS MESSAGES  (clients, and their server)
//! ```
//!
//! The first message of a client names its room, and is answered with `welcome`. A room is as fast
//! as its slowest client, for a while: whoever says something waits until the channel has room. But
//! a client to which a message could not be sent for [`PATIENCE`] is disconnected, and so nobody
//! holds up the others for longer. One that reads what it gets within that time is never
//! disconnected.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    env, io,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use asyncoro::{
    Address, AsyncSocket,
    future::{Winner, race3},
    scope::stopping,
    serve::serve,
    sync::{Slow, local::Channel},
    time::deadline,
};
use bytes::Bytes;

/// The longest message, in bytes.
const LONGEST: usize = 16 << 10;

/// How many messages of a room may be on their way to some of its clients.
const ON_THE_WAY: usize = 256;

/// How many bytes the system buffers for a client: they delay the moment in which it is found slow.
const BUFFER: usize = 64 << 10;

/// How long after a message was said it must have been sent to each client.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["load", clients, messages] => {
            let number = |text: &str| text.parse::<usize>().map_err(io::Error::other);
            load::run(number(clients)?, number(messages)?)
        }
        _ => run(arguments.first().copied().unwrap_or("127.0.0.1:3457")),
    }
}

fn run(address: &str) -> io::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    asyncoro::run_until(async {
        let listener = AsyncSocket::create_server(address).await?;
        let address = listener.local_addr()?;
        let rooms = Rc::new(Rooms::default());
        // From here on a signal ends it well.
        let served = serve(listener, move |client, peer| chat(client, peer, Rc::clone(&rooms)));
        println!("listening on {address}");
        println!("{:?}", served.await?);
        Ok(())
    })
}

/// What somebody has said.
#[derive(Clone)]
struct Said {
    by: u64,
    at: Instant,
    text: Bytes,
}

type Room = Channel<Said>;

/// The rooms that have somebody in them, by name.
#[derive(Default)]
struct Rooms {
    open: RefCell<BTreeMap<Bytes, Weak<Room>>>,
    last_id: Cell<u64>,
}

impl Rooms {
    fn enter(&self, name: &Bytes) -> (Rc<Room>, u64) {
        let mut open = self.open.borrow_mut();
        open.retain(|_, room| room.strong_count() > 0);
        let room = open.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let room = Rc::new(Room::new(ON_THE_WAY, Slow::Wait));
            open.insert(name.clone(), Rc::downgrade(&room));
            room
        });
        self.last_id.set(self.last_id.get() + 1);
        (room, self.last_id.get())
    }
}

/// Serves a client until it ends its stream, is too slow, or the server is told to stop.
async fn chat(client: AsyncSocket, peer: Address, rooms: Rc<Rooms>) -> io::Result<()> {
    client.set_message_limit(LONGEST);
    client.options().set_send_buffer_size(BUFFER)?;
    let Some(name) = client.recv_msg().await? else { return Ok(()) };
    let (room, id) = rooms.enter(&name);
    // From here on it hears everything.
    let mut hears = room.subscribe();
    client.send_msg(b"welcome").await?;
    let listening = async {
        while let Some(text) = client.recv_msg().await? {
            // Waits while somebody in the room is behind. A room is never closed.
            let _ = room.send(Said { by: id, at: Instant::now(), text }).await;
        }
        io::Result::Ok(())
    };
    let telling = async {
        while let Ok(said) = hears.receive().await {
            if said.by != id {
                deadline(said.at + PATIENCE, client.send_msg(&said.text)).await??;
            }
        }
        io::Result::Ok(())
    };
    match race3(listening, telling, stopping()).await {
        Winner::First(ended) => ended,
        Winner::Second(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            println!("{peer} is too slow, and was disconnected");
            // What is queued for it would be sent for a while.
            client.options().shutdown(std::net::Shutdown::Both)
        }
        Winner::Second(ended) => ended,
        Winner::Third(()) => Ok(()),
    }
}

/// Clients that talk as fast as they can, and one that does not read.
mod load {
    use std::{
        env, io,
        io::{BufRead, BufReader},
        process::{Command, Stdio},
        time::Instant,
    };

    use asyncoro::{
        AsyncSocket,
        future::{join, join_all},
        socket2::{Domain, Type},
    };

    use super::BUFFER;

    const PADDING: &str = "and so on, until it is as long as what people say in one line of a chat";

    pub(super) fn run(clients: usize, messages: usize) -> io::Result<()> {
        let mut server = Command::new(env::current_exe()?);
        let mut server = server.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(server.stdout.take().expect("it is piped")).lines();
        let line = lines.next().expect("it tells where it listens")?;
        let address = line.strip_prefix("listening on ").unwrap_or(&line).to_owned();
        let talked = asyncoro::run(talk(&address, clients, messages));
        // It says so before it is killed.
        let slow = lines.next().transpose()?.unwrap_or_default();
        server.kill()?;
        server.wait()?;
        talked?;
        if !slow.ends_with("is too slow, and was disconnected") {
            return Err(io::Error::other(format!("the server has said {slow:?}")));
        }
        println!("ok: each client has received what the others have sent; {slow}");
        Ok(())
    }

    async fn talk(address: &str, clients: usize, messages: usize) -> io::Result<()> {
        let enter = async |buffer: Option<usize>| {
            let client = AsyncSocket::open(Domain::IPV4, Type::STREAM)?;
            if let Some(buffer) = buffer {
                client.options().set_recv_buffer_size(buffer)?;
            }
            client.connect(address).await?;
            client.send_msg(b"lobby").await?;
            let welcome = client.recv_msg().await?;
            assert_eq!(welcome.as_deref(), Some(&b"welcome"[..]));
            io::Result::Ok(client)
        };
        let healthy = join_all((0..clients).map(|_| enter(None))).await;
        let healthy = healthy.into_iter().collect::<io::Result<Vec<_>>>()?;
        let never_reads = enter(Some(BUFFER)).await?;
        let began = Instant::now();
        let talking = healthy.iter().enumerate().map(|(own, client)| async move {
            let saying = async {
                for number in 0..messages {
                    let text = format!("{own} {number} {PADDING}");
                    client.send_msg(text.as_bytes()).await?;
                }
                io::Result::Ok(())
            };
            // The next number of each of the others.
            let mut next = vec![0; clients];
            let hearing = async {
                for _ in 0..(clients - 1) * messages {
                    let heard = client.recv_msg().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                    let text = std::str::from_utf8(&heard).map_err(io::Error::other)?;
                    let mut words = text.split(' ');
                    let mut word = || words.next().expect("it was sent so");
                    let (who, number) = (word(), word());
                    let who: usize = who.parse().map_err(io::Error::other)?;
                    let number: usize = number.parse().map_err(io::Error::other)?;
                    assert!(who != own && number == next[who], "{own} has heard {text}");
                    next[who] += 1;
                }
                io::Result::Ok(())
            };
            let (said, heard) = join(saying, hearing).await;
            said.and(heard)
        });
        for talked in join_all(talking).await {
            talked?;
        }
        println!(
            "{clients} clients have sent {messages} messages each, and received {} in {:?}",
            clients * (clients - 1) * messages,
            began.elapsed(),
        );
        drop(never_reads);
        Ok(())
    }
}
