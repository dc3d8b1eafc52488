//! Fork and join: how the rows of a tile are shared between cores. Threads come from outside; the engine has
//! none.

use core::ops::Range;

use crate::error::Fault;
use crate::tensor::quotient;

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

/// How the workers are shared out where work is halved: `left` of them take its first half.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub left: usize,
}

/// What a tile works on: divided between workers where its rows are.
pub(crate) trait Split: Sized {
    /// The part of the first `rows` rows, and that of the others.
    fn split(self, rows: usize, share: Share) -> Result<(Self, Self), Fault>;
}

/// What all workers read.
impl<T: ?Sized> Split for &T {
    fn split(self, _: usize, _: Share) -> Result<(Self, Self), Fault> {
        Ok((self, self))
    }
}

/// Numbers of the rows.
impl Split for Range<usize> {
    fn split(self, at: usize, _: Share) -> Result<(Self, Self), Fault> {
        let middle = self.start.saturating_add(at).min(self.end);
        Ok((self.start..middle, middle..self.end))
    }
}

/// As many of something as the upsampling by the largest factor has rows.
impl<T: Split> Split for [T; 3] {
    fn split(self, at: usize, share: Share) -> Result<(Self, Self), Fault> {
        let [a, b, c] = self;
        let (a, b, c) = (a.split(at, share)?, b.split(at, share)?, c.split(at, share)?);
        Ok(([a.0, b.0, c.0], [a.1, b.1, c.1]))
    }
}

/// Of each something.
impl<T: Split, const N: usize> Split for heapless::Vec<T, N> {
    fn split(self, rows: usize, share: Share) -> Result<(Self, Self), Fault> {
        let (mut left, mut right) = (Self::new(), Self::new());
        for item in self {
            let (of_left, of_right) = item.split(rows, share)?;
            // Both have the capacity of the whole.
            let (Ok(()), Ok(())) = (left.push(of_left), right.push(of_right)) else { continue };
        }
        Ok((left, right))
    }
}

/// [`Split`] for a struct: field by field.
macro_rules! split_fields {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::fork::Split for $name<'_> {
            fn split(self, rows: usize, share: $crate::fork::Share) -> Result<(Self, Self), $crate::Fault> {
                $(let $field = $crate::fork::Split::split(self.$field, rows, share)?;)+
                Ok((Self { $($field: $field.0),+ }, Self { $($field: $field.1),+ }))
            }
        }
    };
}
pub(crate) use split_fields;

/// Work on the rows of a tile.
pub(crate) trait Work: Split + Send {
    /// Rows that can't be separated.
    const GRANULE: usize = 1;
    /// Rows between the last place where the work could have been split and its first row.
    fn offset(&self) -> usize {
        0
    }
    /// Number of rows.
    fn rows(&self) -> usize;
    /// Does the work.
    fn run(self) -> Result<(), Fault>;
}

/// Does the work on all workers of the pool.
#[inline(always)]
pub(crate) fn fork<W: Work>(pool: &dyn ForkJoin, work: W) -> Result<(), Fault> {
    // Without the feature nothing is left but this call.
    if cfg!(feature = "parallel") {
        halve(pool, work, pool.workers())
    } else {
        work.run()
    }
}

/// Shares the work between `workers` workers, halving it again and again.
fn halve<W: Work>(pool: &dyn ForkJoin, work: W, workers: usize) -> Result<(), Fault> {
    let share = Share { left: workers / 2 };
    let (offset, rows) = (work.offset(), work.rows());
    let ideal = quotient((offset + rows).saturating_mul(share.left), workers);
    let granules = quotient(ideal + W::GRANULE / 2, W::GRANULE);
    let cut = (granules * W::GRANULE).saturating_sub(offset);
    if workers < 2 || cut == 0 || cut >= rows {
        return work.run();
    }
    let (left, right) = work.split(cut, share)?;
    let (mut left, mut right) = (Some(left), Some(right));
    let (mut left_result, mut right_result) = (Ok(()), Ok(()));
    pool.join(
        &mut || {
            if let Some(work) = left.take() {
                left_result = halve(pool, work, share.left);
            }
        },
        &mut || {
            if let Some(work) = right.take() {
                right_result = halve(pool, work, workers - share.left);
            }
        },
    );
    left_result.and(right_result)
}
