//! Servers in processes of their own: signals, limits, listeners that others hand over, restarts.

use std::{
    env,
    fs::File,
    future::pending,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    time::Duration,
};

use asyncoro::{
    AsyncSocket,
    error::os_code,
    future::join,
    scope::stopping,
    serve::{self, Server, inherited, inheriting, serve},
    signal,
    time::sleep,
};
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::{programs::Program, within::within};

/// The environment variable that names the part which this process plays.
const PART: &str = "ASYNCORO_TEST_SERVES";

const PARTS: &[(&str, fn())] = &[
    ("two servers", two_servers),
    ("started with a listener", started_with_a_listener),
    ("stopped before a signal", stopped_before_a_signal),
    ("two names and none", two_names_and_none),
    ("missing descriptor", missing_descriptor),
    ("own descriptor", own_descriptor),
    ("no number", no_number),
    ("of another process", of_another_process),
];

/// Plays one of [`PARTS`] in a child process; no test by itself.
#[test]
fn part() {
    let name = env::var(PART).unwrap_or_default();
    if let Some((_, part)) = PARTS.iter().find(|(known, _)| *known == name) {
        part();
        println!("the part was played");
    }
}

fn playing(part: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "serve_processes::part", "--nocapture"]).env(PART, part);
    command
}

/// Runs one that needs nobody else, with the variables of socket activation.
fn plays_with_descriptors(part: &'static str, script: &'static str) {
    within(move || {
        let playing = playing(part);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{script}; exec \"$0\" \"$@\"")]);
        shell.arg(playing.get_program()).args(playing.get_args()).env(PART, part);
        let program = Program::start(&mut shell);
        program.line_with("the part was played");
        program.end();
    });
}

async fn echo(client: AsyncSocket) -> io::Result<()> {
    while let Some(message) = client.recv_msg().await? {
        client.send_msg(&message).await?;
    }
    Ok(())
}

/// Asks over a regular socket.
fn ask(client: &mut std::net::TcpStream, text: &str) {
    client.write_all(&(text.len() as u32).to_be_bytes()).unwrap();
    client.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; 4 + text.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[4..], text.as_bytes());
}

// ---- parts

/// Two servers whose handlers end only by force.
fn two_servers() {
    asyncoro::run_until(async {
        let one = async || {
            let listener = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
            println!("listening on {}", listener.local_addr().unwrap());
            let serving = Server::new(listener).grace(Duration::from_secs(60)).quiet(None);
            serving.serve(|client, _| async move {
                client.send_msg(b"here").await?;
                stopping().await;
                client.send_msg(b"told").await?;
                pending::<io::Result<()>>().await
            })
        };
        let (first, second) = (one().await, one().await);
        let (first, second) = join(first, second).await;
        for served in [first.unwrap(), second.unwrap()] {
            assert_eq!((served.connections, served.forced), (1, 1));
        }
    });
}

fn started_with_a_listener() {
    asyncoro::run_until(async {
        // The address is another one; it is not used.
        let listener = serve::listener("127.0.0.1:1").await.unwrap();
        let flags = rustix::io::fcntl_getfd(&listener).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert!(inherited().unwrap().is_empty(), "they are taken once");
        println!("listening on {}", listener.local_addr().unwrap());
        let served = serve(listener, |client, _| echo(client)).await.unwrap();
        assert_eq!((served.connections, served.failed, served.forced), (2, 0, 0));
    });
}

/// A server that is told to stop by its handler, and then by the first signal.
fn stopped_before_a_signal() {
    asyncoro::run_until(async {
        let listener = AsyncSocket::create_server("127.0.0.1:0").await.unwrap();
        println!("listening on {}", listener.local_addr().unwrap());
        let server = Server::new(listener).grace(Duration::from_secs(60));
        let handle = server.handle();
        let serving = server.serve(move |client, _| {
            let handle = handle.clone();
            async move {
                client.recv_msg().await?;
                handle.stop();
                stopping().await;
                let mut terminated = signal::terminate();
                kill_process(getpid(), Signal::TERM)?;
                (&mut terminated).await?;
                // The server has had its turn since, and has cut nothing.
                sleep(Duration::from_millis(50)).await;
                client.send_msg(b"answer").await
            }
        });
        let served = serving.await.unwrap();
        assert_eq!((served.connections, served.failed, served.forced), (1, 0, 0));
    });
}

fn two_names_and_none() {
    let names: Vec<_> = inherited().unwrap().iter().map(|one| one.name().to_owned()).collect();
    assert_eq!(names, ["a", "unknown", "c"]);
}

fn missing_descriptor() {
    assert_eq!(os_code(&inherited().unwrap_err()), Some(libc::EBADF));
}

