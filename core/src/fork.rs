//! Fork and join: how the rows of a tile are shared between cores. The caller brings the threads; the engine
//! creates none.

use core::ops::Range;

use crate::error::Fault;
use crate::tensor::quotient;

/// Runs pieces of work at the same time, for example on a host's thread pool or on a microcontroller's second
/// core. Without the feature `parallel` the engine never calls [`ForkJoin::join`].
pub trait ForkJoin: Sync {
    /// How many pieces can run at the same time; 0 counts as 1. The memory plan has scratch for each of them.
    fn workers(&self) -> usize;
    /// Runs both pieces, perhaps at the same time, and returns when both are done.
    fn join(&self, left: &mut (dyn FnMut() + Send), right: &mut (dyn FnMut() + Send));
}

/// One worker, which runs one piece after the other.
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

/// How the workers are divided when work is halved: `left` of them take the first half.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub left: usize,
}

/// Data of a tile that can be divided between workers, at the row at which the tile is divided.
pub(crate) trait Split: Sized {
    /// The data of the first `rows` rows, and that of the other rows.
    fn split(self, rows: usize, share: Share) -> Result<(Self, Self), Fault>;
}

/// Data that all workers read: both halves get all of it.
impl<T: ?Sized> Split for &T {
    fn split(self, _: usize, _: Share) -> Result<(Self, Self), Fault> {
        Ok((self, self))
    }
}

/// The numbers of the rows of a tile.
impl Split for Range<usize> {
    fn split(self, at: usize, _: Share) -> Result<(Self, Self), Fault> {
        let middle = self.start.saturating_add(at).min(self.end);
        Ok((self.start..middle, middle..self.end))
    }
}

/// One item for each row that a pixel shuffle makes of one row of pixels; the largest factor is 3.
impl<T: Split> Split for [T; 3] {
    fn split(self, at: usize, share: Share) -> Result<(Self, Self), Fault> {
        let [a, b, c] = self;
        let (a, b, c) = (a.split(at, share)?, b.split(at, share)?, c.split(at, share)?);
        Ok(([a.0, b.0, c.0], [a.1, b.1, c.1]))
    }
}

/// A list whose items are each divided.
impl<T: Split, const N: usize> Split for heapless::Vec<T, N> {
    fn split(self, rows: usize, share: Share) -> Result<(Self, Self), Fault> {
        let (mut left, mut right) = (Self::new(), Self::new());
        for item in self {
            let (of_left, of_right) = item.split(rows, share)?;
            // Both lists have the capacity of the whole.
            if left.push(of_left).is_err() || right.push(of_right).is_err() {
                return Err(Fault::Shape);
            }
        }
        Ok((left, right))
    }
}

/// Implements [`Split`] for a struct, field by field.
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
    /// Work is divided only at multiples of so many rows.
    const GRANULE: usize = 1;
    /// Number of rows between the last multiple of [`Work::GRANULE`] and the first row of this work.
    fn offset(&self) -> usize {
        0
    }
    /// Number of rows.
    fn rows(&self) -> usize;
    /// Does the work.
    fn run(self) -> Result<(), Fault>;
}

/// Does the work, shared between all workers of the pool.
#[inline(always)]
pub(crate) fn fork<W: Work>(pool: &dyn ForkJoin, work: W) -> Result<(), Fault> {
    // Without the feature `parallel` the compiler leaves nothing but the call of `run`.
    if cfg!(feature = "parallel") {
        halve(pool, work, pool.workers())
    } else {
        work.run()
    }
}

/// Shares the work between `workers` workers by halving it again and again.
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
    // Until each has run.
    let (mut left_result, mut right_result) = (Err(Fault::Pool), Err(Fault::Pool));
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
