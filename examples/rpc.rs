//! Remote calls as lines of JSON: a client for many callers at once, and a server to try it with.
//!
//! ```text
//! cargo run --release --example rpc                       (both, and what may go wrong)
//! cargo run --release --example rpc serve [ADDRESS]       (for `nc 127.0.0.1 7010`)
//! ```
//!
//! A call is `{"id":1,"method":"add","params":[1,2]}`, its answer `{"id":1,"result":3.0}` or
//! `{"id":1,"error":"..."}`; answers come in any order. The client has one connection for all who
//! call. If it is lost, calls that were sent end with an error, since the server may have carried
//! them out; those that were not are sent over the next one. A call that is dropped or takes too
//! long is forgotten.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    env, fmt, io,
    rc::Rc,
    time::{Duration, Instant},
};

use asyncoro::{
    Address, AsyncSocket, Coro,
    future::{Winner, join_all, race},
    scope::{scope, stopping},
    serve::{Server, ServerHandle},
    sync::local::{Event, OneshotSender, oneshot},
    time::{sleep, timeout},
};
use serde_json::{Value, json};

/// The longest line, in bytes.
const LONGEST: usize = 1 << 20;

/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause before the first attempt to connect anew; it doubles with each, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    asyncoro::run_until(async {
        match arguments[..] {
            [] => try_all().await,
            ["serve", ref address @ ..] => {
                let address = *address.first().unwrap_or(&"127.0.0.1:7010");
                let listener = AsyncSocket::create_server(address).await?;
                let address = listener.local_addr()?;
                // From here on a signal ends it well.
                let serving = Server::new(listener).serve(answer_all);
                println!("listening on {address}");
                serving.await.map(drop)
            }
            _ => Err(io::Error::other("see the head of examples/rpc.rs")),
        }
    })
}

// ---- the client

/// Calls over one connection, which is made anew when it is lost. Its clones share it.
#[derive(Clone)]
struct Client {
    calls: Rc<Calls>,
    connects: Rc<Connects>,
}

/// The coroutine that has the connection; it ends with the last client.
struct Connects(Coro<()>);

impl Drop for Connects {
    fn drop(&mut self) {
        self.0.terminate();
    }
}

/// The calls that have no answer.
#[derive(Default)]
struct Calls {
    open: RefCell<BTreeMap<u64, Call>>,
    last_id: Cell<u64>,
    /// Some were not sent.
    more: Event,
}

struct Call {
    /// Its line, until it is sent.
    line: Option<String>,
    answer: OneshotSender<Result<Value, CallError>>,
}

#[derive(Debug, PartialEq)]
enum CallError {
    /// The server has answered with an error.
    Refused(String),
    /// The connection was lost after the call was sent.
    Lost,
    TimedOut,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Refused(why) => write!(f, "the server refuses: {why}"),
            CallError::Lost => f.write_str("the connection was lost; it may have been done or not"),
            CallError::TimedOut => f.write_str("there was no answer in time"),
        }
    }
}

impl std::error::Error for CallError {}

impl Client {
    fn new(address: Address) -> Client {
        let calls = Rc::new(Calls::default());
        let connects = asyncoro::spawn(keep_connected(address, Rc::clone(&calls)));
        Client { calls, connects: Rc::new(Connects(connects)) }
    }

    /// Calls a method, and waits for its answer, for `limit` at most.
    async fn call(&self, method: &str, params: Value, limit: Duration) -> Result<Value, CallError> {
        let id = self.calls.last_id.get() + 1;
        self.calls.last_id.set(id);
        let line = json!({ "id": id, "method": method, "params": params }).to_string();
        let (answer, answered) = oneshot();
        self.calls.open.borrow_mut().insert(id, Call { line: Some(line), answer });
        self.calls.more.set();
        // However this ends, and if it is dropped.
        let _forgotten = Forgotten { calls: &self.calls, id };
        match timeout(limit, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::Lost),
            Err(_) => Err(CallError::TimedOut),
        }
    }
}

struct Forgotten<'a> {
    calls: &'a Calls,
    id: u64,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.calls.open.borrow_mut().remove(&self.id);
    }
}

