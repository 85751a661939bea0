//! The versions of TLS, and the error for those that are not supported.

use std::{error::Error, fmt, io, str::FromStr};

use rustls::{ProtocolVersion, SupportedProtocolVersion};

/// A version of TLS.
///
/// Its text form is that of Python's `ssl`; parsing accepts the usual spellings.
///
/// ```
/// use asyncoro::TlsVersion;
///
/// assert_eq!(TlsVersion::V1_3.to_string(), "TLSv1.3");
/// for text in ["1.2", "TLSv1.2", "tls 1.2", "TLSv1_2"] {
///     assert_eq!(text.parse(), Ok(TlsVersion::V1_2));
/// }
/// assert!("1.1".parse::<TlsVersion>().unwrap_err().to_string().contains("RFC 8996"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, [RFC 5246](https://www.rfc-editor.org/rfc/rfc5246).
    V1_2,
    /// TLS 1.3, [RFC 8446](https://www.rfc-editor.org/rfc/rfc8446).
    V1_3,
}

/// A version of TLS or SSL that does not exist or is no longer allowed.
///
/// Converts into an [`io::Error`] of kind `InvalidInput`.
///
/// ```
/// let error = "SSLv3".parse::<asyncoro::TlsVersion>().unwrap_err();
/// assert_eq!(error.asked, "SSLv3");
/// assert!(error.to_string().contains("RFC 7568"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedTlsVersion {
    /// The text that was parsed.
    pub asked: String,
}

impl TlsVersion {
    /// Converts the version that was negotiated; `None` for one that this type lacks.
    pub(super) fn of(agreed: ProtocolVersion) -> Option<TlsVersion> {
        match agreed {
            ProtocolVersion::TLSv1_2 => Some(TlsVersion::V1_2),
            ProtocolVersion::TLSv1_3 => Some(TlsVersion::V1_3),
            _ => None,
        }
    }

    pub(super) fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            TlsVersion::V1_2 => &rustls::version::TLS12,
            TlsVersion::V1_3 => &rustls::version::TLS13,
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsVersion::V1_2 => "TLSv1.2",
            TlsVersion::V1_3 => "TLSv1.3",
        })
    }
}

impl FromStr for TlsVersion {
    type Err = UnsupportedTlsVersion;

    fn from_str(text: &str) -> Result<TlsVersion, UnsupportedTlsVersion> {
        match normalised(text).as_str() {
            "1.2" => Ok(TlsVersion::V1_2),
            "1.3" => Ok(TlsVersion::V1_3),
            _ => Err(UnsupportedTlsVersion { asked: text.to_owned() }),
        }
    }
}

impl fmt::Display for UnsupportedTlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match normalised(&self.asked).as_str() {
            "1" | "1.0" | "1.1" => "is forbidden since 2021 (RFC 8996)",
            "ssl3" | "ssl3.0" => "is forbidden since 2015 (RFC 7568)",
            "ssl2" | "ssl2.0" => "is forbidden since 2011 (RFC 6176)",
            _ => "is no version of TLS",
        };
        write!(f, "{:?} {why}; there are TLSv1.2 and TLSv1.3", self.asked)
    }
}

impl Error for UnsupportedTlsVersion {}

impl From<UnsupportedTlsVersion> for io::Error {
    fn from(unsupported: UnsupportedTlsVersion) -> Self {
        io::Error::new(io::ErrorKind::InvalidInput, unsupported)
    }
}

/// Normalises a version's text: `TLS v1_2` to `1.2`, `SSLv3` to `ssl3`.
fn normalised(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase().replace('_', ".");
    let (family, number) = match (text.strip_prefix("tls"), text.strip_prefix("ssl")) {
        (Some(number), _) => ("", number),
        (_, Some(number)) => ("ssl", number),
        (None, None) => ("", text.as_str()),
    };
    let number = number.trim_start();
    format!("{family}{}", number.strip_prefix('v').unwrap_or(number).trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_understood_as_people_write_them() {
        for text in ["1.3", "TLSv1.3", "tls1.3", "TLS 1.3", " TLS v1.3 ", "v1.3", "TLSv1_3"] {
            assert_eq!(text.parse(), Ok(TlsVersion::V1_3), "{text}");
        }
        for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
    }

    #[test]
    fn a_forbidden_version_says_who_forbade_it_and_what_there_is() {
        let said = [("TLSv1.1", "8996"), ("1.0", "8996"), ("TLSv1", "8996"), ("SSLv3", "7568")];
        for (text, rfc) in said.into_iter().chain([("ssl 2", "6176"), ("1.4", "no version")]) {
            let error = io::Error::from(text.parse::<TlsVersion>().unwrap_err());
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let words = error.to_string();
            assert!(words.contains(rfc) && words.contains(text), "{words}");
            assert!(words.contains("TLSv1.2 and TLSv1.3"), "{words}");
        }
    }
}
