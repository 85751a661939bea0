//! Runs each example as its reader would: starts it, talks to it, interrupts it; its exit code must
//! be 0.
//!
//! [`EXAMPLES`] lists them all. A server is run twice, once ended by Ctrl-C (SIGINT) and once by
//! SIGTERM, both while clients are still connected. The clients are in `talk.rs` and `http.rs`, the
//! running program in `process.rs`.

mod http;
mod process;
mod talk;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

pub(crate) use process::Running;

use crate::{Outcome, artifacts, command::Job, root};

/// How long to wait for an answer, a line, or the end of a program.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an example that ends by itself may run.
const WHOLE_RUN: Duration = Duration::from_secs(120);

struct Example {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    /// Listens at the address in its argument, prints `listening on IP:PORT` first, and ends when
    /// interrupted. The function talks to it and returns the connections that it leaves open.
    Server(fn(SocketAddr) -> Outcome<Vec<TcpStream>>),
    /// Anything else; the function starts it and waits for its end.
    Program(fn(&Programs) -> Outcome),
}

const EXAMPLES: &[Example] = &[
    Example { name: "tour", kind: Kind::Program(tour) },
    Example { name: "convert", kind: Kind::Program(convert) },
    Example { name: "echo_server", kind: Kind::Server(talk::echo) },
    Example { name: "msg_server", kind: Kind::Server(talk::messages) },
    Example { name: "chat_server", kind: Kind::Server(talk::chat) },
    Example { name: "chat_client", kind: Kind::Program(chat_client) },
    Example { name: "udp_echo", kind: Kind::Server(talk::datagrams) },
    Example { name: "webserver", kind: Kind::Server(http::talk) },
    Example { name: "forwarder", kind: Kind::Program(forwarder) },
    Example { name: "graceful", kind: Kind::Program(graceful) },
    Example { name: "chat_rooms", kind: Kind::Program(chat_rooms) },
    Example { name: "rpc", kind: Kind::Program(rpc) },
    Example { name: "supervisor", kind: Kind::Program(supervisor) },
    Example { name: "pipeline", kind: Kind::Program(pipeline) },
    Example { name: "retry", kind: Kind::Program(retry) },
    Example { name: "tls_msg_server", kind: Kind::Program(tls_messages) },
    Example { name: "tls_msg_client", kind: Kind::Program(tls_messages) },
    Example { name: "starttls", kind: Kind::Program(starttls) },
    Example { name: "https_get", kind: Kind::Program(https_get) },
];

/// Runs the examples with these names, all of them when none is given.
pub(crate) fn run(names: &[&str]) -> Outcome {
    compare(&files()?)?;
    if let Some(name) = names.iter().find(|name| EXAMPLES.iter().all(|e| e.name != **name)) {
        return Err(format!("there is no example {name} in xtask/src/examples/mod.rs"));
    }
    let programs = Programs::build()?;
    for example in EXAMPLES.iter().filter(|e| names.is_empty() || names.contains(&e.name)) {
        let started = Instant::now();
        check(example, &programs).map_err(|error| format!("example {}: {error}", example.name))?;
        println!("example {:<12} ok in {:.1} s", example.name, started.elapsed().as_secs_f64());
    }
    Ok(())
}

fn check(example: &Example, programs: &Programs) -> Outcome {
    match example.kind {
        Kind::Program(check) => check(programs),
        Kind::Server(talk) => ["INT", "TERM"].iter().try_for_each(|signal| {
            let (mut server, address) = programs.server(example.name)?;
            let talked = talk(address).map_err(|error| server.explain(&error));
            let open_connections = talked?;
            server.signal(signal)?;
            let ended = server.end(PATIENCE);
            drop(open_connections);
            ended.map_err(|error| format!("after SIG{signal}: {error}"))
        }),
    }
}

/// Returns the names of the files in `examples/`.
fn files() -> Outcome<BTreeSet<String>> {
    let folder = root().join("examples");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let sources = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    Ok(sources.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect())
}

/// Fails if an example has no check, or a check no example.
fn compare(files: &BTreeSet<String>) -> Outcome {
    let listed: BTreeSet<String> = EXAMPLES.iter().map(|example| example.name.to_owned()).collect();
    if let Some(name) = files.difference(&listed).next() {
        return Err(format!(
            "examples/{name}.rs has no line in EXAMPLES in xtask/src/examples/mod.rs"
        ));
    }
    match listed.difference(files).next() {
        Some(name) => {
            Err(format!("EXAMPLES in xtask lists {name}, but examples/{name}.rs is missing"))
        }
        None => Ok(()),
    }
}

/// The built examples, ready to be started.
struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    fn build() -> Outcome<Self> {
        artifacts::build(Job::cargo("build --package asyncoro --examples")).map(Programs)
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Outcome<Running> {
        let path = self.0.get(name).ok_or_else(|| format!("cargo built no example {name}"))?;
        Running::start(name, path, arguments)
    }

    /// Starts a server on a free port and waits until it listens.
    fn server(&self, name: &str) -> Outcome<(Running, SocketAddr)> {
        let mut server = self.start(name, &["127.0.0.1:0"])?;
        let address = server.listening()?;
        Ok((server, address))
    }
}

fn tour(programs: &Programs) -> Outcome {
    let mut tour = programs.start("tour", &[])?;
    tour.end(WHOLE_RUN)?;
    match tour.last_line() {
        Some(line) if line.starts_with("ok:") => Ok(()),
        other => Err(format!("the last line does not begin with ok: {other:?}")),
    }
}

