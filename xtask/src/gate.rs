//! Compares instruction counts of the hot paths with those in `bench/gate/recorded.txt`.
//!
//! callgrind counts each path of `bench/gate/` twice, the second time with twice the operations;
//! the difference, divided, is the cost of one operation. Counts are reproducible where times are
//! not, so a path whose count grew by more than 5 % fails, and so does a path through a trait
//! (`PATH:TRAIT`) that costs more than [`MOST_ADDED`] beyond the path itself. They do not show the
//! cost of caches and system calls, which `cargo xtask bench` measures. The profiles stay in
//! `target/gate/` for callgrind_annotate(1).

use std::{fs, path::PathBuf};

use crate::{
    Outcome, artifacts,
    command::{Job, minutes},
    root,
};

/// A path and its instructions per operation.
type Count = (String, f64);

/// Counts all paths and compares them with the record; with `--record` writes a new record.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    match arguments {
        [] => compare_with(&read()?),
        ["--record"] => record(),
        _ => Err("gate takes --record or nothing".to_owned()),
    }
}

fn compare_with(recorded: &Record) -> Outcome {
    let now = Record { compiler: compiler()?, counts: count_all()? };
    if recorded.compiler != now.compiler {
        println!("recorded with {}, now {}: counts may differ", recorded.compiler, now.compiler);
    }
    let lines = compare(&recorded.counts, &now.counts);
    print!("{}", table(&lines, Line::fails));
    let failed: Vec<&str> =
        lines.iter().filter(|line| line.fails()).map(|line| line.name.as_str()).collect();
    let added = added(&now.counts);
    added.iter().for_each(|(name, count)| println!("{name} adds {count:.1}"));
    if let Some((name, _)) = added.iter().find(|(_, count)| *count > MOST_ADDED) {
        return Err(format!("{name} adds more than {MOST_ADDED} instructions"));
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "dearer by more than {} %, or not in both lists: {} \
         (`cargo xtask gate --record` if that is meant)",
        LIMIT * 100.0,
        failed.join(", ")
    ))
}

/// Records the current counts, and shows the previous ones.
fn record() -> Outcome {
    let before = if root().join(RECORD).exists() { read()?.counts } else { Vec::new() };
    let now = Record { compiler: compiler()?, counts: count_all()? };
    print!("{}", table(&compare(&before, &now.counts), |_| false));
    fs::write(root().join(RECORD), now.text()).map_err(|error| format!("{RECORD}: {error}"))?;
    println!("written: {RECORD}");
    Ok(())
}

fn compiler() -> Outcome<String> {
    Ok(Job::program("rustc", "--version").capture()?.trim().to_owned())
}

fn needs_valgrind() -> Outcome {
    match Job::program("valgrind", "--version").observe() {
        Ok((true, _)) => Ok(()),
        _ => Err("valgrind is not installed, and its callgrind counts the instructions \
                  (on Debian: apt-get install valgrind)"
            .to_owned()),
    }
}

/// Builds with the profile of the benchmarks.
fn build() -> Outcome<PathBuf> {
    let mut programs = artifacts::build(Job::cargo("build --profile measure -p asyncoro-gate"))?;
    programs.remove("asyncoro-gate").ok_or_else(|| "cargo built no asyncoro-gate".to_owned())
}

fn count_all() -> Outcome<Vec<Count>> {
    needs_valgrind()?;
    let program = build()?;
    let program = program.to_str().ok_or("the target folder has a name that is no UTF-8")?;
    fs::create_dir_all(root().join(FOLDER)).map_err(|error| format!("{FOLDER}: {error}"))?;
    let names = Job::program(program, "").capture()?;
    let mut counts = Vec::new();
    for name in names.lines() {
        let once = count(program, name, TIMES)?;
        let twice = count(program, name, 2 * TIMES)?;
        counts.push((name.to_owned(), (twice as f64 - once as f64) / TIMES as f64));
    }
    Ok(counts)
}

/// Counts all instructions of a run with `times` operations of a path.
fn count(program: &str, name: &str, times: u64) -> Outcome<u64> {
    let job = Job::program("valgrind", "--tool=callgrind")
        .argument(&format!("--callgrind-out-file={FOLDER}/{name}.{times}"))
        .argument(program)
        .argument(name)
        .argument(&times.to_string())
        .variable("ASYNCORO_DRIVER", "epoll")
        .deadline(minutes(2));
    let (well, text) = job.observe()?;
    match collected(&text) {
        Some(instructions) if well => Ok(instructions),
        _ => Err(format!("{name}, {times} times, could not be counted:\n{text}")),
    }
}

