//! Keys and values.

use super::{cut_mut, Plane};
use crate::error::Error;
use crate::fork::{Part, Share};
use crate::kernels::{Epilogue, Kernels};
use crate::models::vit::run::Together;
use crate::models::vit::weights::HeadWeights;
use crate::ops::apply;

/// Tokens whose keys and values lie together in every table's order.
const CACHE_TOKENS: usize = 16;

/// `K_h = plane·W_Kᵀ + b`, `V_h = plane·W_Vᵀ + b`, quantized per token, for some heads.
pub(in crate::models::vit) struct ProjectPart<'a> {
    pub kernels: &'static Kernels,
    pub head_dim: usize,
    pub plane: Plane<'a>,
    /// `(rows, dim)`, where the plane is f16.
    pub wide: &'a mut [f32],
    /// `(rows, head_dim)`.
    pub out: &'a mut [f32],
    /// Tokens of the heads' keys and values before the first row: fewer than [`CACHE_TOKENS`].
    pub first: usize,
    pub heads: Together<ProjectHead<'a>>,
    /// Of the linear layers, for each worker.
    pub scratch: &'a mut [i32],
}

/// Weights, keys and values of a head, from some token on.
pub(in crate::models::vit) struct ProjectHead<'a> {
    pub weights: &'a HeadWeights<'a>,
    pub keys: &'a mut [i8],
    pub key_scales: &'a mut [f32],
    pub values: &'a mut [i8],
    pub value_scales: &'a mut [f32],
}

impl ProjectHead<'_> {
    /// The first tokens, as many as `at`, which take so many bytes of keys and values; and the others.
    fn split(self, at: usize, [key_bytes, value_bytes]: [usize; 2]) -> Result<(Self, Self), Error> {
        let weights = self.weights;
        let (keys, keys_right) = cut_mut(self.keys, key_bytes)?;
        let (key_scales, key_scales_right) = cut_mut(self.key_scales, at)?;
        let (values, values_right) = cut_mut(self.values, value_bytes)?;
        let (value_scales, value_scales_right) = cut_mut(self.value_scales, at)?;
        let right = Self {
            weights,
            keys: keys_right,
            key_scales: key_scales_right,
            values: values_right,
            value_scales: value_scales_right,
        };
        Ok((Self { weights, keys, key_scales, values, value_scales }, right))
    }
}

/// The last token up to `row` at which keys and values can be split, and what they take up to there: keys,
/// values.
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
        let Self { kernels, head_dim, first, .. } = self;
        let (_, key_bytes, value_bytes) = cache_start(kernels, first + at, head_dim);
        let wide_row = self.wide.len().checked_div(self.plane.rows()).unwrap_or(0);
        let (plane, plane_right) = self.plane.split(at)?;
        let (wide, wide_right) = cut_mut(self.wide, at * wide_row)?;
        let (out, out_right) = cut_mut(self.out, at * head_dim)?;
        let (mut heads, mut heads_right) = (Together::new(), Together::new());
        for head in self.heads {
            let (left, right) = head.split(at, [key_bytes, value_bytes])?;
            heads.push(left).map_err(|_| Error::Internal(59))?;
            heads_right.push(right).map_err(|_| Error::Internal(59))?;
        }
        let (scratch, scratch_right) = share.split(self.scratch);
        let right = Self {
            kernels,
            head_dim,
            plane: plane_right,
            wide: wide_right,
            out: out_right,
            first: 0,
            heads: heads_right,
            scratch: scratch_right,
        };
        Ok((Self { kernels, head_dim, plane, wide, out, first, heads, scratch }, right))
    }

    #[inline(always)]
    fn run(mut self) -> Result<(), Error> {
        let Self { kernels, head_dim, first, out, .. } = self;
        let x = self.plane.operand(self.wide)?;
        for head in &mut self.heads {
            apply(kernels, &x, &head.weights.key, Epilogue::None, out, self.scratch)?;
            (kernels.store_keys)(out, head_dim, first, head.keys, head.key_scales);
            apply(kernels, &x, &head.weights.value, Epilogue::None, out, self.scratch)?;
            (kernels.store_values)(out, head_dim, first, head.values, head.value_scales);
        }
        Ok(())
    }
}
