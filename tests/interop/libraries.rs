//! One exchange with each library that works as it is, or by a trait of our sockets.
//!
//! The rows of `docs/interop.md` name these tests.

use std::{pin::pin, sync::Arc, thread, time::Duration};

use asyncoro::{AsyncSocket, ClientTls, ServerTls, Tls, coro::yield_now, spawn, time};
use bytes::{Bytes, BytesMut};
use futures_util::{
    SinkExt, StreamExt, TryStreamExt,
    future::{Either, join_all, select, try_join},
    stream::FuturesUnordered,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer};

use crate::pairs::{KINDS, Kind, pair, run};

/// Bytes that no buffer of a library or of the system holds at once.
fn body() -> Vec<u8> {
    (0..3 << 20).map(|at: u32| (at % 251) as u8).collect()
}

#[test]
fn async_tungstenite_speaks_websocket_over_futures_io_at_both_ends() {
    use async_tungstenite::{accept_async, client_async, tungstenite::Message};
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let server = spawn(async move {
                let mut socket = accept_async(far).await?;
                while let Some(message) = socket.try_next().await? {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await?;
                    }
                }
                Ok::<_, async_tungstenite::tungstenite::Error>(())
            });
            let (mut socket, _) = client_async("ws://localhost/", near).await.unwrap();
            for message in [Message::text("größer"), Message::binary(body())] {
                socket.send(message.clone()).await.unwrap();
                assert!(socket.next().await.unwrap().unwrap() == message);
            }
            socket.close(None).await.unwrap();
            while socket.try_next().await.unwrap().is_some() {}
            server.await.unwrap().unwrap();
        });
    }
}

#[test]
fn tokio_tungstenite_speaks_websocket_over_tokio_io_at_both_ends() {
    use tokio_tungstenite::{accept_async, client_async, tungstenite::Message};
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let server = spawn(async move {
                let mut socket = accept_async(far).await?;
                while let Some(message) = socket.try_next().await? {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await?;
                    }
                }
                Ok::<_, tokio_tungstenite::tungstenite::Error>(())
            });
            let (mut socket, _) = client_async("ws://localhost/", near).await.unwrap();
            for message in [Message::text("größer"), Message::binary(body())] {
                socket.send(message.clone()).await.unwrap();
                assert!(socket.next().await.unwrap().unwrap() == message);
            }
            socket.close(None).await.unwrap();
            while socket.try_next().await.unwrap().is_some() {}
            server.await.unwrap().unwrap();
        });
    }
}

#[test]
fn fastwebsockets_speaks_websocket_after_a_handshake_of_ours() {
    use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket};
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let server = spawn(async move {
                let mut socket = WebSocket::after_handshake(far, Role::Server);
                loop {
                    let frame = socket.read_frame().await?;
                    match frame.opcode {
                        OpCode::Close => return Ok::<_, fastwebsockets::WebSocketError>(()),
                        _ => socket.write_frame(frame).await?,
                    }
                }
            });
            let mut socket = WebSocket::after_handshake(near, Role::Client);
            let sent = body();
            socket.write_frame(Frame::binary(Payload::Borrowed(&sent))).await.unwrap();
            let answer = socket.read_frame().await.unwrap();
            assert!(answer.opcode == OpCode::Binary && *answer.payload == *sent);
            socket.write_frame(Frame::close(1000, b"")).await.unwrap();
            server.await.unwrap().unwrap();
        });
    }
}

/// A certificate for `localhost`: for rustls, and the same for ours.
struct Certificate {
    rustls_client: Arc<ClientConfig>,
    rustls_server: Arc<ServerConfig>,
    client: ClientTls,
    server: ServerTls,
}

impl Certificate {
    fn new() -> Certificate {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let rustls_client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let rustls_server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let (pem, key) = (cert.pem(), signing_key.serialize_pem());
        let client = Tls::client().unwrap().ca_from_pem(pem.as_bytes()).unwrap();
        Certificate {
            rustls_client: Arc::new(rustls_client),
            rustls_server: Arc::new(rustls_server),
            client: client.server_name("localhost").unwrap(),
            server: Tls::server_from_pem(pem.as_bytes(), key.as_bytes()).unwrap(),
        }
    }
}

