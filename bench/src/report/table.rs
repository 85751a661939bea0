//! The result of one case: a row per subject, a ratio per subject and base.

use super::statistics::{Ratio, Summary, median};
use super::{Base, Case};

/// The result of a case.
pub(super) struct Table {
    pub(super) group: &'static str,
    pub(super) case: String,
    pub(super) metric: &'static str,
    pub(super) unit: &'static str,
    pub(super) x: Option<f64>,
    /// Names of the subjects that the rows are compared with, at least one.
    pub(super) bases: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// The result of a subject.
pub(super) struct Row {
    pub(super) subject: String,
    pub(super) rounds: usize,
    pub(super) costs: Summary,
    /// The ratio to each base of the table, in that order.
    pub(super) ratios: Vec<Ratio>,
}

impl Table {
    /// Makes the table of a case from each subject's costs, one per round; `None` if there are no
    /// subjects.
    pub(super) fn new(case: &Case, results: &[(String, Vec<f64>)]) -> Option<Self> {
        let bases = bases(case.bases, results);
        bases.first()?;
        let row = |(subject, costs): &(String, Vec<f64>)| Row {
            subject: subject.clone(),
            rounds: costs.len(),
            costs: Summary::new(costs),
            ratios: bases.iter().map(|&base| Ratio::new(costs, &results[base].1)).collect(),
        };
        Some(Self {
            group: case.group,
            case: case.name.clone(),
            metric: case.metric,
            unit: case.unit,
            x: case.x,
            bases: bases.iter().map(|&base| results[base].0.clone()).collect(),
            rows: results.iter().map(row).collect(),
        })
    }

    /// Tells whether this row's median is the lowest of the table.
    pub(super) fn is_best(&self, row: &Row) -> bool {
        self.rows.iter().all(|other| row.costs.median <= other.costs.median)
    }
}

/// Returns the indices of the bases, each once, without those that did not take part; the first
/// subject if none is left.
fn bases(asked: &[Base], results: &[(String, Vec<f64>)]) -> Vec<usize> {
    let mut places = Vec::new();
    for base in asked {
        let place = match base {
            Base::Subject(name) => results.iter().position(|(subject, _)| subject == name),
            Base::BestPeer => best_peer(results),
        };
        places.extend(place.filter(|place| !places.contains(place)));
    }
    if places.is_empty() && !results.is_empty() {
        places.push(0);
    }
    places
}

fn best_peer(results: &[(String, Vec<f64>)]) -> Option<usize> {
    let peers = results.iter().enumerate().filter(|(_, (subject, _))| !is_ours(subject));
    let medians = peers.map(|(place, (_, costs))| (place, median(costs)));
    medians.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(place, _)| place)
}

/// Tells whether a subject is asyncoro, by whichever verb.
pub(super) fn is_ours(subject: &str) -> bool {
    subject.split(' ').next() == Some("asyncoro")
}

/// Makes a table of group `echo` with rows `(subject, costs)`, for tests.
#[cfg(test)]
pub(super) fn example(bases: &'static [Base], rows: &[(&str, &[f64])]) -> Table {
    let name = "K = 8, 64 B".to_owned();
    let (metric, unit) = ("time per request", "ns");
    let case = Case { group: "echo", name, metric, unit, bases, x: Some(8.0) };
    let results: Vec<_> =
        rows.iter().map(|(subject, costs)| ((*subject).to_owned(), costs.to_vec())).collect();
    Table::new(&case, &results).expect("there are rows")
}

#[cfg(test)]
mod tests {
    use super::super::Base;
    use super::{example, is_ours};

    const ROWS: &[(&str, &[f64])] = &[
        ("epoll", &[10.0, 11.0, 12.0]),
        ("tokio", &[20.0, 22.0, 24.0]),
        ("smol", &[4.0, 5.0, 6.0]),
        ("asyncoro", &[1.0, 1.0, 1.0]),
    ];

    #[test]
    fn rows_are_compared_with_each_base() {
        let table = example(&[Base::Subject("epoll"), Base::Subject("tokio")], ROWS);
        assert_eq!(table.bases, ["epoll", "tokio"]);
        let tokio = &table.rows[1];
        assert_eq!((tokio.ratios[0].of_medians, tokio.ratios[1].of_medians), (2.0, 1.0));
    }

    #[test]
    fn best_peer_is_never_asyncoro() {
        let table = example(&[Base::BestPeer, Base::Subject("smol")], ROWS);
        assert_eq!(table.bases, ["smol"], "the same base twice counts once");
        assert!(table.is_best(&table.rows[3]) && !table.is_best(&table.rows[2]));
        assert!(is_ours("asyncoro recv_with") && !is_ours("tokio"));
    }

    #[test]
    fn the_first_subject_is_the_base_when_no_other_takes_part() {
        assert_eq!(example(&[], ROWS).bases, ["epoll"]);
        assert_eq!(example(&[Base::Subject("glommio")], ROWS).bases, ["epoll"]);
        assert_eq!(example(&[Base::BestPeer], &ROWS[3..]).bases, ["asyncoro"]);
    }
}
