//! The examples with third-party clients: wrk, curl, a socket of Python.

use crate::programs::{Program, output, tool};

#[test]
fn webserver_stands_wrk_with_64_connections() {
    let Some(mut wrk) = tool("wrk") else { return };
    let (server, address) = Program::server("webserver");
    let text = output(wrk.args(["-t1", "-c64", "-d2s", &format!("http://{address}/")]));
    assert!(text.contains("Requests/sec"), "{text}");
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    server.terminate();
}

#[test]
fn webserver_answers_curl_on_one_connection() {
    let Some(mut curl) = tool("curl") else { return };
    let (server, address) = Program::server("webserver");
    let [page, other] = ["", "other"].map(|path| format!("http://{address}/{path}"));
    let body = "x".repeat(3000);
    let shown = "%{http_code} %{num_connects}\n";
    curl.args(["-sS", "--max-time", "20", "-w", shown, "-d", &body, &page, &other]);
    assert_eq!(output(&mut curl), "Pong!\r\n200 1\nPong!\r\n200 0\n");
    server.terminate();
}

#[test]
fn udp_echo_answers_a_socket_of_python() {
    let Some(mut python) = tool("python3") else { return };
    let (server, address) = Program::server("udp_echo");
    let (host, port) = address.split_once(':').unwrap();
    python.args(["-c", DATAGRAMS, host, port]);
    assert_eq!(output(&mut python), "101 came back\n");
    server.terminate();
}

const DATAGRAMS: &str = "
import socket, sys
server = sys.argv[1], int(sys.argv[2])
near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
near.settimeout(20)
count = 0
for size in [*range(100), 60000]:
    near.sendto(bytes([size % 256]) * size, server)
    data, sender = near.recvfrom(65535)
    assert data == bytes([size % 256]) * size and sender == server, (size, len(data), sender)
    count += 1
print(count, 'came back')
";
