//! Runs the model-based test (`tests/it/model`): for a given time, for one seed, and against
//! planted bugs, which show that it finds bugs.
//!
//! A planted bug replaces a text that occurs once in a file of the library. It is planted in a copy
//! of the tree, in `target/planted`, so the library itself never has it. If the text is no longer
//! found, an error names the entry to update.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    Outcome, artifacts,
    command::{Job, minutes},
    root,
};

/// A planted bug; each is in another mechanism.
struct Bug {
    name: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
}

const BUGS: &[Bug] = &[
    Bug {
        name: "dropped-gather-loses-bytes",
        file: "src/socket/op/receive.rs",
        right: "impl<const UNTIL: bool> Op for Gather<UNTIL> {\n",
        wrong: "impl<const UNTIL: bool> Op for Gather<UNTIL> {
    fn give_up(&mut self, side: &mut ReadSide) -> bool {
        side.take_held();
        false
    }\n",
    },
    Bug {
        name: "split-header-is-misread",
        file: "src/socket/side/inbound.rs",
        right: "        hot[..have].copy_from_slice(self.held());\n",
        wrong: "        hot[..have].copy_from_slice(self.held());
        if have < frame::HEADER {
            hot[..have].reverse();
        }\n",
    },
    Bug {
        name: "queue-forgets-the-tail",
        file: "src/socket/side/queue.rs",
        right: "            if sent < left {\n                self.sent += sent;\n",
        wrong: "            if sent < left {
                self.sent += sent;
                if let (Chunk::Copied(bytes), true) = (chunk, left > sent + 1) {
                    bytes.pop();
                    self.bytes -= 1;
                }\n",
    },
    Bug {
        name: "verb-in-line-swallows-the-lock",
        file: "src/socket/asynchronous/lock.rs",
        right: "            line.called = None;\n            return self.pass();\n",
        wrong: "            line.called = None;\n            return Left::default();\n",
    },
    Bug {
        name: "pending-plaintext-is-not-ready",
        file: "src/socket/records/channel.rs",
        right: "        self.drained && !self.has_plaintext() && !self.has_ended()",
        wrong: "        self.drained && !self.has_ended()",
    },
    Bug {
        name: "conversion-loses-held-bytes",
        file: "src/socket/asynchronous/core/end.rs",
        right: "        let read = std::mem::take(&mut state.halves.read.side);\n",
        wrong: "        let mut read = std::mem::take(&mut state.halves.read.side);
        read.take_held();\n",
    },
    Bug {
        name: "changed-waker-is-not-woken",
        file: "src/socket/asynchronous/lock.rs",
        right: "self.waiter.as_ref().is_some_and(|waiter| waiter.will_wake(waker))",
        wrong: "self.waiter.as_ref().is_some_and(|waiter| waiter.will_wake(waker) || true)",
    },
    Bug {
        name: "message-given-up-midway-is-cut",
        file: "src/socket/op/message.rs",
        right: "            side.append(header, payload);\n            self.sent = self.len();\n",
        wrong: "            let _ = (header, payload);\n            self.sent = self.len();\n",
    },
    Bug {
        name: "end-is-told-before-held-bytes",
        file: "src/socket/op/receive.rs",
        right: "        let held = side.copy_front(self.0);\n",
        wrong: "        let mut one = [0];
        if let Progress::Done(Ok(0)) = side.read(link, 0, |link| link.peek(&mut one)) {
            return Progress::Done(Ok(0));
        }
        let held = side.copy_front(self.0);\n",
    },
];

/// How long the model may take to find a bug.
const BOUND: Duration = Duration::from_secs(60);

/// The modules of `tests/it` that the model needs; without the others the copy builds in half the
/// time.
const NEEDED: &[&str] = &["bounded", "model", "pairs", "programs", "tls", "within"];

pub(crate) fn run(words: &[&str]) -> Outcome {
    match words {
        ["--planted", names @ ..] => planted(names),
        _ => play(words),
    }
}

/// Runs the model on each driver, or on the one that `ASYNCORO_DRIVER` names.
fn play(words: &[&str]) -> Outcome {
    let (mut seconds, mut seed) = (None, None);
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let place = match word {
            "--seconds" => &mut seconds,
            "--seed" => &mut seed,
            _ => return Err(format!("{word} is no option of model")),
        };
        let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
        let number: u64 = value.parse().map_err(|_| format!("{value} is no number"))?;
        *place = Some(number);
    }
    let chosen = std::env::var("ASYNCORO_DRIVER").ok();
    let drivers = chosen.map_or_else(|| vec!["epoll".into(), "poll".into()], |one| vec![one]);
    for driver in drivers {
        let mut job =
            Job::cargo("test --release --package asyncoro --test it model -- --nocapture")
                .variable("ASYNCORO_DRIVER", &driver)
                .deadline(Duration::from_secs(seconds.unwrap_or(60)) + minutes(20));
        if let Some(seconds) = seconds {
            job = job.variable("ASYNCORO_MODEL_SECONDS", &seconds.to_string());
        }
        if let Some(seed) = seed {
            job = job.variable("ASYNCORO_MODEL_SEED", &seed.to_string());
        }
        job.run()?;
    }
    Ok(())
}

