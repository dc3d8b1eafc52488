//! Makes a file of the architecture with random weights, and gives the same weights as floats.

use std::vec;
use std::vec::Vec;

use half::f16;

use super::{Config, ARCHITECTURE};
use crate::format::{
    SectionKind, CRC, FORMAT_VERSION, HEADER_BYTES, MAGIC, NUMERICS_VERSION, SECTION_ALIGN,
    SECTION_ENTRY_BYTES,
};
use crate::tensor::{padded, PanelLayout, Precision};

/// A linear layer: weights `(outputs, inputs)` and bias `(outputs)`.
pub struct FloatLinear {
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    pub inputs: usize,
}

/// A layer norm: γ and β, `(dim)` each.
pub struct FloatNorm {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

/// A layer: the norms of attention and MLP, each head's query, key, value and projection, and the MLP.
pub struct FloatLayer {
    pub norms: [FloatNorm; 2],
    pub heads: Vec<[FloatLinear; 4]>,
    pub mlp: [FloatLinear; 2],
}

/// The values of all weights in the file, that is, after their rounding to int8 or f16.
pub struct FloatModel {
    pub table: Vec<f32>,
    pub positions: Vec<f32>,
    pub layers: Vec<FloatLayer>,
    pub norm: FloatNorm,
    pub classifier: FloatLinear,
}

/// Writes a section with random weights.
struct Writer {
    bytes: Vec<u8>,
    seed: u32,
}

impl Writer {
    /// Random numbers between −`range` and `range`, by a linear congruential generator.
    fn random(&mut self, count: usize, range: f32) -> Vec<f32> {
        let next = |seed: &mut u32| {
            *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((*seed >> 8) as f32 / (1 << 23) as f32 - 1.0) * range
        };
        (0..count).map(|_| next(&mut self.seed)).collect()
    }

    /// Adds a tensor, with zeros behind it up to the alignment of tensors.
    fn tensor(&mut self, bytes: impl IntoIterator<Item = u8>) {
        self.bytes.extend(bytes);
        self.bytes.resize(padded(self.bytes.len()), 0);
    }

