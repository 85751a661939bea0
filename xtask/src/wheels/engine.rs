//! What readelf(1) tells of the compiled engine in a wheel, and what must hold of it.

use std::{fs, path::Path};

use super::target::{Libc, Target};
use crate::{Outcome, command::Job};

/// What an engine needs of the machine that it is loaded on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Engine {
    pub(crate) bytes: u64,
    /// The newest version of glibc that a symbol of it is bound to.
    pub(crate) glibc: Option<(u32, u32)>,
    /// The libraries that it is linked with.
    libraries: Vec<String>,
    /// Symbols that it must find, which are neither CPython's nor bound to a version.
    unbound: Vec<String>,
    /// Sections that only debuggers and profilers read.
    debugging: Vec<String>,
}

/// The libraries that every system with glibc, or musl, has.
const OF_GLIBC: &[&str] =
    &["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1"];
const OF_MUSL: &[&str] = &["libc.so"];

impl Engine {
    pub(crate) fn read(path: &Path) -> Outcome<Engine> {
        let bytes = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let words = "--wide --dynamic --dyn-syms --sections";
        let text = Job::program("readelf", words).argument(&path.to_string_lossy()).capture()?;
        Ok(Engine { bytes: bytes.len(), ..parsed(&text) })
    }

    /// Fails unless it can be loaded on every machine that the target promises, and is stripped.
    pub(crate) fn check(&self, target: &Target) -> Outcome {
        let known = match target.libc {
            Libc::Glibc(..) => OF_GLIBC,
            Libc::Musl(..) => OF_MUSL,
        };
        let strange = |library: &&String| {
            !known.contains(&library.as_str()) && !library.starts_with("ld-linux-")
        };
        let strange: Vec<&String> = self.libraries.iter().filter(strange).collect();
        if !strange.is_empty() {
            return Err(format!("it is linked with {strange:?}"));
        }
        if !self.debugging.is_empty() {
            return Err(format!("it is not stripped: {:?}", self.debugging));
        }
        match (target.libc, self.glibc) {
            (Libc::Glibc(..), None) => Err("it needs no symbol of glibc at all".to_owned()),
            (Libc::Glibc(major, minor), Some(newest)) if newest > (major, minor) => {
                Err(format!("it needs glibc {}.{}", newest.0, newest.1))
            }
            // glibc has versions for all of its symbols, musl for none.
            (Libc::Glibc(..), _) if !self.unbound.is_empty() => {
                Err(format!("glibc {:?} has no {:?}", target.libc, self.unbound))
            }
            (Libc::Musl(..), Some(_)) => Err("it needs glibc".to_owned()),
            _ => Ok(()),
        }
    }
}

fn parsed(text: &str) -> Engine {
    let mut engine = Engine::default();
    for line in text.lines() {
        if let Some((_, name)) = line.split_once("Shared library: [") {
            engine.libraries.push(name.trim_end().trim_end_matches(']').to_owned());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let sections = words.iter().copied();
        engine.debugging.extend(
            sections
                .filter(|word| *word == ".symtab" || word.starts_with(".debug_"))
                .map(str::to_owned),
        );
        // Num: Value Size Type Bind Vis Ndx Name, and the number of the version in brackets.
        if let [number, _, _, _, bind, _, "UND", name, ..] = words[..]
            && number.ends_with(':')
        {
            match name.split_once("@GLIBC_") {
                Some((_, version)) => engine.glibc = engine.glibc.max(numbers(version)),
                None if bind == "WEAK" || is_of_python(name) => {}
                None => engine.unbound.push(name.to_owned()),
            }
        }
    }
    engine
}

/// Tells whether CPython, which loads the engine, has a symbol.
pub(crate) fn is_of_python(symbol: &str) -> bool {
    symbol.starts_with("Py") || symbol.starts_with("_Py")
}

/// Reads a version such as `2.17` or `2.2.5`; returns its first two numbers.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheels::target::TARGETS;

    const TEXT: &str = "\
  [ 3] .gnu.version_r    VERNEED         0000000000000f30 000f30 0000c0 00   A  7   5  8
  [27] .symtab           SYMTAB          0000000000000000 2ed0e8 0a2b10 18     28 26523  8
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
Symbol table '.dynsym' contains 6 entries:
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND
     1: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND memcpy@GLIBC_2.14 (4)
     2: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND close@GLIBC_2.2.5 (5)
     3: 0000000000000000     0 FUNC    WEAK   DEFAULT  UND gnu_get_libc_version
     4: 0000000000000000     0 OBJECT  GLOBAL DEFAULT  UND _Py_NoneStruct
     5: 00000000000ab000    20 FUNC    GLOBAL DEFAULT   14 PyInit__engine
";

    #[test]
    fn an_engine_is_read_from_what_readelf_prints() {
        let engine = parsed(TEXT);
        assert_eq!(engine.glibc, Some((2, 14)));
        assert_eq!(engine.libraries, ["libc.so.6"]);
        assert_eq!(engine.debugging, [".symtab"]);
        assert_eq!(engine.unbound, [""; 0]);
    }

    #[test]
    fn what_a_target_does_not_promise_fails() {
        let [glibc, musl, ..] = TARGETS else { panic!("there are targets") };
        let well = || Engine {
            glibc: Some((2, 17)),
            libraries: vec!["libc.so.6".to_owned(), "ld-linux-x86-64.so.2".to_owned()],
            ..Engine::default()
        };
        assert_eq!(well().check(glibc), Ok(()));
        for (engine, word) in [
            (Engine { glibc: Some((2, 28)), ..well() }, "needs glibc 2.28"),
            (Engine { glibc: None, ..well() }, "no symbol of glibc"),
            (Engine { libraries: vec!["libgcc_s.so.1".to_owned()], ..well() }, "linked with"),
            (Engine { unbound: vec!["epoll_pwait2".to_owned()], ..well() }, "epoll_pwait2"),
            (Engine { debugging: vec![".debug_line".to_owned()], ..well() }, "not stripped"),
        ] {
            let error = engine.check(glibc).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        let of_musl = |glibc| Engine {
            glibc,
            libraries: vec!["libc.so".to_owned()],
            unbound: vec!["memcpy".to_owned()],
            ..Engine::default()
        };
        assert_eq!(of_musl(None).check(musl), Ok(()));
        assert!(of_musl(Some((2, 17))).check(musl).unwrap_err().contains("glibc"));
        assert!(well().check(musl).unwrap_err().contains("linked with"));
    }
}
