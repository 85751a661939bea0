//! Rounds: the subjects of a case take turns, in an order that changes, until the time is over.

use std::time::{Duration, Instant};

/// One subject of one case, ready to go.
pub(crate) struct Contestant {
    /// The subject's name.
    pub(crate) name: String,
    /// Does one turn of the work and returns its cost.
    pub(crate) turn: Box<dyn FnMut() -> Cost>,
    /// Whether the kernel does a part of its work while the client sends.
    pub(crate) works_in_sends: bool,
}

impl Contestant {
    /// One whose work is all in the cost it tells.
    pub(crate) fn new(name: &str, turn: impl FnMut() -> Cost + 'static) -> Self {
        Self { name: name.to_owned(), turn: Box::new(turn), works_in_sends: false }
    }
}

/// The cost of a turn, per operation.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    /// The subject's own.
    pub(crate) own: f64,
    /// Its client's, for sending; zero where there is no client.
    pub(crate) sending: f64,
}

impl From<f64> for Cost {
    fn from(own: f64) -> Self {
        Self { own, sending: 0.0 }
    }
}

/// Lets the contestants of one case compete for so long. Returns the costs, for each contestant one
/// per round.
pub(crate) fn compete(
    contestants: &mut [Contestant],
    time: Duration,
    tick: impl FnMut(Duration),
) -> Vec<Vec<f64>> {
    let rounds = take_turns(contestants.len(), |index| (contestants[index].turn)(), time, tick);
    by_contestant(rounds.iter().map(|turns| charge(contestants, turns)))
}

/// Has so many take turns for so long (and [`LEAST`] rounds at least, of slow ones [`FEWEST`]).
/// Returns for each round what each of them gave; `tick` is called after each round with the time
/// it took.
pub(crate) fn take_turns<T: Copy + Default>(
    count: usize,
    mut turn: impl FnMut(usize) -> T,
    time: Duration,
    mut tick: impl FnMut(Duration),
) -> Vec<Vec<T>> {
    for index in 0..count {
        // The first turn of all meets cold memory: not counted.
        turn(index);
    }
    let mut rounds = Vec::new();
    let started = Instant::now();
    loop {
        let round_started = Instant::now();
        let mut turns = vec![T::default(); count];
        for index in order(rounds.len(), count) {
            turns[index] = turn(index);
        }
        rounds.push(turns);
        tick(round_started.elapsed());
        let enough = if started.elapsed() >= PATIENCE * time { FEWEST } else { LEAST };
        if rounds.len() >= enough && started.elapsed() >= time {
            return rounds;
        }
    }
}

/// What a round cost each contestant of a case. The first is the yardstick, which has nobody work
/// for it while the client sends.
pub(crate) fn charge(contestants: &[Contestant], turns: &[Cost]) -> Vec<f64> {
    let cost = |(contestant, cost): (&Contestant, &Cost)| {
        let more = (cost.sending - turns[0].sending).max(0.0);
        cost.own + if contestant.works_in_sends { more } else { 0.0 }
    };
    contestants.iter().zip(turns).map(cost).collect()
}

/// Rows become columns: a list per round becomes a list per contestant.
pub(crate) fn by_contestant(rounds: impl IntoIterator<Item = Vec<f64>>) -> Vec<Vec<f64>> {
    let mut costs: Vec<Vec<f64>> = Vec::new();
    for round in rounds {
        costs.resize(round.len(), Vec::new());
        costs.iter_mut().zip(round).for_each(|(costs, cost)| costs.push(cost));
    }
    costs
}

/// The order of a round: who begins moves on by one, and every second round runs backwards, so
/// nobody always follows the same neighbour.
fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| {
        let place = if round.is_multiple_of(2) { place } else { count - 1 - place };
        (place + round / 2) % count
    })
}

/// Fewer rounds than this say nothing about a median.
const LEAST: usize = 20;
/// Unless the turns are so long that they take so many times the time asked for: then these do.
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
