//! Bytes of an untrusted peer, fed into a session: for the fuzz target, and the corpus as a test.
//!
//! The first byte says who we are, which version is spoken, and whether an honest peer has shaken
//! hands before; the second how long the pieces are in which bytes come. What must hold whatever
//! comes: no panic, no more used than was given, no more said than came, and failures that stick.

use std::sync::OnceLock;

use super::{
    ClientTls, ServerTls, Tls, TlsVersion,
    session::{SEALED, Session},
};

const CERTIFICATE: &[u8] = include_bytes!("../../fuzz/certificate.pem");

/// Both ends for a version, made once.
fn configurations(version: TlsVersion) -> (ServerTls, ClientTls) {
    static MADE: OnceLock<[(ServerTls, ClientTls); 2]> = OnceLock::new();
    let make = |version| {
        let server = Tls::server_from_pem(CERTIFICATE, CERTIFICATE).expect("it is our own");
        let client = Tls::client().expect("nothing is read yet").danger_accept_any_certificate();
        let both = "a version that is offered";
        let server = server.versions(&[version]).expect(both);
        (server, client.versions(&[version]).expect(both))
    };
    let made = MADE.get_or_init(|| [TlsVersion::V1_2, TlsVersion::V1_3].map(make));
    made[usize::from(version == TlsVersion::V1_3)].clone()
}

/// A session and what it has not used yet.
struct End {
    session: Session,
    unused: Vec<u8>,
    answer: Vec<u8>,
    said: usize,
}

impl End {
    fn new(tls: impl Into<Tls>) -> End {
        let session = tls.into().session(Some("localhost")).expect("the configuration is whole");
        let mut end = End { session, unused: Vec::new(), answer: Vec::new(), said: 0 };
        end.take(&[]);
        end
    }

    /// Takes bytes in; whether it goes on.
    fn take(&mut self, bytes: &[u8]) -> bool {
        self.unused.extend_from_slice(bytes);
        let failed = self.session.check().is_err();
        let said = &mut self.said;
        let mut count = |bytes: &[u8]| *said += bytes.len();
        match self.session.pull(&mut self.unused, &mut self.answer, &mut count) {
            Ok(used) => {
                assert!(!failed, "a failure sticks");
                assert!(used <= self.unused.len(), "no more is used than was given");
                self.unused.drain(..used);
                true
            }
            Err(error) => {
                assert_eq!(self.session.check(), Err(error), "a failure is told again");
                false
            }
        }
    }

    fn say(&mut self, plain: &[u8]) {
        let mut sealed = vec![0; SEALED];
        if let Ok(len) = self.session.seal(&mut self.unused, plain, &mut sealed) {
            self.answer.extend_from_slice(&sealed[..len]);
        }
    }
}

/// See the module's page.
#[cfg_attr(not(fuzzing), allow(unreachable_pub, reason = "the fuzz target calls it"))]
pub fn feed(data: &[u8]) {
    let [how, piece, rest @ ..] = data else { return };
    let version = if how & 2 == 0 { TlsVersion::V1_2 } else { TlsVersion::V1_3 };
    let (server, client) = configurations(version);
    let is_server = how & 1 == 0;
    let (mut ours, mut peer) = match is_server {
        true => (End::new(server), End::new(client)),
        false => (End::new(client), End::new(server)),
    };
    let mut bytes = rest.to_vec();
    if how & 4 != 0 {
        shake(&mut ours, &mut peer);
        peer.say(b"first");
        peer.say(&[7; 300]);
        let honest = std::mem::take(&mut peer.answer);
        bytes = changed(honest, rest);
    }
    let (before, total) = (ours.said, bytes.len());
    let piece = usize::from(*piece).max(1);
    for piece in bytes.chunks(piece) {
        if !ours.take(piece) {
            // It may be asked again, and still fails.
            assert!(!ours.take(b"more"));
            break;
        }
        ours.say(b"in between");
    }
    assert!(ours.said - before <= total, "no more is said than came");
    let mut goodbye = Vec::new();
    ours.session.close(&mut ours.unused, &mut goodbye);
}

fn shake(ours: &mut End, peer: &mut End) {
    for _ in 0..8 {
        let to_peer = std::mem::take(&mut ours.answer);
        peer.take(&to_peer);
        let to_us = std::mem::take(&mut peer.answer);
        ours.take(&to_us);
    }
    assert!(!ours.session.is_handshaking() && !peer.session.is_handshaking());
}

/// An honest peer's records, changed as three bytes at a time say: flipped, cut, doubled, or with
/// bytes of the input between them.
fn changed(mut honest: Vec<u8>, how: &[u8]) -> Vec<u8> {
    let mut changes = how.chunks_exact(3);
    for change in changes.by_ref().take(8) {
        let at = usize::from(u16::from_be_bytes([change[1], change[2]])) % honest.len().max(1);
        match change[0] % 5 {
            0 => {}
            1 => honest.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= change[1] | 1),
            2 => honest.truncate(at),
            3 => honest.extend_from_within(..at.min(honest.len())),
            _ => {
                honest.splice(at.min(honest.len()).., how.iter().copied());
            }
        }
    }
    honest
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::feed;

    #[test]
    fn the_corpus_finds_nothing() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/session");
        let mut count = 0;
        for file in fs::read_dir(folder).unwrap() {
            let mut data = fs::read(file.unwrap().path()).unwrap();
            // As either end, in either version, before the handshake and after it.
            for how in 0..8 {
                if let Some(first) = data.first_mut() {
                    *first = how;
                }
                feed(&data);
            }
            count += 1;
        }
        assert!(count >= 12, "{count} files");
    }
}
