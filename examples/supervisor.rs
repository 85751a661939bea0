//! A supervisor: starts workers, restarts those that fail, later and later, gives up on one that
//! fails too often, and stops the others softly.
//!
//! ```text
//! cargo run --release --example supervisor
//! ```
//!
//! Of three workers one is well, one fails at first, and one always panics.

use std::{cell::Cell, future::pending, io, panic, rc::Rc, time::Duration};

use asyncoro::{
    coro::{How, current, on_end},
    error::Elapsed,
    future::{Winner, race},
    scope::{Limits, stopping},
    spawn,
    time::sleep,
};

/// The pause before the first restart; it doubles with each, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// After so many failures a worker is given up.
const MOST_FAILURES: u32 = 5;

/// How long all may take to stop.
const GRACE: Duration = Duration::from_secs(2);

fn main() -> Result<(), Elapsed> {
    // The supervisor tells of panics.
    panic::set_hook(Box::new(|_| {}));
    // Children may borrow what was there before their scope.
    let (cleaned_up, attempts) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let ends = asyncoro::run(Limits::new().grace(GRACE).scope(async |s| {
        let well = s.spawn(supervise("well", || serve(Rc::clone(&cleaned_up))));
        let shaky = s.spawn(supervise("shaky", || {
            let (attempts, cleaned_up) = (Rc::clone(&attempts), Rc::clone(&cleaned_up));
            async move {
                attempts.set(attempts.get() + 1);
                if attempts.get() < 3 {
                    return Err(io::Error::other(format!("attempt {} failed", attempts.get())));
                }
                serve(cleaned_up).await
            }
        }));
        let hopeless = s.spawn(supervise("hopeless", || async { panic!("it never works") }));
        let given_up = hopeless.await.expect("a supervisor does not fail");
        s.stop();
        let stopped = [well.await, shaky.await];
        let stopped = stopped.map(|ended| ended.expect("a supervisor does not fail"));
        (given_up, stopped)
    }))?;
    assert_eq!(ends, (End::GivenUp, [End::Stopped, End::Stopped]));
    assert_eq!(cleaned_up.get(), 2);
    println!("ok: one worker was given up, two were stopped and have cleaned up");
    Ok(())
}

/// Works until it is terminated, and then says good-bye, which takes a while.
async fn serve(cleaned_up: Rc<Cell<u32>>) -> io::Result<()> {
    on_end(async move {
        sleep(Duration::from_millis(1)).await;
        cleaned_up.set(cleaned_up.get() + 1);
    });
    pending().await
}

#[derive(Debug, PartialEq)]
enum End {
    Stopped,
    GivenUp,
}

/// Runs a worker in a coroutine of its own, whose panic ends it alone, again and again, until the
/// scope is to stop.
async fn supervise<F>(name: &'static str, work: impl Fn() -> F) -> End
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let (mut failures, mut pause) = (0, FIRST_PAUSE);
    loop {
        let working = work();
        let mut worker = spawn(async move {
            current().set_name(name);
            working.await
        });
        let exit = match race(worker.monitor(), stopping()).await {
            Winner::First(exit) => exit,
            Winner::Second(()) => {
                worker.terminate();
                // Returns when its clean-up has ended.
                let _ = worker.await;
                return End::Stopped;
            }
        };
        // A panic that is known is not logged.
        let _ = worker.await;
        if *exit.how() != How::Value {
            failures += 1;
        }
        if failures == MOST_FAILURES {
            println!("{exit}; given up");
            return End::GivenUp;
        }
        println!("{exit}; again in {pause:?}");
        if let Winner::Second(()) = race(sleep(pause), stopping()).await {
            return End::Stopped;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
