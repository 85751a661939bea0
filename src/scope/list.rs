//! Futures of one type: the first of a list, and all of a list with a bound on how many run.

use std::{
    future::{self, Future},
    task::{Context, Poll},
};

use super::nest::Nest;

/// Waits for the first future of a list that is done, and drops the others; `None` if the list is
/// empty.
///
/// Only those that were woken are polled. For a few futures of different types there is
/// [`race`](crate::future::race()).
///
/// # Example
/// ```
/// use std::time::Duration;
///
/// use asyncoro::{scope::first, time::sleep};
///
/// asyncoro::run(async {
///     let waits = [300, 1, 200].map(|millis| async move {
///         sleep(Duration::from_millis(millis)).await;
///         millis
///     });
///     assert_eq!(first(waits).await, Some(1));
/// });
/// ```
///
/// # Cancel
/// Drops all futures.
pub async fn first<I>(futures: I) -> Option<<I::Item as Future>::Output>
where
    I: IntoIterator<Item: Future>,
{
    let mut nest = nest(futures);
    let first = future::poll_fn(|cx| poll_next(&mut nest, cx)).await;
    nest.clear();
    first.map(|(_, value)| value)
}

/// Waits for the first future of a list that succeeds, and drops the others; if none does, returns
/// all errors, in the order of the list.
///
/// # Example
/// ```
/// use asyncoro::scope::first_ok;
///
/// asyncoro::run(async {
///     let mirrors = [Err("refused"), Ok("an answer")].map(|answer| async move { answer });
///     assert_eq!(first_ok(mirrors).await, Ok("an answer"));
/// });
/// ```
///
/// # Errors
/// Those of all, if all fail; none, if the list is empty.
///
/// # Cancel
/// Drops all futures, and the errors of those that have failed.
pub async fn first_ok<I, T, E>(futures: I) -> Result<T, Vec<E>>
where
    I: IntoIterator<Item: Future<Output = Result<T, E>>>,
{
    let mut nest = nest(futures);
    let mut errors: Vec<Option<E>> = (0..nest.len()).map(|_| None).collect();
    while let Some((place, result)) = future::poll_fn(|cx| poll_next(&mut nest, cx)).await {
        match result {
            Ok(value) => {
                nest.clear();
                return Ok(value);
            }
            Err(error) => errors[place] = Some(error),
        }
    }
    Err(errors.into_iter().flatten().collect())
}

/// Calls `f` for each item, runs at most `limit` of its futures at once, and returns their values
/// in the order of the items.
///
/// The next item is taken when there is room for it.
///
/// # Example
/// ```
/// use asyncoro::{AsyncSocket, scope::try_map_bounded};
///
/// # asyncoro::run_until(async {
/// # let server = AsyncSocket::create_server("127.0.0.1:0").await?;
/// # let addresses = vec![server.local_addr()?; 5];
/// let connect = async |address| AsyncSocket::create_connection(address).await;
/// let sockets = try_map_bounded(addresses, 2, connect).await?; // two attempts at a time
/// assert_eq!(sockets.len(), 5);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
///
/// # Panics
/// If `limit` is 0.
///
/// # Cancel
/// Drops the futures that run, and the values of those that are done.
pub async fn map_bounded<I, F, T>(items: I, limit: usize, f: F) -> Vec<T>
where
    I: IntoIterator,
    F: AsyncFn(I::Item) -> T,
{
    let infallible = async |item| Ok::<T, std::convert::Infallible>(f(item).await);
    match try_map_bounded(items, limit, infallible).await {
        Ok(values) => values,
        Err(never) => match never {},
    }
}

/// Calls `f` for each item as [`map_bounded`] does, up to the first error.
///
/// # Errors
/// The one of the future that has failed first. The others are dropped, and no further item is
/// taken.
///
/// # Panics
/// As [`map_bounded`].
///
/// # Cancel
/// As [`map_bounded`].
pub async fn try_map_bounded<I, F, T, E>(items: I, limit: usize, f: F) -> Result<Vec<T>, E>
where
    I: IntoIterator,
    F: AsyncFn(I::Item) -> Result<T, E>,
{
    assert!(limit > 0, "a bounded map needs room for one future at least: its limit is 0");
    let mut items = items.into_iter();
    let mut nest = Nest::new();
    // By number of the item; and the numbers of those that run, by place.
    let (mut values, mut numbers) = (Vec::new(), Vec::new());
    loop {
        while nest.len() < limit
            && let Some(item) = items.next()
        {
            let place = nest.push(Box::pin(f(item)));
            if place == numbers.len() {
                numbers.push(0);
            }
            numbers[place] = values.len();
            values.push(None);
        }
        match future::poll_fn(|cx| poll_next(&mut nest, cx)).await {
            Some((place, value)) => values[numbers[place]] = Some(value?),
            None => return Ok(values.into_iter().flatten().collect()),
        }
    }
}

fn nest<I>(futures: I) -> Nest<I::Item>
where
    I: IntoIterator<Item: Future>,
{
    let mut nest = Nest::new();
    for future in futures {
        nest.push(Box::pin(future));
    }
    nest
}

/// Polls for the next future of a nest that has ended; `None` if there is none.
fn poll_next<F: Future>(
    nest: &mut Nest<F>,
    cx: &mut Context<'_>,
) -> Poll<Option<(usize, F::Output)>> {
    if nest.len() == 0 {
        return Poll::Ready(None);
    }
    nest.begin_round(cx);
    if let Some(ended) = nest.poll_next() {
        return Poll::Ready(Some(ended));
    }
    if nest.has_rung() {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}