async fn keep_connected(address: Address, calls: Rc<Calls>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let connecting = AsyncSocket::create_connection(address.clone());
        if let Ok(Ok(socket)) = timeout(PATIENCE, connecting).await {
            let answers = Cell::new(0);
            let (sending, receiving) = (calls.send(&socket), calls.receive(&socket, &answers));
            let ended = match race(sending, receiving).await {
                Winner::First(ended) | Winner::Second(ended) => ended,
            };
            if let Err(error) = ended {
                println!("the connection was lost: {error}");
            }
            calls.lose();
            if answers.get() > 0 {
                pause = FIRST_PAUSE;
            }
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

impl Calls {
    /// Sends calls as they come, all that have come in one piece.
    async fn send(&self, socket: &AsyncSocket) -> io::Result<()> {
        loop {
            self.more.clear();
            let mut lines = String::new();
            for line in self.open.borrow_mut().values_mut().filter_map(|call| call.line.take()) {
                lines.push_str(&line);
                lines.push('\n');
            }
            socket.send_all(lines.as_bytes()).await?;
            self.more.wait().await;
        }
    }

    async fn receive(&self, socket: &AsyncSocket, answers: &Cell<u64>) -> io::Result<()> {
        while let Some(line) = socket.recv_line(LONGEST).await? {
            let mut answer: Value = serde_json::from_slice(&line)?;
            let id = answer["id"].as_u64().unwrap_or(0);
            answers.set(answers.get() + 1);
            let call = self.open.borrow_mut().remove(&id);
            // Nobody waits for it any more, if there is none.
            if let Some(call) = call {
                let result = match answer["error"].as_str() {
                    Some(why) => Err(CallError::Refused(why.to_owned())),
                    None => Ok(answer["result"].take()),
                };
                let _ = call.answer.send(result);
            }
        }
        Ok(())
    }

    /// Ends the calls that were sent.
    fn lose(&self) {
        let (sent, unsent) = self.open.take().into_iter().partition(|(_, c)| c.line.is_none());
        self.open.replace(unsent);
        let sent: BTreeMap<u64, Call> = sent;
        for call in sent.into_values() {
            let _ = call.answer.send(Err(CallError::Lost));
        }
    }
}

// ---- the server

/// Answers the calls of a connection, each as soon as it is done.
async fn answer_all(client: AsyncSocket, _: Address) -> io::Result<()> {
    let client = &client;
    scope(async |s| {
        loop {
            let line = match race(client.recv_line(LONGEST), stopping()).await {
                Winner::First(line) => line?,
                // The calls that have begun are answered, since the scope waits for them.
                Winner::Second(()) => None,
            };
            let Some(line) = line else { return Ok(()) };
            let call: Value = serde_json::from_slice(&line)?;
            if call["method"] == "leave" {
                // As if the server had failed.
                return client.options().shutdown(std::net::Shutdown::Both);
            }
            s.spawn(async move {
                let answer = answer(&call).await;
                // It has gone, if this fails.
                let _ = client.send_all(format!("{answer}\n").as_bytes()).await;
            });
        }
    })
    .await
}

async fn answer(call: &Value) -> Value {
    let params: Option<Vec<f64>> =
        call["params"].as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
    let result = match (call["method"].as_str(), params.as_deref()) {
        (Some("add"), Some(numbers)) => Ok(numbers.iter().sum::<f64>()),
        (Some("divide"), Some([_, 0.0])) => Err("division by zero".to_owned()),
        (Some("divide"), Some([dividend, divisor])) => Ok(dividend / divisor),
        (Some("sleep"), Some([seconds @ 0.0..60.0])) => {
            sleep(Duration::from_secs_f64(*seconds)).await;
            Ok(*seconds)
        }
        (method, _) => Err(format!("there is no such method, or not with these: {method:?}")),
    };
    match result {
        Ok(result) => json!({ "id": call["id"], "result": result }),
        Err(error) => json!({ "id": call["id"], "error": error }),
    }
}

/// Starts a server; returns its address, and how to stop it.
async fn start(address: &str) -> io::Result<(Address, ServerHandle, Coro<()>)> {
    let listener = AsyncSocket::create_server(address).await?;
    let address = listener.local_addr()?;
    let server = Server::new(listener).without_signals();
    let handle = server.handle();
    let serving = asyncoro::spawn(async { drop(server.serve(answer_all).await) });
    Ok((address, handle, serving))
}

// ---- what may go wrong

async fn try_all() -> io::Result<()> {
    const LONG: Duration = Duration::from_secs(30);
    let (address, handle, serving) = start("127.0.0.1:0").await?;
    let client = Client::new(address.clone());

    let began = Instant::now();
    let callers = (0..100_u32).map(|caller| {
        let client = client.clone();
        async move {
            for number in 0..20 {
                // The later ones are answered first.
                let seconds = f64::from(100 - caller) / 10_000.0;
                client.call("sleep", json!([seconds]), LONG).await?;
                let sum = client.call("add", json!([caller, number]), LONG).await?;
                assert_eq!(sum, json!(f64::from(caller + number)));
            }
            Ok::<_, CallError>(())
        }
    });
    for called in join_all(callers).await {
        called.map_err(io::Error::other)?;
    }
    println!("4000 calls of 100 callers over one connection in {:?}", began.elapsed());

    let refused = client.call("divide", json!([1, 0]), LONG).await;
    assert_eq!(refused, Err(CallError::Refused("division by zero".to_owned())));

    let late = client.call("sleep", json!([1]), Duration::from_millis(20)).await;
    assert_eq!(late, Err(CallError::TimedOut));
    assert!(client.calls.open.borrow().is_empty(), "it is forgotten");
    println!("a call that takes too long is given up: {}", CallError::TimedOut);

    // The server leaves without an answer; the next call goes over a new connection.
    assert_eq!(client.call("leave", json!([]), LONG).await, Err(CallError::Lost));
    assert_eq!(client.call("add", json!([1, 2]), LONG).await, Ok(json!(3.0)));
    println!("the client has connected anew");

    // While there is no server, calls wait.
    handle.stop();
    let _ = serving.await;
    let waiting = client.clone();
    let waiting = asyncoro::spawn(async move { waiting.call("add", json!([2, 2]), LONG).await });
    sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    let (_, handle, serving) = start(&address.to_string()).await?;
    assert_eq!(waiting.await?, Ok(json!(4.0)));
    handle.stop();
    let _ = serving.await;
    drop(client.connects);
    println!("ok: each call was answered, or has ended with an error that says why");
    Ok(())
}