fn own_descriptor() {
    // What was opened here has one of the numbers.
    let _own: Vec<File> = (0..3).map(|_| File::open("/dev/null").unwrap()).collect();
    assert_eq!(inherited().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert!(inherited().unwrap().is_empty());
}

fn no_number() {
    assert_eq!(inherited().unwrap_err().kind(), io::ErrorKind::InvalidData);
}

fn of_another_process() {
    assert!(inherited().unwrap().is_empty());
}

// ---- tests

#[test]
fn one_signal_stops_all_servers_of_a_program_and_a_second_one_ends_them() {
    for [first, second] in [[Signal::TERM, Signal::INT], [Signal::INT, Signal::INT]] {
        within(move || {
            let program = Program::start(&mut playing("two servers"));
            let mut clients = [(); 2].map(|()| {
                let address = program.line_with("listening on ").split_off("listening on ".len());
                std::net::TcpStream::connect(address).unwrap()
            });
            let mut hear = |text: &str| {
                for client in &mut clients {
                    let mut message = [0; 8];
                    client.read_exact(&mut message).unwrap();
                    assert_eq!(&message[4..], text.as_bytes());
                }
            };
            hear("here");
            program.signal(first);
            hear("told");
            program.signal(second);
            program.line_with("the part was played");
            program.end();
            assert!(clients.iter_mut().all(|client| client.read(&mut [0]).unwrap() == 0));
        });
    }
}

#[test]
fn a_process_finds_the_listener_that_it_was_started_with_and_its_queue() {
    within(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut early = std::net::TcpStream::connect(address).unwrap();
        let listener = AsyncSocket::new(listener).unwrap();
        let like = playing("started with a listener");
        let mut command = inheriting(like.get_program(), &listener, "web").unwrap();
        // What the caller sets is set for the program, and a cleared environment loses nothing.
        command.args(like.get_args()).env_clear().env(PART, "started with a listener");
        let mut program = command.stdout(Stdio::piped()).spawn().unwrap();
        assert!(inheriting("true", &listener, "a:b").is_err());
        for missing in ["/no/such/program", "no-such-program"] {
            let refused = inheriting(missing, &listener, "web").unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        }
        drop((command, listener));
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let told = format!("listening on {address}");
        assert!(lines.any(|line| line.unwrap().ends_with(&told)));
        let mut late = std::net::TcpStream::connect(address).unwrap();
        ask(&mut late, "late");
        ask(&mut early, "early");
        kill_process(Pid::from_child(&program), Signal::TERM).unwrap();
        assert!(lines.any(|line| line.unwrap() == "the part was played"));
        assert!(program.wait().unwrap().success());
    });
}

#[test]
fn the_first_signal_after_another_stop_cuts_nothing() {
    within(|| {
        let program = Program::start(&mut playing("stopped before a signal"));
        let address = program.line_with("listening on ").split_off("listening on ".len());
        let mut client = std::net::TcpStream::connect(address).unwrap();
        ask(&mut client, "answer");
        program.line_with("the part was played");
        program.end();
    });
}

#[test]
fn a_descriptor_without_a_name_takes_no_name_of_another_one() {
    plays_with_descriptors(
        "two names and none",
        "export LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=a::c; \
         exec 3</dev/null 4</dev/null 5</dev/null",
    );
}

#[test]
fn variables_of_socket_activation_that_make_no_sense_are_refused() {
    plays_with_descriptors("missing descriptor", "export LISTEN_PID=$$ LISTEN_FDS=900");
    plays_with_descriptors("own descriptor", "export LISTEN_PID=$$ LISTEN_FDS=1");
    plays_with_descriptors("no number", "export LISTEN_PID=$$ LISTEN_FDS=-1");
    plays_with_descriptors("no number", "export LISTEN_PID=$$");
    plays_with_descriptors("of another process", "export LISTEN_PID=1 LISTEN_FDS=1");
    plays_with_descriptors("of another process", "export LISTEN_PID=x LISTEN_FDS=1");
    plays_with_descriptors("of another process", "unset LISTEN_PID LISTEN_FDS");
}

/// Runs a part of the example, which checks all that it does.
fn graceful(arguments: &'static [&str]) {
    within(|| {
        let program = Program::example("graceful", arguments);
        program.line_with("ok: no request was lost");
        program.end();
    });
}

#[test]
fn a_signal_in_the_middle_of_traffic_loses_no_request() {
    graceful(&["term", "300"]);
}

#[test]
fn at_the_limit_of_files_the_old_connections_go_on_and_new_ones_wait_without_a_spin() {
    graceful(&["files", "64"]);
}

#[test]
fn restarts_under_load_fail_no_request() {
    graceful(&["restart", "5000"]);
}

/// 64 clients at once; they send 2,000 messages each where the programs are built for that.
#[test]
fn a_chat_with_rooms_loses_nothing_and_disconnects_who_does_not_read() {
    let messages = if cfg!(debug_assertions) { "100" } else { "2000" };
    within(move || {
        let program = Program::example("chat_rooms", &["load", "64", messages]);
        program.line_with("ok: each client has received what the others have sent");
        program.end();
    });
}