/// Echoes over TLS of ours, until the peer ends.
async fn echo(socket: AsyncSocket) -> std::io::Result<()> {
    loop {
        let bytes = socket.recv_bytes(50_000).await?;
        if bytes.is_empty() {
            return socket.close().await;
        }
        socket.send_all(&bytes).await?;
    }
}

#[test]
fn futures_rustls_speaks_over_our_sockets_with_tls_of_ours() {
    use futures_util::{AsyncReadExt, AsyncWriteExt};
    let certificate = Certificate::new();
    for kind in [Kind::Tcp, Kind::Unix] {
        run(async {
            let (near, far) = pair(kind).await;
            let tls = certificate.server.clone();
            let server = spawn(async move {
                far.start_tls(tls).await?;
                echo(far).await
            });
            let connector = futures_rustls::TlsConnector::from(certificate.rustls_client.clone());
            let name = "localhost".try_into().unwrap();
            let stream = connector.connect(name, near).await.unwrap();
            let (mut reader, mut writer) = stream.split();
            let sent = body();
            let mut received = vec![0; sent.len()];
            let send = async {
                writer.write_all(&sent).await?;
                writer.flush().await
            };
            try_join(send, reader.read_exact(&mut received)).await.unwrap();
            assert!(received == sent);
            writer.close().await.unwrap();
            assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
            server.await.unwrap().unwrap();
        });
    }
}

#[test]
fn tokio_rustls_serves_over_our_sockets_a_client_with_tls_of_ours() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let certificate = Certificate::new();
    for kind in [Kind::Tcp, Kind::Unix] {
        run(async {
            let (near, far) = pair(kind).await;
            let acceptor = tokio_rustls::TlsAcceptor::from(certificate.rustls_server.clone());
            let server = spawn(async move {
                let mut stream = acceptor.accept(far).await?;
                let mut bytes = vec![0; 50_000];
                loop {
                    let count = stream.read(&mut bytes).await?;
                    if count == 0 {
                        return stream.shutdown().await;
                    }
                    stream.write_all(&bytes[..count]).await?;
                    stream.flush().await?;
                }
            });
            near.start_tls(&certificate.client).await.unwrap();
            let sent = body();
            let (_, received) =
                try_join(near.send_all(&sent), near.recv_all_bytes(sent.len())).await.unwrap();
            assert!(received == sent);
            near.shutdown(std::net::Shutdown::Write).await.unwrap();
            assert!(near.recv_bytes(1).await.unwrap().is_empty() && near.peer_closed_cleanly());
            server.await.unwrap().unwrap();
        });
    }
}

#[test]
fn a_codec_of_asynchronous_codec_reads_lines_and_our_verbs_read_its_own() {
    use asynchronous_codec::{Framed, LinesCodec};
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let mut framed = Framed::new(near, LinesCodec);
            for number in 0..1000 {
                far.send_all(format!("line {number}\nand ").as_bytes()).await.unwrap();
                let and = if number == 0 { "" } else { "and " };
                let line = framed.next().await.unwrap().unwrap();
                assert_eq!(line, format!("{and}line {number}\n"));
                framed.send(line.clone()).await.unwrap();
                assert_eq!(far.recv_until(b"\n", 100).await.unwrap(), line);
            }
        });
    }
}

#[test]
fn the_length_codec_of_tokio_util_and_our_messages_are_the_same_format() {
    use tokio_util::codec::{Framed, LengthDelimitedCodec};
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let mut framed = Framed::new(near, LengthDelimitedCodec::new());
            let echo = spawn(async move {
                while let Some(message) = far.recv_msg().await? {
                    far.send_msg(&message).await?;
                }
                std::io::Result::Ok(())
            });
            for length in [0, 1, 1000, 1 << 20, 3 << 20] {
                let message = Bytes::from(vec![length as u8; length]);
                framed.send(message.clone()).await.unwrap();
                assert!(framed.next().await.unwrap().unwrap() == message);
            }
            SinkExt::<Bytes>::close(&mut framed).await.unwrap();
            assert!(framed.next().await.is_none());
            echo.await.unwrap().unwrap();
        });
    }
}

