//! Addresses of sockets: IPv4, IPv6 and Unix in one type, and their text form.
//!
//! `accept`, `recv_from`, `local_addr` and `peer_addr` return an [`Address`]; that of a Unix socket
//! holds a [`UnixAddress`]. The verbs take any [`ToAddress`]. Nothing here asks the system: a host
//! name stays a name until [`resolve`](crate::resolve) looks it up.
//!
//! The text of an address is read back as the same address, except that of an unnamed one and of
//! paths that are not UTF-8; IPv6 flow labels are not part of the text. Text that is no address is
//! an error that says what was expected.

mod address;
mod target;
mod unix;

pub(crate) use self::target::host;
pub use self::{
    address::Address,
    target::{Target, ToAddress},
    unix::UnixAddress,
};

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;

    #[test]
    fn what_is_shown_is_read_back_as_the_same_address() {
        let texts = [
            "127.0.0.1:0",
            "255.255.255.255:65535",
            "[::1]:80",
            "[::ffff:1.2.3.4]:80",
            "[fe80::1%7]:443",
            "/run/a b:80.sock",
            "./x",
            "../x",
            "unix:x",
            "unix:unix:x",
            "unix:@x",
            "unix:127.0.0.1:80",
        ];
        for text in texts {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }
        let prefixed: Address = "unix:/x".parse().unwrap();
        assert_eq!(prefixed.to_string(), "/x");
    }

    #[test]
    fn each_family_answers_for_its_parts_alone() {
        let inet: Address = "1.2.3.4:5".parse().unwrap();
        assert_eq!((inet.ip(), inet.port()), (Some([1, 2, 3, 4].into()), Some(5)));
        assert_eq!(inet.socket_addr(), Some("1.2.3.4:5".parse().unwrap()));
        assert!(!inet.is_unix() && inet.as_path().is_none());

        let scoped: Address = "[fe80::1%7]:443".parse().unwrap();
        assert!(matches!(&scoped, Address::Inet6(inet6) if inet6.scope_id() == 7));
        assert_eq!(Address::from(scoped.socket_addr().unwrap()), scoped);

        let unix: Address = "/run/x".parse().unwrap();
        assert_eq!(unix.as_path(), Some(Path::new("/run/x")));
        assert!(unix.is_unix() && unix.ip().is_none() && unix.port().is_none());
    }

    #[test]
    fn a_name_is_no_address_and_the_error_quotes_it() {
        let error = "localhost:80".parse::<Address>().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains("\"localhost:80\"") && text.contains("expected"), "{text}");
    }
}
