//! The work of a tile, as pieces of rows that cores can share. Every piece has its own rows of everything
//! that is written.

mod attention;
mod embed;
mod mlp;
mod norm;
mod project;

pub(super) use attention::{AttentionHead, AttentionPart};
pub(super) use embed::EmbedPart;
pub(super) use mlp::MlpPart;
pub(super) use norm::{NormPart, NormedPlane};
pub(super) use project::{cache_start, ProjectHead, ProjectPart};

use half::f16;

use crate::error::Error;
use crate::ops::Operand;
use crate::tensor::RowsI8;

/// `slice.split_at(at)` of something that the plan has sized.
fn cut<T>(slice: &[T], at: usize) -> Result<(&[T], &[T]), Error> {
    slice.split_at_checked(at).ok_or(Error::Internal(44))
}

/// The same, to write.
fn cut_mut<T>(slice: &mut [T], at: usize) -> Result<(&mut [T], &mut [T]), Error> {
    slice.split_at_mut_checked(at).ok_or(Error::Internal(45))
}

/// Normed tokens: int8 with a scale each, or f16 where query, key and value have f16 weights.
#[derive(Clone, Copy)]
pub(super) enum Plane<'a> {
    Int8 { codes: &'a [i8], scales: &'a [f32], pitch: usize },
    F16 { tokens: &'a [f16], dim: usize },
}

impl<'a> Plane<'a> {
    pub fn rows(&self) -> usize {
        match self {
            Plane::Int8 { scales, .. } => scales.len(),
            Plane::F16 { tokens, dim } => tokens.len().checked_div(*dim).unwrap_or(0),
        }
    }

    fn split(self, at: usize) -> Result<(Self, Self), Error> {
        Ok(match self {
            Plane::Int8 { codes, scales, pitch } => {
                let ((codes, codes_right), (scales, scales_right)) =
                    (cut(codes, at * pitch)?, cut(scales, at)?);
                let right = Plane::Int8 { codes: codes_right, scales: scales_right, pitch };
                (Plane::Int8 { codes, scales, pitch }, right)
            }
            Plane::F16 { tokens, dim } => {
                let (tokens, right) = cut(tokens, at * dim)?;
                (Plane::F16 { tokens, dim }, Plane::F16 { tokens: right, dim })
            }
        })
    }

    /// As input of query, key or value weights; f16 is widened into `wide`.
    fn operand<'w>(self, wide: &'w mut [f32]) -> Result<Operand<'w>, Error>
    where
        'a: 'w,
    {
        match self {
            Plane::Int8 { codes, scales, pitch } => {
                Ok(Operand::Int8(RowsI8 { data: codes, scales, zero_points: &[], pitch }))
            }
            Plane::F16 { tokens, .. } => {
                let wide = wide.get_mut(..tokens.len()).ok_or(Error::Internal(46))?;
                wide.iter_mut().zip(tokens).for_each(|(to, from)| *to = from.to_f32());
                Ok(Operand::Float(wide))
            }
        }
    }
}