#[test]
fn h2_has_a_hundred_streams_with_bodies_on_one_connection() {
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let server = spawn(async move {
                let mut connection = h2::server::handshake(far).await?;
                while let Some(request) = connection.accept().await {
                    let (request, mut respond) = request?;
                    spawn(async move {
                        let mut all = BytesMut::new();
                        let mut body = request.into_body();
                        while let Some(bytes) = body.data().await.transpose()? {
                            body.flow_control().release_capacity(bytes.len())?;
                            all.extend_from_slice(&bytes);
                        }
                        let mut answer = respond.send_response(http::Response::new(()), false)?;
                        answer.send_data(all.freeze(), true)
                    })
                    .or_log();
                }
                Ok::<_, h2::Error>(())
            });
            let (client, connection) = h2::client::handshake(near).await.unwrap();
            let driver = spawn(connection);
            let body = Bytes::from(body()).slice(..50_000);
            join_all((0..100).map(|_| {
                let (client, sent) = (client.clone(), body.clone());
                async move {
                    let mut client = client.ready().await.unwrap();
                    let request = http::Request::post("http://localhost/").body(()).unwrap();
                    let (answer, mut stream) = client.send_request(request, false).unwrap();
                    // As much is queued; flow control lets it go.
                    stream.send_data(sent.clone(), true).unwrap();
                    let mut body = answer.await.unwrap().into_body();
                    let mut received = BytesMut::new();
                    while let Some(bytes) = body.data().await.transpose().unwrap() {
                        body.flow_control().release_capacity(bytes.len()).unwrap();
                        received.extend_from_slice(&bytes);
                    }
                    assert!(received == sent);
                }
            }))
            .await;
            drop(client);
            driver.await.unwrap().unwrap();
            server.await.unwrap().unwrap();
        });
    }
}

/// How many values go through each channel.
const COUNT: u32 = 10_000;

#[test]
fn flume_passes_values_between_coroutines_and_from_another_thread() {
    run(async {
        let (sender, receiver) = flume::bounded(10);
        let (other, here) = (sender.clone(), sender);
        let thread = thread::spawn(move || (0..COUNT).for_each(|value| other.send(value).unwrap()));
        let coro = spawn(async move {
            for value in 0..COUNT {
                here.send_async(value).await.unwrap();
            }
        });
        let sum: u64 = receiver.into_stream().map(u64::from).fold(0, async |a, b| a + b).await;
        assert_eq!(sum, u64::from(COUNT) * u64::from(COUNT - 1));
        coro.await.unwrap();
        thread.join().unwrap();
    });
}

#[test]
fn async_channel_passes_values_between_coroutines_and_from_another_thread() {
    run(async {
        let (sender, receiver) = async_channel::bounded(10);
        let (other, here) = (sender.clone(), sender);
        let thread = thread::spawn(move || {
            (0..COUNT).for_each(|value| other.send_blocking(value).unwrap());
        });
        let coro = spawn(async move {
            for value in 0..COUNT {
                here.send(value).await.unwrap();
            }
        });
        let mut sum = 0;
        while let Ok(value) = receiver.recv().await {
            sum += u64::from(value);
        }
        assert_eq!(sum, u64::from(COUNT) * u64::from(COUNT - 1));
        coro.await.unwrap();
        thread.join().unwrap();
    });
}

