//! The norm in front of an attention.

use half::f16;

use super::{Plane, Planes};
use crate::arena::{carve, part, part_mut, Given, PerWorker, Rows, Slot};
use crate::error::Fault;
use crate::fork::{fork, split_fields, Work};
use crate::kernels::Kernels;
use crate::math::add_f16s;
use crate::run::Workspace;
use crate::tensor::{quotient, NormWeights};

/// `plane[t] = LayerNorm(tokens[t])` and `sum[t] = LayerNorm(tokens[t]) + addend[t]` (Ba et al., arXiv
/// 1607.06450), for the rows from `row` on. Returns the first row that is not done.
pub(crate) fn norm_tile(
    w: &mut Workspace,
    norm: &NormWeights,
    stream: Slot<f16>,
    scratch: Slot<f32>,
    to: &Planes,
    row: usize,
) -> Result<usize, Fault> {
    let rows = w.rows(row, stream.rows());
    carve!(w.arena => tokens: stream, plane: to.plane, sum: to.sum, normed: scratch);
    let dim = stream.width();
    let tile = NormTile {
        kernels: w.kernels,
        norm,
        tokens: tokens.tile(row, rows)?,
        addend: Given {
            data: if to.addend.is_empty() { &[] } else { part(to.addend, row * dim, rows * dim)? },
            width: dim,
        },
        normed: normed.into(),
        plane: plane.tile(row, rows)?,
        sum: sum.tile(row, rows)?,
    };
    fork(w.pool, tile)?;
    Ok(row + rows)
}

struct NormTile<'a> {
    kernels: &'static Kernels,
    norm: &'a NormWeights<'a>,
    /// The residual stream: `(rows, dim)`.
    tokens: Rows<'a, f16>,
    /// What is added for `sum`: `(rows, dim)`, or empty.
    addend: Given<'a, f16>,
    /// As many normed rows as the kernels take together.
    normed: PerWorker<'a, f32>,
    plane: Plane<'a>,
    sum: Plane<'a>,
}

split_fields!(NormTile { kernels, norm, tokens, addend, normed, plane, sum });

impl Work for NormTile<'_> {
    fn rows(&self) -> usize {
        quotient(self.tokens.data.len(), self.tokens.width)
    }

    #[inline(always)]
    fn run(mut self) -> Result<(), Fault> {
        let (dim, at_once) = (self.norm.gamma.len(), self.kernels.spec.norm_rows);
        let (mut row, mut tokens) = (0, &*self.tokens.data);
        while !tokens.is_empty() {
            let count = at_once.saturating_mul(dim).min(tokens.len()).max(1);
            let (some, rest) = tokens.split_at_checked(count).unwrap_or((tokens, &[]));
            tokens = rest;
            let normed = part_mut(self.normed.data, 0, some.len())?;
            (self.kernels.layer_norm)(some, self.norm, normed);
            self.plane.store(self.kernels, normed, row);
            if !self.addend.data.is_empty() {
                let addend = part(self.addend.data, row * dim, some.len())?;
                add_f16s(normed, addend);
                self.sum.store(self.kernels, normed, row);
            }
            row += at_once;
        }
        Ok(())
    }
}
