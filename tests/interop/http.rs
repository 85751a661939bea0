//! hyper, hyper-util, axum and h2 on asyncoro's sockets: the examples with curl, wrk, h2load and
//! nginx, and hyper with itself on each kind of socket.

use std::{
    convert::Infallible,
    env, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use asyncoro::{
    AsyncSocket,
    interop::{Executor, Timer},
    spawn,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{http1, http2},
    server::conn as server,
    service::service_fn,
};
use hyper_util::server::conn::auto;
use rcgen::generate_simple_self_signed;
use rustix::process::Signal;

use crate::{
    nginx::Nginx,
    pairs::{KINDS, pair, run},
    programs::{Program, output, tool},
};

const MIB: u64 = 1 << 20;

/// How many bytes a large body has: those of 64 MiB, or as the nightly run asks.
fn large() -> u64 {
    let asked = env::var("ASYNCORO_BODY_MIB").ok();
    MIB * asked.map_or(64, |count| count.parse().expect("ASYNCORO_BODY_MIB is a count"))
}

/// How much a program may grow while a large body passes through it.
const FEW: u64 = 4 * MIB;

/// Returns the most memory that a program has had, in bytes.
fn peak(program: &Program) -> u64 {
    let path = format!("/proc/{}/status", program.id().as_raw_nonzero());
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    1024 * kilobytes
}

fn curl() -> Option<Command> {
    let mut curl = tool("curl")?;
    curl.args(["-sS", "--max-time", "50"]);
    Some(curl)
}

/// Runs a tool with this input; returns what it prints.
fn fed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command:?} ended with {}", output.status);
    output.stdout
}

#[test]
fn hyper_server_answers_curl_in_either_version() {
    let Some(mut one) = curl() else { return };
    let (server, address) = Program::server("hyper_server");
    let shown = ["-w", "%{http_version} %{http_code} %{num_connects}\n"];
    let [page, other] = ["", "other"].map(|path| format!("http://{address}/{path}"));
    assert_eq!(
        output(one.args(shown).args([&page, &page, &other])),
        "Hello, world!\n1.1 200 1\nHello, world!\n1.1 200 0\nThere is no such page.\n1.1 404 0\n"
    );
    // One page at a time: curl 7.88 cannot go on with a connection of HTTP/2 without TLS.
    let mut two = curl().unwrap();
    two.args(shown).args(["--http2-prior-knowledge", &page]);
    assert_eq!(output(&mut two), "Hello, world!\n2 200 1\n");
    server.terminate();
}

#[test]
fn hyper_server_echoes_bodies_of_known_and_unknown_length() {
    let (server, address) = Program::server("hyper_server");
    let body: Vec<u8> = (0..3 * MIB).map(|at| (at % 251) as u8).collect();
    let echo = format!("http://{address}/echo");
    for option in ["--http1.1", "--http2-prior-knowledge"] {
        // Data from standard input is sent in chunks where the version has them.
        for way in [["-T", "-"], ["--data-binary", "@-"]] {
            let Some(mut curl) = curl() else { return };
            // curl sends what it knows the length of with Expect: 100-continue.
            curl.arg(option).args(way).args(["-X", "POST", &echo]);
            assert!(fed(&mut curl, &body) == body, "{option} {way:?}");
        }
    }
    server.terminate();
}

