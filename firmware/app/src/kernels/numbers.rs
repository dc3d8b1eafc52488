//! Reproducible numbers, and memory to put them in.

use half::f16;

/// SplitMix64 (Steele et al., OOPSLA 2014).
pub struct Numbers(u64);

impl Numbers {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` up to, but not including, `high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.bits() >> 33) as usize % (high - low).max(1)
    }

    /// From −`limit` to `limit`.
    pub fn float(&mut self, limit: f32) -> f32 {
        (self.bits() as i32 as f32 / 2_147_483_648.0) * limit
    }

    pub fn codes(&mut self, to: &mut [i8]) {
        to.iter_mut().for_each(|to| *to = self.bits() as i8);
    }

    pub fn floats(&mut self, to: &mut [f32], limit: f32) {
        to.iter_mut().for_each(|to| *to = self.float(limit));
    }

    /// Mostly ordinary numbers; if `hostile`, also some zeros of either sign, infinities and NaNs.
    pub fn any_floats(&mut self, to: &mut [f32], limit: f32, hostile: bool) {
        self.floats(to, limit);
        for value in to.iter_mut().filter(|_| hostile) {
            match self.bits() % 24 {
                0 => *value = 0.0,
                1 => *value = -0.0,
                2 => *value = f32::INFINITY,
                3 => *value = f32::NEG_INFINITY,
                4 => *value = f32::NAN,
                5 => *value = 1e38,
                _ => {}
            }
        }
    }

    pub fn scales(&mut self, to: &mut [f32]) {
        self.floats(to, 1.0);
        to.iter_mut().for_each(|x| *x = x.max(-*x) * 0.1 + 1e-6);
    }

    pub fn f16s(&mut self, to: &mut [f16], limit: f32) {
        to.iter_mut().for_each(|to| *to = f16::from_f32(self.float(limit)));
    }
}

/// Memory of a case, cut off piece by piece.
pub struct Pool<'a> {
    rest: &'a mut [u128],
    taken: usize,
}

impl<'a> Pool<'a> {
    pub fn new(memory: &'a mut [u128]) -> Self {
        memory.fill(0);
        Self { rest: memory, taken: 0 }
    }

    /// Pieces cut off so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// `count` elements, all zero, aligned to 16 bytes; 16 bytes of paint lie behind them.
    pub fn take<T: bytemuck::Pod>(&mut self, count: usize) -> &'a mut [T] {
        let units = (count * size_of::<T>()).div_ceil(16);
        let (piece, rest) = core::mem::take(&mut self.rest).split_at_mut(units + 1);
        self.rest = rest;
        self.taken += 1;
        piece[units] = PAINT;
        &mut bytemuck::cast_slice_mut(&mut piece[..units])[..count]
    }
}

/// Numbers that nothing may overwrite.
const PAINT: u128 = 0x5a5a_c33c_5a5a_c33c_5a5a_c33c_5a5a_c33c;

/// Whether nothing was written behind the pieces that were taken. A number that equals the paint is next to
/// impossible.
pub fn is_intact(memory: &[u128], taken: usize) -> bool {
    memory.iter().filter(|unit| **unit == PAINT).count() == taken
}
