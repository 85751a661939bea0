//! Runs rounds: the subjects of a case take turns, in a changing order, until the time is over.

use std::time::{Duration, Instant};

/// A subject of a case, ready to run.
pub(crate) struct Contestant {
    /// The subject's name.
    pub(crate) name: String,
    /// Runs one turn of the work and returns its cost.
    pub(crate) turn: Box<dyn FnMut() -> Cost>,
    /// Whether the kernel does a part of its work while the client sends.
    pub(crate) works_in_sends: bool,
}

impl Contestant {
    /// Makes a contestant whose returned cost includes all of its work.
    pub(crate) fn new(name: &str, turn: impl FnMut() -> Cost + 'static) -> Self {
        Self { name: name.to_owned(), turn: Box::new(turn), works_in_sends: false }
    }
}

/// The cost of a turn, per operation.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    /// The subject's own cost.
    pub(crate) own: f64,
    /// Its client's cost of sending; zero if there is no client.
    pub(crate) sending: f64,
}

impl From<f64> for Cost {
    fn from(own: f64) -> Self {
        Self { own, sending: 0.0 }
    }
}

/// Lets the contestants of one case compete for `time`. Returns the costs, for each contestant one
/// per round.
pub(crate) fn compete(
    contestants: &mut [Contestant],
    time: Duration,
    tick: impl FnMut(Duration),
) -> Vec<Vec<f64>> {
    let rounds = take_turns(contestants.len(), |index| (contestants[index].turn)(), time, tick);
    by_contestant(rounds.iter().map(|turns| charge(contestants, turns)))
}

/// Lets `count` subjects take turns for `time` (and at least [`LEAST`] rounds, [`FEWEST`] of slow
/// ones). Returns the results of each round; `tick` is called after each round with the time it
/// took.
pub(crate) fn take_turns<T: Copy>(
    count: usize,
    mut turn: impl FnMut(usize) -> T,
    time: Duration,
    mut tick: impl FnMut(Duration),
) -> Vec<Vec<T>> {
    for index in 0..count {
        // The first turn has cold caches and is not counted.
        turn(index);
    }
    let mut rounds = Vec::new();
    let started = Instant::now();
    loop {
        let round_started = Instant::now();
        let mut turns = vec![None; count];
        for index in order(rounds.len(), count) {
            turns[index] = Some(turn(index));
        }
        rounds.push(turns.into_iter().flatten().collect());
        tick(round_started.elapsed());
        let enough = if started.elapsed() >= PATIENCE * time { FEWEST } else { LEAST };
        if rounds.len() >= enough && started.elapsed() >= time {
            return rounds;
        }
    }
}

/// Returns the cost of a round for each contestant of a case. The first is the yardstick, for which
/// the kernel does no work while the client sends.
pub(crate) fn charge(contestants: &[Contestant], turns: &[Cost]) -> Vec<f64> {
    let cost = |(contestant, cost): (&Contestant, &Cost)| {
        let more = (cost.sending - turns[0].sending).max(0.0);
        cost.own + if contestant.works_in_sends { more } else { 0.0 }
    };
    contestants.iter().zip(turns).map(cost).collect()
}

/// Transposes a list per round to a list per contestant.
pub(crate) fn by_contestant(rounds: impl IntoIterator<Item = Vec<f64>>) -> Vec<Vec<f64>> {
    let mut costs: Vec<Vec<f64>> = Vec::new();
    for round in rounds {
        costs.resize(round.len(), Vec::new());
        costs.iter_mut().zip(round).for_each(|(costs, cost)| costs.push(cost));
    }
    costs
}

/// Returns the order of a round: the first moves on by one each time, and every second round is
/// reversed, so that none always follows the same neighbour.
fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| {
        let place = if round.is_multiple_of(2) { place } else { count - 1 - place };
        (place + round / 2) % count
    })
}

/// The least number of rounds for a meaningful median.
const LEAST: usize = 20;
/// The least number of rounds if the turns take a multiple of the time asked for.
const FEWEST: usize = 5;
const PATIENCE: u32 = 3;

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn each_subject_takes_each_place_equally_often() {
        let mut taken = [[0; 3]; 3];
        for round in 0..6 {
            for (place, subject) in order(round, 3).enumerate() {
                taken[subject][place] += 1;
            }
        }
        assert_eq!(taken, [[2; 3]; 3]);
    }
}
