//! Fork and join: how a tile's rows are shared between cores. Threads come from outside; the engine has none.

use crate::error::Error;

/// Runs pieces of work at the same time: a thread pool of a host, the second core of a microcontroller.
/// Without the feature `parallel` the engine never asks it to.
pub trait ForkJoin: Sync {
    /// How many pieces can run at the same time; the memory plan has scratch for as many.
    fn workers(&self) -> usize;
    /// Runs both, perhaps at the same time, and returns when both are done.
    fn join(&self, left: &mut (dyn FnMut() + Send), right: &mut (dyn FnMut() + Send));
}

/// One piece after the other.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Serial;

impl ForkJoin for Serial {
    fn workers(&self) -> usize {
        1
    }

    fn join(&self, left: &mut (dyn FnMut() + Send), right: &mut (dyn FnMut() + Send)) {
        left();
        right();
    }
}

/// Of `of` equal parts of something, the first `left`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub left: usize,
    pub of: usize,
}

impl Share {
    /// Splits scratch memory that every worker has an equal part of.
    pub fn split<T>(self, scratch: &mut [T]) -> (&mut [T], &mut [T]) {
        let unit = scratch.len().checked_div(self.of).unwrap_or(0);
        scratch.split_at_mut_checked(unit * self.left).unwrap_or((&mut [], &mut []))
    }
}

/// Work on some rows, with memory for a number of workers.
pub(crate) trait Part: Sized + Send {
    /// Rows that can't be separated.
    const GRANULE: usize = 1;
    /// Rows since the last place where the work could have been split.
    fn offset(&self) -> usize {
        0
    }
    /// Number of rows.
    fn rows(&self) -> usize;
    /// The first `rows` rows and the others.
    fn split(self, rows: usize, share: Share) -> Result<(Self, Self), Error>;
    /// Does the work.
    fn run(self) -> Result<(), Error>;
}

/// Does the work on all workers of the pool.
#[inline(always)]
pub(crate) fn fork<P: Part>(pool: &dyn ForkJoin, part: P) -> Result<(), Error> {
    // Without the feature nothing is left but this call.
    if cfg!(feature = "parallel") {
        halve(pool, part, pool.workers())
    } else {
        part.run()
    }
}

/// Shares the work between `workers` workers, halving it again and again.
fn halve<P: Part>(pool: &dyn ForkJoin, part: P, workers: usize) -> Result<(), Error> {
    let share = Share { left: workers / 2, of: workers };
    let (offset, rows) = (part.offset(), part.rows());
    let ideal = (offset + rows).saturating_mul(share.left).checked_div(workers).unwrap_or(0);
    let granules = (ideal + P::GRANULE / 2).checked_div(P::GRANULE).unwrap_or(0);
    let cut = (granules * P::GRANULE).saturating_sub(offset);
    if workers < 2 || cut == 0 || cut >= rows {
        return part.run();
    }
    let (left, right) = part.split(cut, share)?;
    let (mut left, mut right) = (Some(left), Some(right));
    let (mut left_result, mut right_result) = (Ok(()), Ok(()));
    pool.join(
        &mut || {
            if let Some(part) = left.take() {
                left_result = halve(pool, part, share.left);
            }
        },
        &mut || {
            if let Some(part) = right.take() {
                right_result = halve(pool, part, workers - share.left);
            }
        },
    );
    left_result.and(right_result)
}