#[test]
fn hyper_server_speaks_tls_in_the_version_that_the_client_asks_for() {
    let folder = env::temp_dir().join(format!("asyncoro-https-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let identity = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.join(name));
    fs::write(&chain, identity.cert.pem()).unwrap();
    fs::write(&key, identity.signing_key.serialize_pem()).unwrap();
    let [chain, key] = [&chain, &key].map(|path| path.to_str().unwrap());
    let server = Program::example("hyper_server", &["127.0.0.1:0", chain, key]);
    let address = server.line_with("listening on ").split_off("listening on ".len());
    let port = address.rsplit_once(':').unwrap().1;
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let Some(mut curl) = curl() else { return };
        let page = format!("https://localhost:{port}/");
        curl.args([option, "-w", "%{http_version} %{num_connects}\n", "--cacert", chain]);
        let greeting = "Hello, world!\n";
        assert_eq!(
            output(curl.args([&page, &page])),
            format!("{greeting}{version} 1\n{greeting}{version} 0\n")
        );
    }
    server.terminate();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn hyper_server_stands_wrk_and_h2load() {
    let (server, address) = Program::server("hyper_server");
    let page = format!("http://{address}/");
    if let Some(mut wrk) = tool("wrk") {
        let text = output(wrk.args(["-t1", "-c64", "-d2s", &page]));
        assert!(text.contains("Requests/sec"), "{text}");
        assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    }
    for (version, streams) in [("--h1", "1"), ("--no-tls-proto=h2c", "32")] {
        let Some(mut h2load) = tool("h2load") else { return };
        let text = output(h2load.args(["-n10000", "-c32", version, "-m", streams, &page]));
        let all = "10000 total, 10000 started, 10000 done, 10000 succeeded, 0 failed, 0 errored";
        assert!(text.contains(all), "{text}");
    }
    server.terminate();
}

#[test]
fn large_bodies_pass_through_hyper_server_in_little_memory() {
    let (server, address) = Program::server("hyper_server");
    let Some(nginx) = Nginx::before(&address) else { return };
    let Some(mut once) = curl() else { return };
    nginx.zeros("zeros", large());
    let body = nginx.path("zeros").to_str().unwrap().to_owned();
    let bytes = format!("{} bytes\n", large());
    let count = |option: &str, url: &str| {
        let mut curl = curl().unwrap();
        curl.args([option, "-H", "Transfer-Encoding: chunked", "-T", &body, url]);
        assert_eq!(output(&mut curl), bytes, "{option} {url}");
    };
    assert_eq!(output(once.arg(format!("http://{address}/"))), "Hello, world!\n");
    let before = peak(&server);
    // In one direction through nginx, in both without.
    count("--http1.1", &format!("http://{}/hyper/count", nginx.address));
    count("--http2-prior-knowledge", &format!("http://{address}/count"));
    let mut curl = curl().unwrap();
    curl.args(["-o", "/dev/null", "-w", "%{size_download} bytes\n", "-T", &body]);
    assert_eq!(output(curl.arg(format!("http://{address}/echo"))), bytes);
    let grown = peak(&server) - before;
    println!("hyper_server: {grown} bytes of memory for {bytes}");
    assert!(grown < FEW, "{grown} bytes of memory for {bytes}");
    server.terminate();
}

#[test]
fn nginx_keeps_its_connections_to_hyper_server() {
    let (server, address) = Program::server("hyper_server");
    let Some(nginx) = Nginx::before(&address) else { return };
    let Some(mut wrk) = tool("wrk") else { return };
    let page = format!("http://{}/hyper/", nginx.address);
    // Were they not kept, the system would run out of ports.
    let text = output(wrk.args(["-t1", "-c4", "-d2s", &page]));
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    server.terminate();
}

#[test]
fn hyper_server_answers_what_has_come_before_it_ends() {
    let (server, address) = Program::server("hyper_server");
    let head = "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n";
    let mut halfway = TcpStream::connect(&address).unwrap();
    halfway.write_all(format!("{head}01234").as_bytes()).unwrap();
    let mut idle = TcpStream::connect(&address).unwrap();
    idle.write_all(format!("{head}0123456789").as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let count = idle.read(&mut answer).unwrap();
    assert!(answer[..count].ends_with(b"10 bytes\n"));
    server.signal(Signal::TERM);
    // The end of an idle connection shows that the server is ending.
    assert_eq!(idle.read(&mut answer).unwrap(), 0);
    halfway.write_all(b"56789").unwrap();
    let mut rest = String::new();
    halfway.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("10 bytes\n"), "{rest}");
    assert!(rest.contains("connection: close\r\n"), "{rest}");
    server.end();
    assert!(TcpStream::connect(&address).is_err(), "nobody listens any more");
}

#[test]
fn hyper_client_gets_pages_of_nginx_on_one_connection_in_little_memory() {
    let Some(nginx) = Nginx::alone() else { return };
    let small = nginx.file("small", b"small");
    let included = nginx.file("included/page", "a page\n".repeat(100_000).as_bytes());
    let (bytes, large) = (large(), nginx.zeros("large", large()));
    // Pages of this test, first and last: while it owes them, the client waits to be measured.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pause = format!("http://{}/", listener.local_addr().unwrap());
    let pages = [&pause, &small, &large, &included, &small, &pause].map(String::as_str);
    let client = Program::example("hyper_client", &pages);
    let peak_in_pause = || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        let peak = peak(&client);
        // It then ends the connection, which is in the pool, without a word of that.
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        peak
    };
    let before = peak_in_pause();
    let grown = peak_in_pause() - before;
    println!("hyper_client: {grown} bytes of memory for {bytes} bytes");
    assert!(grown < FEW, "{grown} bytes of memory for {bytes} bytes");
    for line in [
        &format!("connected to {}", listener.local_addr().unwrap()),
        &format!("200 OK 0 bytes {pause}"),
        &format!("connected to {}", nginx.address),
        &format!("200 OK 5 bytes {small}"),
        &format!("200 OK {bytes} bytes {large}"),
        &format!("200 OK 700000 bytes {included}"),
        &format!("200 OK 5 bytes {small}"),
        &format!("connected to {}", listener.local_addr().unwrap()),
        &format!("200 OK 0 bytes {pause}"),
    ] {
        assert_eq!(&client.line_with(""), line);
    }
    client.end();
}

/// Gets a page and throws it away piece by piece; returns the response's head and the length.
async fn get(sender: &mut http1::SendRequest<Empty<Bytes>>, path: &str) -> (Response<()>, u64) {
    sender.ready().await.unwrap();
    let request = Request::get(path).header("host", "localhost").body(Empty::new()).unwrap();
    let (head, mut body) = sender.send_request(request).await.unwrap().into_parts();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().into_data().map_or(0, |data| data.len() as u64);
    }
    (Response::from_parts(head, ()), bytes)
}