    fn f32s(&mut self, values: &[f32]) {
        self.tensor(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn f16s(&mut self, count: usize, range: f32) -> Vec<f32> {
        let values: Vec<f16> = self.random(count, range).into_iter().map(f16::from_f32).collect();
        self.tensor(values.iter().flat_map(|value| value.to_le_bytes()));
        values.into_iter().map(f16::to_f32).collect()
    }

    fn norm(&mut self, dim: usize) -> FloatNorm {
        let (gamma, beta) = (self.random(dim, 0.5), self.random(dim, 0.5));
        let gamma: Vec<f32> = gamma.iter().map(|gamma| 1.0 + gamma).collect();
        self.f32s(&gamma);
        self.f32s(&beta);
        FloatNorm { gamma, beta }
    }

    /// Adds a linear layer. With `has_sums` the sums of its codes follow, which inputs with zero points need.
    fn linear(&mut self, [inputs, outputs]: [usize; 2], precision: Precision, has_sums: bool) -> FloatLinear {
        let range = 1.7 / (inputs as f32).sqrt();
        let (mut weights, bias) = (self.random(outputs * inputs, range), self.random(outputs, 0.2));
        if precision == Precision::F16 {
            weights.iter_mut().for_each(|weight| *weight = f16::from_f32(*weight).to_f32());
            let mut panels = vec![f16::ZERO; padded(outputs) * inputs];
            for (n, row) in weights.chunks(inputs).enumerate() {
                for (k, weight) in row.iter().enumerate() {
                    panels[n / 16 * 16 * inputs + k * 16 + n % 16] = f16::from_f32(*weight);
                }
            }
            self.tensor(panels.iter().flat_map(|weight| weight.to_le_bytes()));
            self.f32s(&bias);
            return FloatLinear { weights, bias, inputs };
        }
        let scale = range / 127.0;
        let codes: Vec<i8> = weights.iter().map(|weight| (weight / scale).round() as i8).collect();
        weights.iter_mut().zip(&codes).for_each(|(weight, code)| *weight = f32::from(*code) * scale);
        let pitch = padded(inputs);
        let rows = codes.chunks(inputs).flat_map(|row| {
            let zeros = core::iter::repeat_n(0, pitch - inputs);
            row.iter().map(|code| *code as u8).chain(zeros)
        });
        self.tensor(rows);
        self.f32s(&vec![scale; outputs]);
        self.f32s(&bias);
        if has_sums {
            let sum = |row: &[i8]| row.iter().map(|code| i32::from(*code)).sum::<i32>();
            self.tensor(codes.chunks(inputs).flat_map(|row| sum(row).to_le_bytes()));
        }
        FloatLinear { weights, bias, inputs }
    }

    fn layer(&mut self, c: &Config) -> FloatLayer {
        let (dim, head_dim, precision) = (c.dim, c.dim / c.heads, c.precision);
        let norm = self.norm(dim);
        let head = |writer: &mut Self| {
            let [query, key, value] = [(); 3].map(|()| writer.linear([dim, head_dim], precision.qkv, false));
            [query, key, value, writer.linear([head_dim, dim], precision.proj, false)]
        };
        let heads = (0..c.heads).map(|_| head(self)).collect();
        let mlp_norm = self.norm(dim);
        let fc1 = self.linear([dim, c.hidden], precision.fc1, false);
        let fc2 = self.linear([c.hidden, dim], precision.fc2, true);
        FloatLayer { norms: [norm, mlp_norm], heads, mlp: [fc1, fc2] }
    }

    /// Ends the section, returns its bytes and begins another.
    fn section(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }
}

/// A model with random weights: its file, and the values in it.
pub fn random(c: &Config, seed: u32) -> (Vec<u8>, FloatModel) {
    let mut writer = Writer { bytes: Vec::new(), seed };
    let sizes =
        [c.vocabulary, c.tokens, c.dim, c.depth, c.heads, c.hidden, c.classes].map(|size| size as u32);
    let words = sizes.into_iter().chain([c.precision.to_word()]);
    let mut sections = vec![(SectionKind::Config, words.flat_map(u32::to_le_bytes).collect())];
    let table = writer.f16s(c.vocabulary * c.dim, 1.0);
    let positions = writer.f16s(c.tokens * c.dim, 0.5);
    sections.push((SectionKind::Embed, writer.section()));
    let mut layers = Vec::new();
    for _ in 0..c.depth {
        layers.push(writer.layer(c));
        sections.push((SectionKind::Block, writer.section()));
    }
    let norm = writer.norm(c.dim);
    let classifier = writer.linear([c.dim, c.classes], Precision::Int8, false);
    sections.push((SectionKind::Head, writer.section()));
    (container(&sections), FloatModel { table, positions, layers, norm, classifier })
}

/// The bytes of a file: header, section table and sections.
fn container(sections: &[(SectionKind, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES + SECTION_ENTRY_BYTES * sections.len()];
    let table_end = bytes.len();
    let word = |bytes: &mut Vec<u8>, at: usize, value: u32| {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    for (number, (kind, section)) in sections.iter().enumerate() {
        bytes.resize(bytes.len().next_multiple_of(SECTION_ALIGN), 0);
        let values = [*kind as u32, bytes.len() as u32, section.len() as u32, CRC.checksum(section)];
        for (at, value) in (HEADER_BYTES + SECTION_ENTRY_BYTES * number..).step_by(4).zip(values) {
            word(&mut bytes, at, value);
        }
        bytes.extend_from_slice(section);
    }
    bytes[..8].copy_from_slice(&MAGIC);
    word(&mut bytes, 8, u32::from(FORMAT_VERSION) | u32::from(NUMERICS_VERSION) << 16);
    let length = bytes.len() as u32;
    word(&mut bytes, 12, length);
    word(&mut bytes, 16, ARCHITECTURE);
    word(&mut bytes, 20, sections.len() as u32);
    let PanelLayout { nr, kr } = PanelLayout::ROW_MAJOR;
    word(&mut bytes, 28, u32::from(nr) | u32::from(kr) << 8);
    bytes[72..72 + 8].copy_from_slice(b"sequence");
    let mut digest = CRC.digest();
    digest.update(&bytes[..124]);
    digest.update(&bytes[HEADER_BYTES..table_end]);
    let checksum = digest.finalize();
    word(&mut bytes, 124, checksum);
    bytes
}
