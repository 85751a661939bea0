//! tokio-tungstenite on asyncoro's sockets; `cargo xtask nightly websocket` has a conformance suite
//! talk to the example.

use asyncoro::{AsyncSocket, spawn};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Error, Message, error::ProtocolError, protocol::CloseFrame},
};

use crate::{
    pairs::{KINDS, Kind, pair, run},
    programs::Program,
};

async fn echoes(socket: &mut WebSocketStream<AsyncSocket>) {
    for length in [0, 1, 125, 126, 65_535, 65_536, 3_000_000] {
        let text = Message::text("x".repeat(length));
        socket.send(text.clone()).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap() == text, "{length}");
        let bytes = Message::binary(vec![7; length]);
        socket.send(bytes.clone()).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap() == bytes, "{length}");
    }
    for number in 0..1000 {
        socket.feed(Message::text(number.to_string())).await.unwrap();
    }
    socket.flush().await.unwrap();
    for number in 0..1000 {
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(number.to_string()));
    }
    socket.send(Message::Ping("still there?".into())).await.unwrap();
    let pong = Message::Pong("still there?".into());
    assert_eq!(socket.next().await.unwrap().unwrap(), pong);
}

#[test]
fn websocket_echo_sends_messages_back_and_closes_when_asked() {
    is_an_echo("websocket_echo");
}

#[test]
fn axum_app_hands_a_connection_to_a_websocket() {
    is_an_echo("axum_app");
}

fn is_an_echo(example: &str) {
    let (server, address) = Program::server(example);
    run(async {
        let socket = AsyncSocket::create_connection(address.as_str()).await.unwrap();
        let page = format!("ws://{address}/socket");
        let (mut socket, _) = client_async(page, socket).await.unwrap();
        echoes(&mut socket).await;
        let frame = CloseFrame { code: 1000.into(), reason: "enough".into() };
        socket.close(Some(frame.clone())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(Some(frame)));
        assert!(socket.next().await.is_none());
    });
    server.terminate();
}

#[test]
fn tungstenite_talks_to_itself_on_each_kind_of_socket() {
    for kind in KINDS {
        run(async {
            let (near, far) = pair(kind).await;
            let serving = spawn(async {
                let mut socket = accept_async(far).await.unwrap();
                while let Some(message) = socket.next().await {
                    let message = message.unwrap();
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
            let (mut socket, _) = client_async("ws://localhost/", near).await.unwrap();
            echoes(&mut socket).await;
            socket.close(None).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(None));
            assert!(socket.next().await.is_none());
            serving.await.unwrap();
        });
    }
}

#[test]
fn a_peer_that_leaves_without_a_close_is_an_error() {
    run(async {
        let (near, far) = pair(Kind::Tcp).await;
        let accepting = spawn(accept_async(far));
        let (socket, _) = client_async("ws://localhost/", near).await.unwrap();
        let mut serving = accepting.await.unwrap().unwrap();
        drop(socket);
        let reset = Error::Protocol(ProtocolError::ResetWithoutClosingHandshake);
        let error = serving.next().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), reset.to_string());
    });
}