#[test]
fn hyper_gets_a_hundred_chunked_bodies_of_nginx_on_one_connection() {
    let Some(nginx) = Nginx::alone() else { return };
    nginx.file("included/page", "a page\n".repeat(100_000).as_bytes());
    run(async {
        let socket = AsyncSocket::create_connection(nginx.address.as_str()).await.unwrap();
        let (mut sender, connection) = http1::handshake(socket).await.unwrap();
        let connection = spawn(connection);
        for requests in 1..=100 {
            let (head, bytes) = get(&mut sender, "/included/page").await;
            assert_eq!(bytes, 700_000);
            assert_eq!(head.headers()["transfer-encoding"], "chunked");
            assert_eq!(head.headers()["x-requests"], requests.to_string());
        }
        drop(sender);
        connection.await.unwrap().unwrap();
    });
}

#[test]
fn hyper_speaks_http2_with_nginx() {
    let Some(nginx) = Nginx::alone() else { return };
    nginx.file("page", &[b'x'; 300_000]);
    run(async {
        let path = format!("unix:{}", nginx.http2);
        let socket = AsyncSocket::create_connection(path.as_str()).await.unwrap();
        let (sender, connection) = http2::handshake(Executor, socket).await.unwrap();
        let connection = spawn(connection);
        let ask = || {
            let mut sender = sender.clone();
            spawn(async move {
                let request = Request::get("http://localhost/page").body(Empty::<Bytes>::new());
                let response = sender.send_request(request.unwrap()).await.unwrap();
                response.collect().await.unwrap().to_bytes().len()
            })
        };
        let asking: Vec<_> = (0..50).map(|_| ask()).collect();
        for answer in asking {
            assert_eq!(answer.await.unwrap(), 300_000);
        }
        drop(sender);
        connection.await.unwrap().unwrap();
    });
}

/// Answers with the length of the body, after the body itself has been received.
async fn length(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.collect().await.unwrap().to_bytes();
    Ok(Response::new(Full::from(body.len().to_string())))
}

