//! Rules for text of any kind: no line is too long or ends with blanks, and no path exists on one
//! machine only.

use super::{Complaint, File, source};

const COLUMNS: usize = 100;

/// Folders that exist on one machine only; in two parts, so that this file passes its own rule.
const MACHINE_FOLDERS: &[&str] =
    &[concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tm", "p/h_")];
const HOMES: &str = concat!("/ho", "me/");

/// Hosts of package registries: the name of a package is enough, as the client knows the host.
const HOSTS: &[&str] = &[
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("files.", "pythonhosted.org"),
    concat!("registry.", "npmjs.org"),
];

pub(super) fn machine_paths(files: &[File]) -> Vec<Complaint> {
    each_line(files, |_, line| {
        let folder = MACHINE_FOLDERS.iter().find(|folder| starts_a_path(line, folder).is_some());
        let found = folder.copied().or_else(|| names_a_home(line).then_some(HOMES))?;
        Some(format!("{found} is a path of one machine; write it relative, or from a variable"))
    })
}

pub(super) fn registry_hosts(files: &[File]) -> Vec<Complaint> {
    each_line(files, |_, line| {
        let host = HOSTS.iter().find(|host| line.contains(**host))?;
        Some(format!("{host} is the host of a package registry; name the package alone"))
    })
}

pub(super) fn long_lines(files: &[File]) -> Vec<Complaint> {
    each_line(files, |file, line| {
        let columns = line.chars().count();
        let is_code = file.is_rust() || file.is_python();
        (is_code && columns > COLUMNS).then(|| format!("{columns} columns; {COLUMNS} at most"))
    })
}

pub(super) fn trailing_whitespace(files: &[File]) -> Vec<Complaint> {
    each_line(files, |file, line| {
        let is_ours = !file.path.starts_with("LICENSE");
        (is_ours && line != line.trim_end()).then(|| "blanks at the end of the line".to_owned())
    })
}

fn each_line(files: &[File], judge: impl Fn(&File, &str) -> Option<String>) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files {
        for (index, line) in file.text.split('\n').enumerate() {
            complaints.extend(judge(file, line).map(|text| file.complaint(index + 1, text)));
        }
    }
    complaints
}

/// Returns what follows `folder` where it is at the start of a path, not in the middle of one.
fn starts_a_path<'a>(line: &'a str, folder: &str) -> Option<&'a str> {
    let goes_on = |c: char| source::is_word(c) || matches!(c, '.' | '-' | '~' | '}' | '>');
    let mut places = line.match_indices(folder);
    let (position, _) = places.find(|(position, _)| !line[..*position].ends_with(goes_on))?;
    Some(&line[position + folder.len()..])
}

/// Tells whether the line has a path in a home folder: a name and a further step, not a placeholder
/// such as `<name>`.
fn names_a_home(line: &str) -> bool {
    starts_a_path(line, HOMES).is_some_and(|rest| {
        let name = rest.split('/').next().unwrap_or_default();
        rest.len() > name.len()
            && !name.is_empty()
            && name.chars().all(|c| source::is_word(c) || c == '-')
    })
}

#[cfg(test)]
mod tests {
    use super::{super::complaints, *};

    fn count(rule: super::super::Rule, line: &str) -> usize {
        complaints(rule, &[("docs/a.md", line)]).len()
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for folder in MACHINE_FOLDERS {
            assert_eq!(count(machine_paths, &format!("see {folder}main")), 1);
            assert_eq!(count(machine_paths, &format!("X={folder}main")), 1);
            assert_eq!(count(machine_paths, &format!("https://host.org{folder}main")), 0);
            assert_eq!(count(machine_paths, &format!("$HOME{folder}main ../x{folder}y")), 0);
        }
        assert_eq!(count(machine_paths, &format!("`{HOMES}ann/src`")), 1);
        assert_eq!(count(machine_paths, &format!("{HOMES}<name>/src {HOMES}ann")), 0);
    }

    #[test]
    fn hosts_of_registries_are_found() {
        for host in HOSTS {
            assert_eq!(count(registry_hosts, &format!("https://{host}/x")), 1);
        }
        assert_eq!(
            count(registry_hosts, "registry+https://github.com/rust-lang/crates.io-index"),
            0
        );
    }

    #[test]
    fn long_lines_are_found_in_code_alone() {
        let (fits, long) = ("ü".repeat(COLUMNS), "ü".repeat(COLUMNS + 1));
        assert_eq!(complaints(long_lines, &[("a.rs", &fits), ("a.md", &long)]).len(), 0);
        assert_eq!(
            complaints(long_lines, &[("a.rs", &long)]),
            ["a.rs:1: 101 columns; 100 at most"]
        );
        assert_eq!(complaints(long_lines, &[("a.py", &long), ("b.pyi", &long)]).len(), 2);
    }

    #[test]
    fn blanks_at_the_end_of_a_line_are_found() {
        assert_eq!(count(trailing_whitespace, "a\nb \nc\t\n"), 2);
        assert_eq!(count(trailing_whitespace, " a\n\n"), 0);
    }
}
