//! Tests that run the seeds of the fuzz target `session`.

use super::{
    super::{
        fuzzing::{AFTER_HANDSHAKE, CERTIFICATE, CHANGED, Ends, SERVER, TLS12},
        session::SEALED,
    },
    *,
};

fn ends() -> Ends {
    let made = self_signed(&params(&["localhost"]));
    Ends::new(made.chain.as_bytes(), made.key.as_bytes()).unwrap()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/session")
}

#[test]
fn the_seeds_of_the_fuzz_target_do_no_harm() {
    let ends = ends();
    let mut count = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        // Unchanged, cut, and for every other choice.
        for choice in 0..32 {
            let mut seed = seed.clone();
            seed[0] ^= choice;
            ends.feed(&seed);
            ends.feed(&seed[..seed.len() / 2]);
        }
        count += 1;
    }
    assert!(count >= 12, "{count} seeds");
}

#[test]
#[ignore = "writes the seeds anew, by random keys"]
fn seeds_are_recorded() {
    let ends = ends();
    let directory = corpus();
    fs::create_dir_all(&directory).unwrap();
    let write = |name: &str, choice: u8, piece: u8, rest: &[u8]| {
        fs::write(directory.join(name), [&[choice, piece], rest].concat()).unwrap();
    };
    let alert = [21, 3, 3, 0, 2, 2, 40];
    for (version, bits) in [("13", 0), ("12", TLS12)] {
        let hello = ends.first_flight(SERVER | bits);
        let flight = ends.first_flight(bits | CERTIFICATE);
        write(&format!("client_hello_{version}"), SERVER | bits, 0, &hello);
        write(&format!("client_hello_cut_{version}"), SERVER | bits, 3, &hello[..hello.len() / 2]);
        write(&format!("server_flight_{version}"), bits, 0, &flight);
        write(&format!("server_flight_pieces_{version}"), bits, 5, &flight);
        // One byte of about the third record is changed.
        write(&format!("changed_handshake_{version}"), CHANGED | bits, 0, &[1, 0, 200, 1]);
        let changes = [0, 0, 0, 0, 4, 0, 0, 90, 0, 0, 0, 0, 1, 1, 0, 7];
        let choice = SERVER | AFTER_HANDSHAKE | CHANGED | bits;
        write(&format!("changed_records_{version}"), choice, 9, &changes);
        let choice = CERTIFICATE | CHANGED | SERVER | bits;
        write(&format!("client_certificate_{version}"), choice, 20, &[0, 0, 0, 0, 3, 0, 9, 30]);
        write(&format!("alert_in_handshake_{version}"), bits, 0, &alert);
        write(&format!("alert_after_handshake_{version}"), AFTER_HANDSHAKE | bits, 1, &alert);
    }
    write("plaintext_http", SERVER, 0, b"GET / HTTP/1.1 Host: localhost");
    write("garbage", AFTER_HANDSHAKE | SERVER, 2, &[0xa5; 64]);
    write("long_record", SERVER, 0, &[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc]);
}

/// rustls panicked when it was asked to send while half a handshake message was in an input that it
/// was not given.
#[test]
fn a_session_sends_while_half_a_message_of_the_handshake_is_there() {
    let made = self_signed(&params(&["localhost"]));
    // Tickets follow the handshake, here in many small records.
    let mut server = (*Tls::from(made.server()).server_config().unwrap()).clone();
    server.max_fragment_size = Some(64);
    let mut server = Session::server(Arc::new(server)).unwrap();
    let client = Tls::client().unwrap().ca_from_pem(made.chain.as_bytes()).unwrap();
    let mut client = Tls::from(client).session(Some("localhost")).unwrap();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    while server.is_handshaking() {
        client.pull(&mut to_client, &mut to_server, &mut |_| {}).unwrap();
        to_client.clear();
        server.pull(&mut to_server, &mut to_client, &mut |_| {}).unwrap();
        to_server.clear();
    }
    // The input has the first record, and no more than that of the first ticket.
    let mut came = to_client[..100].to_vec();
    let used = client.pull(&mut came, &mut to_server, &mut |_| {}).unwrap();
    assert!(used < came.len(), "no message ends that early");
    let (mut sealed, mut heard) = (vec![0; SEALED], Vec::new());
    let written = client.seal(&mut came[used..], b"mine", &mut sealed).unwrap();
    let mut say = |bytes: &[u8]| heard.extend_from_slice(bytes);
    server.pull(&mut sealed[..written], &mut Vec::new(), &mut say).unwrap();
    assert_eq!(heard, b"mine");
}
