//! A scope of 100 children, and what peers have for it: the cost of starting them, waiting for all
//! and taking their values.

use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use asyncoro::coro::{Coros, Scheduler};
use asyncoro::scope::scope;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinSet;

use super::run_case;
use crate::report::{Base, Case, Report};
use crate::rounds::{Contestant, Cost};
use crate::runtime::Runtime;
use crate::subject::tokio::Tokio;

/// The name of a case, and how often each child lets others go first.
pub(super) const CASES: [(&str, u32); 2] =
    [("100 children that are done at once", 0), ("100 children that yield 4 times", 4)];

const CHILDREN: u64 = 100;
const SCOPES: u32 = 20;

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    for (name, yields) in CASES {
        let contestants = vec![
            contestant("tokio JoinSet", Tokio::new()?, move || in_tasks(yields)),
            contestant("tokio FuturesUnordered", Tokio::new()?, move || unordered(yields)),
            contestant("asyncoro Coros", Scheduler::new()?, move || in_coroutines(yields)),
            contestant("asyncoro", Scheduler::new()?, move || in_scope(yields)),
        ];
        let (group, metric, bases) = ("scope", "time per child", &[Base::BestPeer]);
        let case = Case { group, name: name.to_owned(), metric, unit: "ns", bases, x: None };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}

fn contestant<R: Runtime, F: Future<Output = u64> + 'static>(
    name: &str,
    mut runtime: R,
    make: impl Fn() -> F + Clone + 'static,
) -> Contestant {
    let cost = move || {
        let make = make.clone();
        let took = runtime.block_on(async move {
            let started = Instant::now();
            for _ in 0..SCOPES {
                assert_eq!(make().await, CHILDREN * (CHILDREN - 1) / 2);
            }
            started.elapsed()
        });
        Cost::from(took.as_nanos() as f64 / f64::from(SCOPES) / CHILDREN as f64)
    };
    Contestant::new(name, cost)
}

/// The same child everywhere.
async fn child(number: u64, yields: u32) -> u64 {
    let mut left = yields;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    number
}

async fn in_scope(yields: u32) -> u64 {
    scope(async |s| {
        let children: Vec<_> = (0..CHILDREN).map(|number| s.spawn(child(number, yields))).collect();
        let mut sum = 0;
        for child in children {
            sum += child.await.expect("a child does not panic");
        }
        sum
    })
    .await
}

async fn in_coroutines(yields: u32) -> u64 {
    let mut coros = Coros::new();
    for number in 0..CHILDREN {
        coros.try_spawn(child(number, yields)).unwrap_or_else(|_| unreachable!("it has no limit"));
    }
    let mut sum = 0;
    while let Some(value) = coros.next().await {
        sum += value.expect("a child does not panic");
    }
    sum
}

async fn in_tasks(yields: u32) -> u64 {
    let mut tasks = JoinSet::new();
    for number in 0..CHILDREN {
        tasks.spawn_local(child(number, yields));
    }
    let mut sum = 0;
    while let Some(value) = tasks.join_next().await {
        sum += value.expect("a child does not panic");
    }
    sum
}

async fn unordered(yields: u32) -> u64 {
    let mut children: FuturesUnordered<_> =
        (0..CHILDREN).map(|number| child(number, yields)).collect();
    let mut sum = 0;
    while let Some(value) = children.next().await {
        sum += value;
    }
    sum
}
