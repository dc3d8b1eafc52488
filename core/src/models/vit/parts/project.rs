//! Keys and values.

use super::{cut_mut, Plane};
use crate::error::Error;
use crate::fork::{Part, Share};
use crate::kernels::{Epilogue, Kernels};
use crate::models::vit::weights::HeadWeights;
use crate::ops::apply;

/// Tokens whose keys and values lie together in every table's order.
const CACHE_TOKENS: usize = 16;

/// `K_h = plane·W_Kᵀ + b`, `V_h = plane·W_Vᵀ + b`, quantized per token.
pub(in crate::models::vit) struct ProjectPart<'a> {
    pub kernels: &'static Kernels,
    pub weights: &'a HeadWeights<'a>,
    pub head_dim: usize,
    pub plane: Plane<'a>,
    /// `(rows, dim)`, where the plane is f16.
    pub wide: &'a mut [f32],
    /// `(rows, head_dim)`.
    pub out: &'a mut [f32],
    /// Tokens of `keys` and `values` before the first row: fewer than [`CACHE_TOKENS`].
    pub first: usize,
    pub keys: &'a mut [i8],
    pub key_scales: &'a mut [f32],
    pub values: &'a mut [i8],
    pub value_scales: &'a mut [f32],
    /// Of the linear layers, for each worker.
    pub scratch: &'a mut [i32],
}

/// The last token up to `row` at which keys and values can be split, and what they take up to there: keys, values.
pub(in crate::models::vit) fn cache_start(
    kernels: &Kernels,
    row: usize,
    head_dim: usize,
) -> (usize, usize, usize) {
    let start = row / CACHE_TOKENS * CACHE_TOKENS;
    let memory = (kernels.spec.attention_memory)(start, head_dim);
    (start, memory.keys, memory.values)
}

impl Part for ProjectPart<'_> {
    const GRANULE: usize = CACHE_TOKENS;

    fn offset(&self) -> usize {
        self.first
    }

    fn rows(&self) -> usize {
        self.plane.rows()
    }

    fn split(self, at: usize, share: Share) -> Result<(Self, Self), Error> {
        let Self { kernels, weights, head_dim, first, .. } = self;
        let (_, key_bytes, value_bytes) = cache_start(kernels, first + at, head_dim);
        let wide_row = self.wide.len().checked_div(self.plane.rows()).unwrap_or(0);
        let (plane, plane_right) = self.plane.split(at)?;
        let (wide, wide_right) = cut_mut(self.wide, at * wide_row)?;
        let (out, out_right) = cut_mut(self.out, at * head_dim)?;
        let (keys, keys_right) = cut_mut(self.keys, key_bytes)?;
        let (key_scales, key_scales_right) = cut_mut(self.key_scales, at)?;
        let (values, values_right) = cut_mut(self.values, value_bytes)?;
        let (value_scales, value_scales_right) = cut_mut(self.value_scales, at)?;
        let (scratch, scratch_right) = share.split(self.scratch);
        let right = Self {
            kernels,
            weights,
            head_dim,
            plane: plane_right,
            wide: wide_right,
            out: out_right,
            first: 0,
            keys: keys_right,
            key_scales: key_scales_right,
            values: values_right,
            value_scales: value_scales_right,
            scratch: scratch_right,
        };
        let left = Self {
            kernels,
            weights,
            head_dim,
            plane,
            wide,
            out,
            first,
            keys,
            key_scales,
            values,
            value_scales,
            scratch,
        };
        Ok((left, right))
    }

    #[inline(always)]
    fn run(self) -> Result<(), Error> {
        let Self { kernels, weights, head_dim, first, out, .. } = self;
        let x = self.plane.operand(self.wide)?;
        apply(kernels, &x, &weights.key, Epilogue::None, out, self.scratch)?;
        (kernels.store_keys)(out, head_dim, first, self.keys, self.key_scales);
        apply(kernels, &x, &weights.value, Epilogue::None, out, self.scratch)?;
        (kernels.store_values)(out, head_dim, first, self.values, self.value_scales);
        Ok(())
    }
}
