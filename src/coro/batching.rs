//! `Batching`: how the calls of several ready sockets are made.

use std::env;

use crate::log;

/// Environment variable that says how calls are batched: `off`, `direct`, `ring` or `auto`; with
/// `:N` behind it, from N ready sockets on.
const VARIABLE: &str = "ASYNCORO_BATCHING";

/// How many sockets must be ready for their calls to be made together, unless set.
const FROM: usize = 4;

/// How the scheduler makes the calls of several sockets that are ready at once.
///
/// Where verbs of several streams wait for bytes, and the bytes have come, the scheduler receives
/// them for all of the verbs before it resumes the first one. The kernel's code then stays in the
/// processor's cache: a request takes a few percent less time. Verbs notice nothing: what is
/// received ahead of a verb that is dropped before it runs belongs to the socket, and the next verb
/// gets it. Sockets that receive more than 2 KiB at once are left out, and so are datagrams.
///
/// The environment variable `ASYNCORO_BATCHING` sets the default: `off`, `direct`, `ring` or
/// `auto`, and with a number behind it (`direct:2`) also [`Builder::batch_from`].
///
/// [`Builder::batch_from`]: super::Builder::batch_from
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Batching {
    /// Each verb makes its own calls.
    Off,
    /// One system call for each socket, one after the other.
    Direct,
    /// One system call for all of them, through io_uring(7) (Linux; feature `io-uring`). Where the
    /// kernel or a sandbox refuses it, or no descriptor is left for it, as `Direct`.
    Ring,
    /// The faster of the two, which the scheduler finds out as it runs: it depends on the
    /// processor, and on what the kernel does against the processor's faults.
    #[default]
    Auto,
}

/// The settings of batching.
#[derive(Clone, Copy, Debug)]
pub(in crate::coro) struct BatchSettings {
    pub(in crate::coro) how: Batching,
    /// How many sockets must be ready.
    pub(in crate::coro) from: usize,
}

impl BatchSettings {
    /// Returns the defaults, or what the environment says.
    pub(in crate::coro) fn from_environment() -> BatchSettings {
        let defaults = BatchSettings { how: Batching::default(), from: FROM };
        let Ok(text) = env::var(VARIABLE) else { return defaults };
        BatchSettings::parse(&text).unwrap_or_else(|| {
            log::warn(format_args!("{VARIABLE}={text} says nothing about batching; ignored"));
            defaults
        })
    }

    fn parse(text: &str) -> Option<BatchSettings> {
        let (how, from) = match text.split_once(':') {
            Some((how, from)) => (how, from.parse().ok().filter(|from| *from > 0)?),
            None => (text, FROM),
        };
        let how = match how {
            "off" => Batching::Off,
            "direct" => Batching::Direct,
            "ring" => Batching::Ring,
            "auto" => Batching::Auto,
            _ => return None,
        };
        Some(BatchSettings { how, from })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{BatchSettings, Batching, FROM};

    #[test]
    fn the_environment_says_how_and_from_when_on() {
        let parse = |text| BatchSettings::parse(text).map(|settings| (settings.how, settings.from));
        assert_eq!(parse("off"), Some((Batching::Off, FROM)));
        assert_eq!(parse("auto"), Some((Batching::Auto, FROM)));
        assert_eq!(parse("direct:2"), Some((Batching::Direct, 2)));
        assert_eq!(parse("ring:1"), Some((Batching::Ring, 1)));
        for wrong in ["", "on", "ring:", "ring:0", "ring:x", "off 2"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
