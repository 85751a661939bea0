//! The chat examples with pycos's own chat, in both directions.

use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use asyncoro::BlockingSocket;

use crate::programs::{Program, or_skip, output};

/// Returns a chat program of pycos, if pycos is installed.
fn pycos(script: &str) -> Option<Command> {
    let python = or_skip("ASYNCORO_PYCOS_PYTHON", env::var_os("ASYNCORO_PYCOS_PYTHON"))?;
    let package = output(Command::new(&python).args(["-c", "import pycos; print(pycos.__file__)"]));
    // It logs to standard output; the last line is ours.
    let package = Path::new(package.lines().last().unwrap()).parent().unwrap();
    let script: PathBuf = package.join("examples").join(script);
    let mut command = Command::new(python);
    command.arg("-u").arg(script).stderr(Stdio::inherit());
    Some(command)
}

fn pycos_client(address: &str) -> Option<Program> {
    let (host, port) = address.split_once(':')?;
    Some(Program::start(pycos("chat_sock_client.py")?.args([host, port])))
}

/// Returns the number in `id: 7`, the first line of a client.
fn id(client: &Program) -> String {
    client.line_with("id: ").split_off("id: ".len())
}

/// Checks that a client of pycos and one of ours receive each other's messages, and notice each
/// other's end.
fn converse(address: &str, mut python: Program) {
    let python_id = id(&python);
    let mut rust = Program::example("chat_client", &[address]);
    let rust_id = id(&rust);
    python.line_with(&format!("{rust_id} joined"));

    python.type_line("hello from Python");
    assert_eq!(rust.line_with("hello"), format!("{python_id} says: hello from Python"));
    rust.type_line("hëllo from Rust");
    assert_eq!(python.line_with("llo"), format!("{rust_id} says: hëllo from Rust"));

    rust.type_line("quit");
    python.line_with(&format!("{rust_id} left"));
    rust.end();
    let rust = Program::example("chat_client", &[address]);
    id(&rust);
    python.type_line("quit");
    rust.line_with(&format!("{python_id} left"));
    python.end();
    rust.terminate();
}

#[test]
fn chat_server_serves_clients_of_pycos() {
    let (server, address) = Program::server("chat_server");
    let Some(python) = pycos_client(&address) else { return };
    converse(&address, python);
    server.terminate();
}

#[test]
fn chat_client_talks_through_a_server_of_pycos() {
    let Some(mut server) = pycos("chat_sock_server.py") else { return };
    // It takes a port and does not say which one it has got for 0.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Program::start(server.args(["127.0.0.1", &port.to_string()]));
    server.line_with("server at");
    let address = format!("127.0.0.1:{port}");
    let Some(python) = pycos_client(&address) else { return };
    converse(&address, python);
}

#[test]
fn chat_goes_on_when_one_client_does_not_read() {
    let (server, address) = Program::server("chat_server");
    let join = || BlockingSocket::create_connection(&*address).unwrap();
    let hear = |socket: &BlockingSocket| socket.recv_msg().unwrap().unwrap();
    let listener = join();
    assert_eq!(hear(&listener), "id: 1");
    let stuck = join();
    assert_eq!(hear(&listener), "2 joined");
    let speaker = join();
    assert_eq!(hear(&listener), "3 joined");

    // More than the system holds for it.
    let text = "long ".repeat(3000);
    let mut left = false;
    for _ in 0..3000 {
        speaker.send_msg(text.as_bytes()).unwrap();
        let mut heard = hear(&listener);
        if heard == "2 left" {
            left = true;
            heard = hear(&listener);
        }
        assert_eq!(heard, format!("3 says: {text}"));
        if left {
            break;
        }
    }
    assert!(left, "a client that does not read is disconnected");
    drop(stuck);
    server.terminate();
}
