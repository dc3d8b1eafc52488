//! The forward pass of a ViT around its blocks: the patch embedding, tile by tile, pooling and classifiers.

use super::config::{Pool, VitConfig};
use super::plan::{EmbedRows, HeadRows, Slots};
use super::weights::{EmbedWeights, FinalWeights};
use crate::arena::{carve, part, part_mut, Rows};
use crate::error::{Error, Fault};
use crate::fork::{fork, split_fields, Work};
use crate::kernels::{Epilogue, Kernels};
use crate::math::to_f16s;
use crate::ops::{apply, apply_residual, quantize_rows, Operand};
use crate::run::Workspace;
use crate::source::PixelSource;
use crate::tensor::{self, Linear, RowsI8};
use bytemuck::must_cast_slice_mut;
use half::f16;

/// `tokens[p] = f16(W·(pixels_p − 128) + b + pos_p)` (Dosovitskiy et al., arXiv 2010.11929, eq. 1), for the
/// patches from `patch` on. The first tile also places class and distillation token. The pixels of one row of
/// patches (a strip) are read with its first patch and kept. Returns the first patch that is not done.
#[inline(never)]
pub(super) fn embed_tile<S: PixelSource + ?Sized>(
    w: &mut Workspace,
    c: &VitConfig,
    weights: &EmbedWeights,
    slots: &Slots,
    patch: usize,
    source: &mut S,
) -> Result<usize, Error> {
    let Linear::Int8(linear) = &weights.patch else { return Err(Fault::Form.into()) };
    let rows = w.rows(patch, c.patches());
    carve!(w.arena => tokens: slots.layer.tokens, strip: slots.strip, memory: slots.embed);
    let (strip, memory) = (strip.tile(0, c.patch_height)?, memory.tile(rows)?);
    if patch == 0 {
        let prefix = part_mut(tokens.data, 0, c.prefix_tokens() * c.dim)?;
        prefix.iter_mut().zip(weights.prefix).for_each(|(to, from)| *to = *from);
    }
    let columns = c.patch_columns().max(1);
    for (number, to) in (patch..patch + rows).zip(tensor::rows_mut(&mut *memory.patches.data, linear.pitch)) {
        let (strip_row, column) = (number / columns, number % columns);
        if column == 0 {
            source.read_rows(strip_row * c.patch_height, strip.data).map_err(Error::Source)?;
        }
        let width = c.patch_width * c.channels;
        gather_patch(strip.data, strip.width, column * width, width, w.kernels.spec.input_flip, to);
    }
    memory.scales.data.iter_mut().for_each(|scale| *scale = 1.0);
    let positions = part(weights.positions, patch * c.dim, rows * c.dim)?;
    let tokens = tokens.tile(c.prefix_tokens() + patch, rows)?;
    // The residual stream begins as the positions; the tile adds the embedding to them.
    tokens.data.iter_mut().zip(positions).for_each(|(to, from)| *to = *from);
    let layer = &(w.kernels, &weights.patch);
    fork(w.pool, EmbedTile { layer, memory, tokens })?;
    Ok(patch + rows)
}

/// Copies one patch out of a strip, row by row, as codes `pixel − 128` with zeros up to the pitch. All codes
/// are XORed with `flip`, as the kernels read them.
fn gather_patch(strip: &[u8], row_bytes: usize, left: usize, width: usize, flip: i8, to: &mut [i8]) {
    let offset = 0x80 ^ flip as u8;
    let mut rest = to;
    for row in tensor::rows(strip, row_bytes) {
        let pixels = row.get(left..left.saturating_add(width)).unwrap_or(&[]);
        let (to, behind) = rest.split_at_mut_checked(pixels.len()).unwrap_or_default();
        for (pixel, to) in pixels.iter().zip(to) {
            *to = (*pixel ^ offset) as i8;
        }
        rest = behind;
    }
    rest.iter_mut().for_each(|to| *to = flip);
}

/// `tokens += patches·Wᵀ + b`.
struct EmbedTile<'a> {
    layer: &'a (&'static Kernels, &'a Linear<'a>),
    memory: EmbedRows<'a>,
    tokens: Rows<'a, f16>,
}

split_fields!(EmbedTile { layer, memory, tokens });

impl Work for EmbedTile<'_> {
    fn rows(&self) -> usize {
        self.memory.scales.data.len()
    }

    #[inline(always)]
    fn run(self) -> Result<(), Fault> {
        let (kernels, weights) = *self.layer;
        let EmbedRows { patches, scales, scratch } = self.memory;
        let x = RowsI8 { data: patches.data, scales: scales.data, zero_points: &[], pitch: patches.width };
        apply_residual(kernels, &Operand::Int8(x), weights, self.tokens.data, scratch.data)
    }
}

/// `features = Norm(pool(tokens))`, `logits = W·features + b`. Where there are two classifiers, the logits
/// are the mean of both.
#[inline(never)]
pub(super) fn head(
    w: &mut Workspace,
    c: &VitConfig,
    weights: &FinalWeights,
    slots: &Slots,
) -> Result<(), Fault> {
    let kernels = w.kernels;
    carve!(w.arena =>
        tokens: slots.layer.tokens, features: slots.features, logits: slots.logits, memory: slots.head
    );
    let HeadRows { input, codes, second_logits, scratch } = memory.tile(1)?;
    let (features, logits, input) = (features.tile(0, 1)?.data, logits.tile(0, 1)?.data, input.data);
    let norm = |token: &[f16], out: &mut [f32]| match &weights.norm_before_pool {
        Some(norm) => (kernels.layer_norm)(token, norm, out),
        None => (kernels.widen)(token, out),
    };
    match c.pool {
        Pool::Token => norm(part(tokens.data, 0, c.dim)?, features),
        Pool::Mean => {
            features.iter_mut().for_each(|f| *f = 0.0);
            let patches = part(tokens.data, c.prefix_tokens() * c.dim, c.patches() * c.dim)?;
            for token in tensor::rows(patches, c.dim) {
                norm(token, input);
                features.iter_mut().zip(input.iter()).for_each(|(sum, x)| *sum += *x);
            }
            let reciprocal = 1.0 / c.patches() as f32;
            features.iter_mut().for_each(|f| *f *= reciprocal);
        }
    }
    if let Some(norm) = &weights.norm_after_pool {
        let pooled = part_mut(must_cast_slice_mut::<f32, f16>(input), 0, c.dim)?;
        to_f16s(features, pooled);
        (kernels.layer_norm)(pooled, norm, features);
    }
    if let Some(head) = &weights.head {
        classify(kernels, features, head, codes.data, logits, scratch.data)?;
    }
    if let (Some(head), Some(token)) = (&weights.head_dist, c.second_head_token()) {
        norm(part(tokens.data, token * c.dim, c.dim)?, input);
        let second = second_logits.data;
        classify(kernels, input, head, codes.data, second, scratch.data)?;
        logits.iter_mut().zip(second.iter()).for_each(|(logit, second)| *logit = (*logit + *second) * 0.5);
    }
    Ok(())
}

/// Logits of one classifier: `W·x + b`.
#[inline(never)]
fn classify(
    kernels: &Kernels,
    x: &[f32],
    head: &Linear,
    codes: &mut [i8],
    logits: &mut [f32],
    scratch: &mut [i32],
) -> Result<(), Fault> {
    let mut scale = [0.0];
    let x = quantize_rows(kernels, x, x.len(), head, codes, &mut scale);
    apply(kernels, &x, head, Epilogue::None, logits, scratch)
}