/// Returns the sum in callgrind's last lines: `==123== Collected : 456`.
fn collected(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once("Collected :")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The contents of `recorded.txt`.
struct Record {
    compiler: String,
    counts: Vec<Count>,
}

impl Record {
    fn text(&self) -> String {
        let row = |(name, instructions): &Count| format!("{name} {instructions:.1}\n");
        let rows: String = self.counts.iter().map(row).collect();
        format!("{HEAD}{COMPILER}{}\n{rows}", self.compiler)
    }

    fn parse(text: &str) -> Outcome<Record> {
        let compiler = text.lines().find_map(|line| line.strip_prefix(COMPILER));
        let rows = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let count = |line: &str| {
            let (name, number) = line.split_once(' ')?;
            Some((name.to_owned(), number.parse().ok()?))
        };
        let counts = rows
            .map(|line| count(line).ok_or_else(|| format!("{RECORD}: not a count: {line}")))
            .collect::<Outcome<_>>()?;
        Ok(Record { compiler: compiler.unwrap_or("an unknown compiler").to_owned(), counts })
    }
}

fn read() -> Outcome<Record> {
    let text = fs::read_to_string(root().join(RECORD))
        .map_err(|error| format!("{RECORD}: {error}; `cargo xtask gate --record` writes it"))?;
    Record::parse(&text)
}

/// A path in the table; a count is `None` if only the other list has the path.
struct Line {
    name: String,
    recorded: Option<f64>,
    now: Option<f64>,
}

impl Line {
    /// Returns the relative growth of the count.
    fn growth(&self) -> Option<f64> {
        Some(self.now? / self.recorded? - 1.0)
    }

    fn fails(&self) -> bool {
        self.growth().is_none_or(|growth| growth > LIMIT)
    }
}

/// Joins the paths of both lists, in the order of the new one.
fn compare(recorded: &[Count], now: &[Count]) -> Vec<Line> {
    let find = |counts: &[Count], name: &str| {
        counts.iter().find(|(other, _)| other == name).map(|(_, instructions)| *instructions)
    };
    let gone = recorded.iter().filter(|(name, _)| find(now, name).is_none());
    let line = |(name, _): &Count| Line {
        name: name.clone(),
        recorded: find(recorded, name),
        now: find(now, name),
    };
    now.iter().chain(gone).map(line).collect()
}

/// Returns what each path through a trait adds to the path itself.
fn added(counts: &[Count]) -> Vec<Count> {
    let beyond = |(name, count): &Count| {
        let (path, _) = name.split_once(':')?;
        let (_, plain) = counts.iter().find(|(other, _)| other == path)?;
        Some((name.clone(), count - plain))
    };
    counts.iter().filter_map(beyond).collect()
}

/// Formats the lines as a table; marks those that are bad.
fn table(lines: &[Line], is_bad: fn(&Line) -> bool) -> String {
    let number = |count: Option<f64>| count.map_or("-".to_owned(), |count| format!("{count:.1}"));
    let mut text = format!("\n{:<24}{:>10}{:>10}{:>10}\n", "path", "recorded", "now", "growth");
    for line in lines {
        let growth = line.growth().map_or("-".to_owned(), |growth| {
            let hundredths = 100.0 * growth;
            format!("{hundredths:+.1} %")
        });
        let (recorded, now) = (number(line.recorded), number(line.now));
        let verdict = if is_bad(line) { "  FAILED" } else { "" };
        text += &format!("{:<24}{recorded:>10}{now:>10}{growth:>10}{verdict}\n", line.name);
    }
    text
}

const RECORD: &str = "bench/gate/recorded.txt";
const HEAD: &str = "\
# Instructions per operation of the hot paths, as callgrind counts them.
# Written by `cargo xtask gate --record`; a change of a count belongs to the commit that causes it.
";
/// The start of the line with the compiler.
const COMPILER: &str = "# compiler: ";
/// The folder of the profiles, relative to the root.
const FOLDER: &str = "target/gate";
/// The number of operations of the shorter run.
const TIMES: u64 = 8_192;
/// The most instructions that a trait may add to a call.
const MOST_ADDED: f64 = 60.0;
/// The relative growth that is allowed.
const LIMIT: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(&str, f64)]) -> Vec<Count> {
        rows.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_path_fails_that_grew_or_is_missing_in_either_list() {
        let recorded = counts(&[("same", 100.0), ("grown", 100.0), ("less", 100.0), ("gone", 1.0)]);
        let now = counts(&[("same", 104.9), ("grown", 105.1), ("less", 50.0), ("new", 1.0)]);
        let lines = compare(&recorded, &now);
        let failed: Vec<_> =
            lines.iter().filter(|line| line.fails()).map(|line| line.name.as_str()).collect();
        assert_eq!(failed, ["grown", "new", "gone"]);
        let text = table(&lines, Line::fails);
        assert!(text.contains("grown                        100.0     105.1    +5.1 %  FAILED"));
        assert!(text.contains("gone                           1.0         -         -  FAILED"));
    }

    #[test]
    fn a_trait_is_compared_with_its_path() {
        let counts = counts(&[("send", 100.0), ("send:hyper", 130.0), ("alone:hyper", 1.0)]);
        assert_eq!(added(&counts), [("send:hyper".to_owned(), 30.0)]);
    }

    #[test]
    fn the_record_is_read_as_it_was_written() {
        let counts = counts(&[("resume", 12.5), ("send", 300.0)]);
        let record = Record { compiler: "rustc 1.2.3".to_owned(), counts };
        let read = Record::parse(&record.text()).unwrap();
        assert_eq!((read.counts, read.compiler), (record.counts, record.compiler));
        let error = Record::parse("resume\n").err().unwrap();
        assert!(error.contains("not a count: resume"));
    }

    #[test]
    fn the_sum_is_found_in_the_last_words_of_callgrind() {
        let text = "==7== Events    : Ir\n==7== Collected : 1234567\n==7== \n";
        assert_eq!(collected(text), Some(1_234_567));
        assert_eq!(collected("==7== nothing"), None);
    }
}
