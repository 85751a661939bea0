//! Has the Autobahn test suite, the conformance suite for WebSocket, talk to the example
//! `websocket_echo`.
//!
//! The suite is a program for CPython 2.7. It is installed once, into a folder in `target/`, and
//! leaves its report (`index.html`) beside. Its cases of compression are left out, which the
//! example does not negotiate.

use std::{env, fs, path::Path};

use crate::{
    Outcome, artifacts,
    command::{Job, minutes},
    examples::Running,
    root,
};

/// Returns the reason why the suite cannot run here, if there is one.
pub(crate) fn lacks() -> Option<String> {
    python().is_none().then(|| "no CPython 2.7 with pip, which the Autobahn suite needs".to_owned())
}

/// Runs all cases; returns how many there were, and fails if one of them failed.
pub(crate) fn run() -> Outcome<String> {
    let python = python().ok_or("there is no CPython 2.7")?;
    install(&python)?;
    let words = "build --release --package asyncoro-interop --example websocket_echo";
    let mut programs = artifacts::build(Job::cargo(words))?;
    let program = programs.remove("websocket_echo").ok_or("cargo built no websocket_echo")?;
    let mut server = Running::start("websocket_echo", &program, &["127.0.0.1:0"])?;
    let address = server.listening()?;
    let folder = root().join(REPORT);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("{REPORT}: {error}"))?;
    let plan = folder.join("plan.json");
    let text = PLAN.replace("ADDRESS", &address.to_string()).replace("FOLDER", REPORT);
    fs::write(&plan, text).map_err(|error| format!("{}: {error}", plan.display()))?;
    let talk = Job::program(&python, "-c").argument(TALK).argument("-m").argument("fuzzingclient");
    talk.argument("-s").argument(&plan.to_string_lossy()).deadline(minutes(30)).run()?;
    let judge = Job::program(&python, "-c").argument(JUDGE).argument(REPORT);
    let (well, text) = judge.observe()?;
    if well { Ok(text.trim().to_owned()) } else { Err(text) }
}

/// Returns a CPython 2.7 that has pip: of the search path, or pyenv's.
fn python() -> Option<String> {
    let home = env::var_os("HOME").unwrap_or_default();
    let installed = fs::read_dir(Path::new(&home).join(".pyenv/versions"));
    let folders = installed.into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let pythons = folders.map(|folder| folder.join("bin/python2.7").to_string_lossy().into_owned());
    ["python2.7".to_owned()].into_iter().chain(pythons).find(|python| {
        let pip = Job::program(python, "-m pip --version").observe();
        matches!(pip, Ok((true, _)))
    })
}

fn install(python: &str) -> Outcome {
    let (well, _) = Job::program(python, "-c").argument(CHECK).observe()?;
    if well {
        return Ok(());
    }
    let _ = fs::remove_dir_all(root().join(FOLDER));
    let words = "-m pip install --quiet --disable-pip-version-check --target";
    let job = Job::program(python, words).argument(FOLDER).argument(SUITE);
    job.deadline(minutes(20)).run()
}

const SUITE: &str = "autobahntestsuite==25.10.1";
/// The folder of the suite and of what it needs, relative to the root.
const FOLDER: &str = "target/autobahn";
const REPORT: &str = "target/autobahn-report";

const CHECK: &str = "
import site; site.addsitedir('target/autobahn')
import autobahntestsuite";

const TALK: &str = "
import site; site.addsitedir('target/autobahn')
from autobahntestsuite.wstest import run
run()";

/// What the suite does: all cases but those of compression.
const PLAN: &str = r#"{
    "outdir": "FOLDER",
    "servers": [{"agent": "asyncoro", "url": "ws://ADDRESS"}],
    "cases": ["*"],
    "exclude-cases": ["12.*", "13.*"],
    "exclude-agent-cases": {}
}"#;

/// Reads the report: prints a line for each case that failed, or how many there were. NON-STRICT is
/// what the suite calls a deviation that RFC 6455 allows: an invalid text refused later than it
/// could have been.
const JUDGE: &str = "
import json, sys
cases = json.load(open(sys.argv[1] + '/index.json'))['asyncoro']
good = ('OK', 'INFORMATIONAL', 'NON-STRICT')
bad = [(name, case['behavior'], case['behaviorClose']) for name, case in sorted(cases.items())
       if case['behavior'] not in good or case['behaviorClose'] not in good]
for name, behavior, close in bad:
    print('case %s: %s, its close: %s' % (name, behavior, close))
def count(what): return sum(case['behavior'] == what for case in cases.values())
if len(cases) < 200:
    sys.exit('only %d cases were run' % len(cases))
if bad:
    sys.exit('%d of %d cases failed' % (len(bad), len(cases)))
print('%d cases: %d ok, %d informational, %d non-strict'
      % (len(cases), count('OK'), count('INFORMATIONAL'), count('NON-STRICT')))";
