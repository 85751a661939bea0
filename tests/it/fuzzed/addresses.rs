//! Addresses from any text, and from any bytes of a name: the text form is one printable line that
//! is parsed back to the same address.
//!
//! The first byte of an input chooses: a text, an abstract name, a path.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use asyncoro::addr::{Address, Target, UnixAddress};

pub(crate) fn feed(input: &[u8]) {
    let [choice, bytes @ ..] = input else { return };
    match choice % 3 {
        0 => text(&String::from_utf8_lossy(bytes)),
        1 => unix(UnixAddress::from_abstract_name(bytes), bytes),
        _ => unix(UnixAddress::from_path(OsStr::from_bytes(bytes)), bytes),
    }
}

fn text(text: &str) {
    match text.parse::<Target>() {
        Ok(Target::Address(address)) => {
            assert_eq!(text.parse::<Address>().ok().as_ref(), Some(&address));
            // A path is shown as it is.
            if is_abstract(&address) || !text.contains(char::is_control) {
                is_read_back(&address);
            }
        }
        Ok(Target::Name { .. }) => assert!(text.parse::<Address>().is_err()),
        Err(error) => is_one_line(&error.to_string()),
    }
}

fn unix(made: std::io::Result<UnixAddress>, bytes: &[u8]) {
    let unix = match made {
        Ok(unix) => unix,
        Err(error) => return is_one_line(&error.to_string()),
    };
    let kept = unix.as_path().map(|path| path.as_os_str().as_bytes());
    assert_eq!(kept.or(unix.as_abstract_name()), Some(bytes));
    let is_path = unix.as_path().is_some();
    let is_text = str::from_utf8(bytes).is_ok_and(|text| !text.contains(char::is_control));
    let address = Address::Unix(unix);
    if !is_path {
        is_one_line(&address.to_string());
    }
    if is_text || !is_path {
        is_read_back(&address);
    }
}

fn is_abstract(address: &Address) -> bool {
    matches!(address, Address::Unix(unix) if unix.as_abstract_name().is_some())
}

fn is_read_back(address: &Address) {
    let shown = address.to_string();
    assert_eq!(shown.parse::<Address>().ok().as_ref(), Some(address), "{shown:?}");
}

fn is_one_line(shown: &str) {
    assert!(!shown.contains(['\n', '\r']), "{shown:?}");
}