fn supervisor(programs: &Programs) -> Outcome {
    let mut supervisor = programs.start("supervisor", &[])?;
    supervisor.line_with("panicked: it never works; given up")?;
    supervisor.line_with("ok:")?;
    supervisor.end(WHOLE_RUN)
}

fn graceful(programs: &Programs) -> Outcome {
    let mut graceful = programs.start("graceful", &[])?;
    graceful.line_with("ok:")?;
    graceful.end(WHOLE_RUN)
}

/// Runs its server, and the clients that it brings.
fn chat_rooms(programs: &Programs) -> Outcome {
    let mut load = programs.start("chat_rooms", &["load", "16", "500"])?;
    load.line_with("ok:")?;
    load.end(WHOLE_RUN)?;
    for signal in ["INT", "TERM"] {
        let (mut server, address) = programs.server("chat_rooms")?;
        let client = talk::Peer::connect(address)?;
        server.signal(signal)?;
        server.end(PATIENCE)?;
        drop(client);
    }
    Ok(())
}

fn rpc(programs: &Programs) -> Outcome {
    let mut rpc = programs.start("rpc", &[])?;
    rpc.line_with("ok:")?;
    rpc.end(WHOLE_RUN)?;
    let mut server = programs.start("rpc", &["serve", "127.0.0.1:0"])?;
    server.listening()?;
    server.signal("TERM")?;
    server.end(PATIENCE)
}

fn convert(programs: &Programs) -> Outcome {
    programs.start("convert", &[])?.end(WHOLE_RUN)
}

fn pipeline(programs: &Programs) -> Outcome {
    let mut pipeline = programs.start("pipeline", &[])?;
    pipeline.line_with("the: 3")?;
    pipeline.line_with("row: 2")?;
    pipeline.line_with("program 4: exit status: 0")?;
    pipeline.end(WHOLE_RUN)
}

/// Checks both directions through a chat server, then both ways to end: end of input and Ctrl-C.
fn chat_client(programs: &Programs) -> Outcome {
    let (_server, address) = programs.server("chat_server")?;
    let mut other = talk::Peer::connect(address)?;
    let mut client = programs.start("chat_client", &[&address.to_string()])?;
    // Several times, since a client takes part only after it has joined.
    other.until_heard("from the terminal", || client.type_line("from the terminal"))?;
    other.send(b"to the terminal")?;
    client.line_with("to the terminal")?;
    client.end_input();
    client.end(PATIENCE)?;

    let mut client = programs.start("chat_client", &[&address.to_string()])?;
    other.until_heard("once more", || client.type_line("once more"))?;
    client.signal("INT")?;
    client.end(PATIENCE)
}

/// Runs it in front of the echo server, and interrupts it while a connection is open.
fn forwarder(programs: &Programs) -> Outcome {
    let (_server, target) = programs.server("echo_server")?;
    for signal in ["INT", "TERM"] {
        let arguments = ["127.0.0.1:0", &target.to_string()];
        let mut forwarder = programs.start("forwarder", &arguments)?;
        let address = forwarder.listening()?;
        let open_connections = talk::echo(address).map_err(|error| forwarder.explain(&error))?;
        forwarder.line_with("300005 bytes there, 300005 bytes back")?;
        forwarder.signal(signal)?;
        forwarder.end(PATIENCE)?;
        drop(open_connections);
    }
    Ok(())
}

/// Runs it against a server that answers.
fn retry(programs: &Programs) -> Outcome {
    let (_server, address) = programs.server("msg_server")?;
    programs.start("retry", &[&address.to_string()])?.end(WHOLE_RUN)
}

/// Runs the client against the server, with the certificate that the server made.
fn tls_messages(programs: &Programs) -> Outcome {
    let (mut server, address) = programs.server("tls_msg_server")?;
    let certificate = line_after(&mut server, "certificate in ")?;
    let address = format!("localhost:{}", address.port());
    programs.start("tls_msg_client", &[&address, &certificate])?.end(PATIENCE)?;
    server.signal("TERM")?;
    server.end(PATIENCE)
}

fn starttls(programs: &Programs) -> Outcome {
    programs.start("starttls", &[])?.end(WHOLE_RUN)
}

/// Runs it against the web server, with the certificate of another example.
fn https_get(programs: &Programs) -> Outcome {
    let (mut server, _) = programs.server("tls_msg_server")?;
    let certificate = line_after(&mut server, "certificate in ")?;
    let key = line_after(&mut server, "key in ")?;
    let mut web = programs.start("webserver", &["127.0.0.1:0", &certificate, &key])?;
    let port = web.listening()?.port().to_string();
    let mut get = programs.start("https_get", &["localhost", &port, "/", &certificate])?;
    get.line_with("Pong!")?;
    get.end(PATIENCE)?;
    // It removes its files at its end.
    server.signal("TERM")?;
    server.end(PATIENCE)
}

/// Waits for a line with `words`, and returns the rest of it.
fn line_after(server: &mut Running, words: &str) -> Outcome<String> {
    let line = server.line_with(words)?;
    let path = line.split_once(words).map(|(_, path)| path.trim().to_owned());
    path.ok_or_else(|| format!("no path in {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_table_must_agree() {
        let mut names: BTreeSet<String> = EXAMPLES.iter().map(|e| e.name.to_owned()).collect();
        assert_eq!(compare(&names), Ok(()));
        names.insert("new_one".to_owned());
        assert!(compare(&names).unwrap_err().contains("new_one.rs has no line"));
        names.remove("new_one");
        names.remove("tour");
        assert!(compare(&names).unwrap_err().contains("tour.rs is missing"));
    }
}