#[test]
fn what_tokio_sync_has_works_between_coroutines_and_with_another_thread() {
    use tokio::sync::{Mutex, Notify, Semaphore, broadcast, mpsc, oneshot, watch};
    run(async {
        let (sender, mut receiver) = mpsc::channel(10);
        let (other, here) = (sender.clone(), sender);
        let thread = thread::spawn(move || {
            (0..COUNT).for_each(|value| other.blocking_send(value).unwrap());
        });
        let coro = spawn(async move {
            for value in 0..COUNT {
                here.send(value).await.unwrap();
            }
        });
        let mut sum = 0;
        while let Some(value) = receiver.recv().await {
            sum += u64::from(value);
        }
        assert_eq!(sum, u64::from(COUNT) * u64::from(COUNT - 1));
        coro.await.unwrap();
        thread.join().unwrap();

        // A hundred coroutines, five at a time; each is told of the beginning and tells its end.
        let (begin, begun) = watch::channel(false);
        let (ends, mut ended) = broadcast::channel(200);
        let (permits, total, done) =
            (Arc::new(Semaphore::new(5)), Arc::new(Mutex::new(0)), Arc::new(Notify::new()));
        for number in 0..100 {
            let (mut begun, ends) = (begun.clone(), ends.clone());
            let (permits, total, done) = (permits.clone(), total.clone(), done.clone());
            drop(spawn(async move {
                begun.wait_for(|begun| *begun).await.unwrap();
                let _permit = permits.acquire().await.unwrap();
                let mut total = total.lock().await;
                yield_now().await;
                *total += 1;
                ends.send(number).unwrap();
                if *total == 100 {
                    done.notify_one();
                }
            }));
        }
        begin.send(true).unwrap();
        done.notified().await;
        let mut told: Vec<u32> = Vec::new();
        while told.len() < 100 {
            told.push(ended.recv().await.unwrap());
        }
        told.sort_unstable();
        assert!(told.into_iter().eq(0..100));

        let (answer, asked) = oneshot::channel();
        thread::spawn(move || answer.send(7).unwrap());
        assert_eq!(asked.await, Ok(7));
    });
}

#[test]
fn futures_util_selects_joins_and_collects_what_waits_here() {
    run(async {
        let (near, far) = pair(Kind::Tcp).await;
        {
            let reading = pin!(near.recv_bytes(1));
            let sleep = pin!(time::sleep(Duration::from_millis(1)));
            assert!(matches!(select(reading, sleep).await, Either::Right(_)));
        }
        far.send_all(b"x").await.unwrap();
        assert_eq!(near.recv_bytes(1).await.unwrap(), "x");

        let mut all: FuturesUnordered<_> =
            (0..100).map(|number| spawn(async move { number })).collect();
        let mut sum = 0;
        while let Some(number) = all.next().await {
            sum += number.unwrap();
        }
        assert_eq!(sum, 4950);
    });
}

#[test]
fn tower_limits_how_many_calls_of_a_service_of_ours_run_at_once() {
    use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
    run(async {
        let (near, far) = pair(Kind::Tcp).await;
        spawn(echo(far)).or_log();
        // One exchange at a time keeps the answers apart. The service is not `Send`.
        let exchange = service_fn(move |text: String| {
            let near = near.clone();
            async move {
                near.send_all(text.as_bytes()).await?;
                near.recv_all_bytes(text.len()).await
            }
        });
        let service = ServiceBuilder::new().concurrency_limit(1).service(exchange);
        join_all((0..100).map(|number| {
            let mut service = service.clone();
            async move {
                let text = format!("request {number}");
                let answer = service.ready().await.unwrap().call(text.clone()).await;
                assert_eq!(answer.unwrap() as Bytes, text);
            }
        }))
        .await;
    });
}

#[test]
fn what_needs_the_runtime_of_tokio_says_so_without_it() {
    run(async {
        let socket = spawn(async { tokio::net::TcpStream::connect("127.0.0.1:1").await });
        let timer = spawn(async { tokio::time::sleep(Duration::ZERO).await });
        let ended = [socket.await.unwrap_err().to_string(), timer.await.unwrap_err().to_string()];
        for text in ended {
            assert!(text.contains("there is no reactor running"), "{text}");
        }
    });
}
