//! A running nginx, as Debian has it.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::programs::{Program, tool};

/// An nginx on a free port, which ends with its value. Its folder is served at `/`, and what is in
/// `/included` with server-side includes, whose length it does not know beforehand. What is below
/// `/hyper` is passed on to another server, on connections that are kept.
///
/// Each answer tells in `X-Requests` how many requests its connection has had.
pub(crate) struct Nginx {
    program: Option<Program>,
    folder: PathBuf,
    pub(crate) address: String,
    /// The path of the Unix socket on which it speaks HTTP/2.
    pub(crate) http2: String,
}

impl Nginx {
    /// Starts one, if this machine has nginx.
    pub(crate) fn before(upstream: &str) -> Option<Nginx> {
        let mut nginx = tool("nginx")?;
        let folder = folder();
        fs::create_dir_all(folder.join("included")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let http2 = folder.join("http2").to_str().unwrap().to_owned();
        fs::write(folder.join("nginx.conf"), configuration(&address, &http2, upstream)).unwrap();
        // nginx takes a listening socket over, so nobody else gets the port meanwhile.
        fcntl_setfd(&listener, FdFlags::empty()).unwrap();
        nginx.env("NGINX", format!("{};", listener.as_raw_fd()));
        nginx.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(&folder);
        let program = Some(Program::start(&mut nginx));
        // It answers once it listens at all its addresses.
        let mut asking = TcpStream::connect(&address).unwrap();
        asking.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        asking.read_to_end(&mut Vec::new()).unwrap();
        Some(Nginx { program, folder, address, http2 })
    }

    /// Starts one that passes nothing on.
    pub(crate) fn alone() -> Option<Nginx> {
        // Nobody listens at port 9.
        Nginx::before("127.0.0.1:9")
    }

    /// Makes a file among those that it serves, and returns its URL.
    pub(crate) fn file(&self, path: &str, bytes: &[u8]) -> String {
        fs::write(self.folder.join(path), bytes).unwrap();
        format!("http://{}/{path}", self.address)
    }

    /// Makes a file of zeros, which takes no room on the disk.
    pub(crate) fn zeros(&self, path: &str, bytes: u64) -> String {
        let url = self.file(path, b"");
        fs::File::options().write(true).open(self.path(path)).unwrap().set_len(bytes).unwrap();
        url
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A signal that it cannot handle would leave its second process behind.
        if let Some(program) = self.program.take() {
            program.terminate();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the name of a folder that nobody uses.
fn folder() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Relaxed);
    std::env::temp_dir().join(format!("asyncoro-nginx-{}-{count}", std::process::id()))
}

fn configuration(address: &str, http2: &str, upstream: &str) -> String {
    assert!(Path::new(http2).is_absolute());
    format!(
        "
daemon off;
pid nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type text/html;
    keepalive_requests 100000;
    add_header X-Requests $connection_requests;
    upstream hyper {{
        server {upstream};
        keepalive 4;
    }}
    server {{
        listen {address};
        listen unix:{http2} http2;
        root .;
        location /included {{ ssi on; }}
        location /hyper/ {{
            proxy_pass http://hyper/;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}
}}
"
    )
}
