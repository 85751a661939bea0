//! What wheels are made for: a processor, a C library, and the oldest version of that.

use std::{env::consts, fs};

use crate::{Outcome, command::Job};

/// A machine that wheels are made for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As rustup names it.
    pub(crate) triple: &'static str,
    pub(crate) libc: Libc,
}

/// A C library, in the oldest version that is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Libc {
    /// Of the tag `manylinux`.
    Glibc(u32, u32),
    /// Of the tag `musllinux`.
    Musl(u32, u32),
}

/// The oldest glibc is the one that Rust's own standard library asks for. `musllinux_1_2` is the
/// oldest tag of musl that installers of today know beside one for systems that are no longer kept.
const GLIBC: Libc = Libc::Glibc(2, 17);
const MUSL: Libc = Libc::Musl(1, 2);

pub(crate) const TARGETS: &[Target] = &[
    Target { triple: "x86_64-unknown-linux-gnu", libc: GLIBC },
    Target { triple: "x86_64-unknown-linux-musl", libc: MUSL },
    Target { triple: "aarch64-unknown-linux-gnu", libc: GLIBC },
    Target { triple: "aarch64-unknown-linux-musl", libc: MUSL },
];

impl Target {
    /// Returns the target of this machine, with glibc.
    pub(crate) fn here() -> Outcome<&'static Target> {
        TARGETS.iter().find(|target| target.is_here()).ok_or_else(|| {
            format!("no wheels are made for the processors of this machine ({})", consts::ARCH)
        })
    }

    /// Tells whether the CPythons of this machine can load what is built for it.
    pub(crate) fn is_here(&self) -> bool {
        self.is_native() && self.libc == GLIBC
    }

    /// Tells whether this machine has its processor.
    pub(crate) fn is_native(&self) -> bool {
        self.processor() == consts::ARCH
    }

    pub(crate) fn processor(&self) -> &'static str {
        self.triple.split('-').next().unwrap_or(self.triple)
    }

    /// Returns the platform tag without the processor.
    pub(crate) fn tag(&self) -> String {
        match self.libc {
            Libc::Glibc(major, minor) => format!("manylinux_{major}_{minor}"),
            Libc::Musl(major, minor) => format!("musllinux_{major}_{minor}"),
        }
    }

    /// Returns what is in the names of its wheels, and of no others.
    pub(crate) fn mark(&self) -> String {
        format!("{}_{}", self.tag(), self.processor())
    }

    /// Fails unless the toolchain has its standard library.
    pub(crate) fn needs_standard_library(&self) -> Outcome {
        let words = format!("--print target-libdir --target {}", self.triple);
        let folder = Job::program("rustc", &words).capture()?;
        if fs::exists(folder.trim()).unwrap_or(false) {
            return Ok(());
        }
        Err(format!("no standard library (rustup target add {})", self.triple))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_tag_of_its_own() {
        let marks: Vec<String> = TARGETS.iter().map(Target::mark).collect();
        let expected = [
            "manylinux_2_17_x86_64",
            "musllinux_1_2_x86_64",
            "manylinux_2_17_aarch64",
            "musllinux_1_2_aarch64",
        ];
        assert_eq!(marks, expected);
    }
}