#[test]
fn hyper_answers_hyper_in_either_version_on_each_kind_of_socket() {
    for kind in KINDS {
        run(async {
            let body = || Full::<Bytes>::from(vec![b'x'; 1_000_000]);
            let answered = |response: Response<Incoming>| async {
                response.collect().await.unwrap().to_bytes()
            };

            let (near, far) = pair(kind).await;
            let http = auto::Builder::new(Executor);
            let serving = spawn(http.serve_connection(far, service_fn(length)).into_owned());
            let (mut sender, connection) = http1::handshake(near).await.unwrap();
            let connection = spawn(connection);
            for _ in 0..3 {
                sender.ready().await.unwrap();
                let request = Request::post("/").body(body()).unwrap();
                let response = sender.send_request(request).await.unwrap();
                assert_eq!(answered(response).await, "1000000");
            }
            drop(sender);
            connection.await.unwrap().unwrap();
            serving.await.unwrap().unwrap();

            let (near, far) = pair(kind).await;
            let serving = spawn(http.serve_connection(far, service_fn(length)).into_owned());
            let (sender, connection) = http2::handshake(Executor, near).await.unwrap();
            let connection = spawn(connection);
            let asking = (0..20).map(|_| {
                let mut sender = sender.clone();
                spawn(async move {
                    let request = Request::post("http://localhost/").body(body()).unwrap();
                    answered(sender.send_request(request).await.unwrap()).await
                })
            });
            for answer in asking.collect::<Vec<_>>() {
                assert_eq!(answer.await.unwrap(), "1000000");
            }
            drop(sender);
            connection.await.unwrap().unwrap();
            serving.await.unwrap().unwrap();
        });
    }
}

#[test]
fn a_client_that_sends_no_whole_head_is_cut_off_by_the_timer() {
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let mut http = server::http1::Builder::new();
            http.timer(Timer).header_read_timeout(Duration::from_millis(20));
            let serving = spawn(http.serve_connection(far, service_fn(length)));
            near.send_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            assert!(serving.await.unwrap().unwrap_err().is_timeout());
            let answer = near.recv_until(b"\r\n\r\n", 4096).await;
            assert!(answer.is_err(), "{answer:?}");
        });
    }
}

#[test]
fn h2_speaks_over_the_traits_of_tokio() {
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let serving = spawn(async {
                let mut connection = h2::server::handshake(far).await.unwrap();
                while let Some(request) = connection.accept().await {
                    let (_, mut respond) = request.unwrap();
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
                }
            });
            let (mut sender, connection) = h2::client::handshake(near).await.unwrap();
            let connection = spawn(connection);
            let request = Request::get("http://localhost/").body(()).unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            let mut body = response.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "hello");
            drop((body, sender));
            connection.await.unwrap().unwrap();
            serving.await.unwrap();
        });
    }
}

#[test]
fn axum_app_answers_curl() {
    let (server, address) = Program::server("axum_app");
    let ask = |arguments: &[&str], path: &str| {
        let mut curl = curl()?;
        curl.args(["-w", " %{http_code}"]).args(arguments);
        Some(output(curl.arg(format!("http://{address}/{path}"))))
    };
    let Some(visit) = ask(&[], "") else { return };
    assert_eq!(visit, "You are visitor 1.\n 200");
    assert_eq!(ask(&["--http2-prior-knowledge"], "").unwrap(), "You are visitor 2.\n 200");
    let json = ["--json", r#"{"numbers": [1, 2, -40]}"#];
    assert_eq!(ask(&json, "sum").unwrap(), r#"{"sum":-37} 200"#);
    assert!(ask(&["--json", "{"], "sum").unwrap().ends_with(" 400"));
    assert!(ask(&["-d", "{}"], "sum").unwrap().ends_with(" 415"));
    assert_eq!(ask(&[], "shout/hello").unwrap(), "HELLO 200");
    assert_eq!(ask(&[], "else").unwrap(), " 404");
    server.terminate();
}

#[test]
fn axum_app_stands_wrk_while_each_handler_waits_for_another_service() {
    let Some(mut wrk) = tool("wrk") else { return };
    let (server, address) = Program::server("axum_app");
    let text = output(wrk.args(["-t1", "-c32", "-d2s", &format!("http://{address}/shout/hello")]));
    assert!(text.contains("Requests/sec"), "{text}");
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    server.terminate();
}
