//! The steps of CI in their order: cheap ones that find most come first.
//!
//! Each step prints the commands it runs, so that a failure can be repeated by hand. The first
//! failure ends the run. The summary lists what was left out, and why.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    Outcome,
    command::{Job, minutes},
    examples, portable, python, pythons, root, skips, tidy,
};

struct Step {
    name: &'static str,
    run: fn() -> Outcome,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", run: fmt },
    Step { name: "tidy", run: tidy::run },
    Step { name: "clippy", run: clippy },
    Step { name: "doc", run: doc },
    Step { name: "minimal", run: portable::minimal },
    Step { name: "msrv", run: portable::msrv },
    Step { name: "targets", run: portable::targets },
    Step { name: "test-epoll", run: test_epoll },
    Step { name: "test-poll", run: test_poll },
    Step { name: "interop", run: interop },
    Step { name: "doctest", run: doctest },
    Step { name: "loom", run: loom },
    Step { name: "examples", run: || examples::run(&[]) },
    Step { name: "python", run: python::ends },
];

/// Runs the steps with these names, all of them when none is given.
pub(crate) fn run(names: &[&str]) -> Outcome {
    let steps = select(names)?;
    let started = Instant::now();
    let mut done = Vec::new();
    let mut failure = None;
    for step in &steps {
        println!("\n=== {}", step.name);
        let step_started = Instant::now();
        let outcome = (step.run)();
        let time = step_started.elapsed();
        done.push((step.name, outcome.is_ok(), time));
        match outcome {
            Ok(()) => println!("=== {}: ok in {}", step.name, seconds(time)),
            Err(sentence) => {
                println!("=== {}: FAILED after {}: {sentence}", step.name, seconds(time));
                failure = Some(format!("ci failed in step {}: {sentence}", step.name));
                break;
            }
        }
    }
    summarize(&done, steps.len(), started.elapsed());
    failure.map_or(Ok(()), Err)
}

fn select(names: &[&str]) -> Outcome<Vec<&'static Step>> {
    if names.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    let find = |name: &&str| {
        STEPS.iter().find(|step| step.name == *name).ok_or_else(|| {
            let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            format!("there is no step {name}; there are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

fn summarize(done: &[(&str, bool, Duration)], planned: usize, total: Duration) {
    println!("\n=== summary");
    for (name, well, time) in done {
        println!("{name:<12} {:<7} {:>8}", if *well { "ok" } else { "FAILED" }, seconds(*time));
    }
    let passed = done.iter().filter(|(_, well, _)| *well).count();
    println!("{:<12} {:<7} {:>8}", "all", "", seconds(total));
    if done.len() < planned {
        println!("not run: {} steps after the failure", planned - done.len());
    }
    println!("steps: {passed} passed, {} failed", done.len() - passed);
    let skipped = skips::take();
    if skipped.is_empty() {
        println!("skipped: nothing");
    } else {
        println!("skipped:");
        skipped.iter().for_each(|what| println!("  {what}"));
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn fmt() -> Outcome {
    Job::cargo("fmt --all --check").run()
}

/// Runs clippy with the default features and without them. Its lint `incompatible_msrv` checks the
/// minimum Rust version, too.
fn clippy() -> Outcome {
    for_python(Job::cargo("clippy --workspace --all-targets -- -D warnings")).run()?;
    Job::cargo("clippy --package asyncoro --no-default-features --all-targets -- -D warnings").run()
}

fn doc() -> Outcome {
    for features in [" --features futures-io,hyper,tokio", "", " --no-default-features"] {
        Job::cargo(&format!("doc --package asyncoro --lib --no-deps{features}"))
            .variable("RUSTDOCFLAGS", "-D warnings")
            .run()?;
    }
    Ok(())
}

/// Runs the tests on the driver of Linux, with those of `bench` and xtask, which need no driver.
fn test_epoll() -> Outcome {
    mine().variable("ASYNCORO_DRIVER", "epoll").run_tests()
}

/// Prepares the tests of one build, for either driver.
fn mine() -> Job {
    for_python(test(&format!("test {MINE} --tests")))
}

/// What is tested in one build. The libraries of others have one of their own, that of the examples
/// which their tests start.
const MINE: &str = "--workspace --exclude asyncoro-interop";

/// Runs the tests with the libraries of others and against real servers.
fn interop() -> Outcome {
    test("test --package asyncoro-interop").run_tests()
}

/// Prepares a command on the whole workspace: pyo3 asks the CPython that it finds what to build
/// for. Where there is none, a file tells it; these commands neither link with Python's library nor
/// run it.
fn for_python(job: Job) -> Job {
    if pythons::version("python3").is_some() {
        return job;
    }
    job.variable("PYO3_CONFIG_FILE", &root().join(PYO3_CONFIG).to_string_lossy())
}

/// The configuration file of pyo3-build-config.
const PYO3_CONFIG: &str = "xtask/pyo3.txt";

/// Runs the same tests on the driver of other Unix systems, with calls made together as often as
/// that is possible, and by io_uring.
fn test_poll() -> Outcome {
    mine().variable("ASYNCORO_DRIVER", "poll").variable("ASYNCORO_BATCHING", "ring:2").run_tests()
}

/// Runs the examples in the documentation, on one driver, with all features.
fn doctest() -> Outcome {
    test("test --package asyncoro --doc --features futures-io,hyper,tokio").run()
}

/// Prepares tests: twice as many at once as there are processors, since most of them wait.
fn test(words: &str) -> Job {
    let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
    Job::cargo(words)
        .variable("RUST_BACKTRACE", "1")
        .variable("RUST_TEST_THREADS", &threads.to_string())
        .deadline(minutes(20))
}

/// Runs the loom models, the unit tests `loom_*` of the library, in a build of their own.
pub(crate) fn loom() -> Outcome {
    loom_with(3, minutes(20))
}

/// Runs the loom models with a bound on preemptions.
pub(crate) fn loom_with(preemptions: u32, deadline: Duration) -> Outcome {
    if !tidy::source_has("fn loom_")? {
        println!("src holds no loom model yet (a unit test whose name begins with loom_)");
        return Ok(());
    }
    Job::cargo("test --package asyncoro --lib --release --target-dir target/loom loom_")
        .variable("RUSTFLAGS", "--cfg loom")
        .variable("LOOM_MAX_PREEMPTIONS", &preemptions.to_string())
        // Halves the build's time; the models run as fast.
        .variable("CARGO_PROFILE_RELEASE_LTO", "off")
        .variable("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .deadline(deadline)
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_name_and_all_of_them_by_none() {
        assert_eq!(select(&[]).unwrap().len(), STEPS.len());
        let names: Vec<_> = select(&["doc", "fmt"]).unwrap().iter().map(|step| step.name).collect();
        assert_eq!(names, ["doc", "fmt"]);
        assert!(select(&["docs"]).err().unwrap().contains("no step docs"));
    }
}