/// Plants each bug by itself and runs the model; fails if it does not find one.
fn planted(names: &[&str]) -> Outcome {
    if let Some(name) = names.iter().find(|name| BUGS.iter().all(|bug| bug.name != **name)) {
        let known: Vec<&str> = BUGS.iter().map(|bug| bug.name).collect();
        return Err(format!("there is no planted bug {name}; there are {}", known.join(", ")));
    }
    let tree = root().join("target/planted/tree");
    copy(&tree)?;
    let mut missed = Vec::new();
    let mut table = String::new();
    for bug in BUGS.iter().filter(|bug| names.is_empty() || names.contains(&bug.name)) {
        let found = with_bug(bug, &tree)?;
        let told =
            found.map_or("not found".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        println!("{:<32} {told}", bug.name);
        table += &format!("{:<32} {told:>10}\n", bug.name);
        if found.is_none() {
            missed.push(bug.name);
        }
    }
    println!("\nplanted bugs, and how long the model took to find them:\n{table}");
    if missed.is_empty() { Ok(()) } else { Err(format!("not found: {}", missed.join(", "))) }
}

/// Returns how long the model took to find the bug.
fn with_bug(bug: &Bug, tree: &Path) -> Outcome<Option<Duration>> {
    let place = tree.join(bug.file);
    let right = read(&place)?;
    write(&place, &plant(bug, &right)?)?;
    let manifest = tree.join("Cargo.toml");
    let built = artifacts::build(
        Job::cargo("test --package asyncoro --test it --no-run --target-dir target/planted/build")
            .argument("--manifest-path")
            .argument(&manifest.to_string_lossy())
            .variable("RUSTFLAGS", "--cap-lints warn -A warnings")
            .deadline(minutes(20)),
    );
    write(&place, &right)?;
    let binary = built?.remove("it").ok_or("cargo has built no test binary")?;
    let seconds = BOUND.as_secs().to_string();
    let begun = Instant::now();
    let job = Job::program(&binary.to_string_lossy(), "model::whatever")
        .variable("ASYNCORO_MODEL_SECONDS", &seconds)
        .variable("RUST_BACKTRACE", "0")
        .deadline(BOUND * 2);
    let (well, text) = job.observe()?;
    if well && !text.contains("test result: ok. 1 passed") {
        return Err("the model was not among the tests".to_owned());
    }
    if let Some(line) = text.lines().rfind(|line| line.starts_with("the model found something")) {
        println!("{line}");
    }
    Ok((!well && begun.elapsed() <= BOUND).then(|| begun.elapsed()))
}

fn plant(bug: &Bug, text: &str) -> Outcome<String> {
    match text.matches(bug.right).count() {
        1 => Ok(text.replacen(bug.right, bug.wrong, 1)),
        count => Err(format!(
            "{} stands {count} times in {}: write that entry of BUGS (xtask/src/model.rs) anew",
            bug.right.trim(),
            bug.file
        )),
    }
}

/// Copies all files that git tracks or would add.
fn copy(tree: &Path) -> Outcome {
    let listed = Job::program("git", "ls-files --cached --others --exclude-standard").capture()?;
    for path in listed.lines().map(Path::new).filter(|path| root().join(path).is_file()) {
        let (from, to) = (root().join(path), tree.join(path));
        let folder = to.parent().map(PathBuf::from).unwrap_or_default();
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let bytes = fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
        // Cargo compares times, so a file that has not changed is not written.
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            fs::write(&to, &bytes).map_err(|error| format!("{}: {error}", to.display()))?;
        }
    }
    let main = tree.join("tests/it/main.rs");
    let text = read(&main)?;
    let is_left_out = |line: &str| {
        let name = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
        name.is_some_and(|name| !NEEDED.contains(&name))
    };
    let needed: Vec<&str> = text.lines().filter(|line| !is_left_out(line)).collect();
    // The attribute of a module that is left out would apply to the next one.
    write(&main, &needed.join("\n"))
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_planted_bug_has_its_place_in_the_library() {
        for bug in BUGS {
            let text = read(&root().join(bug.file)).unwrap();
            assert_ne!(plant(bug, &text).unwrap(), text, "{}", bug.name);
        }
    }

    #[test]
    fn an_option_that_is_none_is_told() {
        assert!(run(&["--second", "1"]).unwrap_err().contains("--second"));
        assert!(run(&["--seconds", "x"]).unwrap_err().contains("no number"));
        assert!(run(&["--planted", "x"]).unwrap_err().contains("no planted bug x"));
    }
}
