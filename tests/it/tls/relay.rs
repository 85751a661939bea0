//! A relay between two ends of a connection, which passes bytes on in pieces, or stops.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Relays a connection to a port of this machine; ends it when dropped.
pub(super) struct Relay {
    pub(super) port: u16,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    /// Relays one connection, at most `piece` bytes at a time.
    pub(super) fn new(to: u16, piece: usize) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&ends);
        thread::spawn(move || {
            let near = listener.accept().unwrap().0;
            let far = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for end in [&near, &far] {
                end.set_nodelay(true).unwrap();
                kept.lock().unwrap().push(end.try_clone().unwrap());
            }
            let (back, forth) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || pass_on(far, back, piece));
            pass_on(near, forth, piece);
        });
        Relay { port, ends }
    }

    /// Ends both connections without a close_notify from either end.
    pub(super) fn cut(&self) {
        for end in &*self.ends.lock().unwrap() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, piece: usize) {
    let mut buffer = vec![0; piece];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
