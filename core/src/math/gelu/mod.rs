//! GELU by table: `x·Φ(x)` (Hendrycks and Gimpel, arXiv 1606.08415, §2), with Φ from a table of f16.
//!
//! A hidden layer is quantized to 8 bits right behind its activation, so a Φ in steps of 1/128 is fine
//! enough: the error of `x·Φ` is at most 0.0013, a fraction of a quantization step. The table makes GELU
//! cheap on cores without vector division: it takes a conversion, a load and a multiplication.

#[cfg(target_arch = "x86_64")]
mod pieces;
#[cfg(target_arch = "x86_64")]
pub use pieces::{Pieces, PIECE_STEPS};

use half::f16;

use super::Lane;

/// Binary logarithm of the number of table entries per unit of the argument.
pub const STEPS_LOG2: u32 = 7;
/// Table entries per unit of the argument, as a float.
pub const STEPS: f32 = (1u32 << STEPS_LOG2) as f32;
/// Number of entries: for arguments from −4 up to, but not including, 4.
pub const ENTRIES: usize = 8 << STEPS_LOG2;
/// Index of the entry of 0.
pub const ZERO: usize = ENTRIES / 2;

/// Φ at the middle of each step. Arguments are rounded to whole steps towards zero, so the step around 0 is
/// twice as wide as the others; its entry is ½. The first entry, for −4 and below, is 0, the last one 1.
#[repr(C, align(4))]
#[derive(Debug)]
pub struct GateTable {
    entries: [f16; ENTRIES],
    /// Padding, so that a load of 32 bits may begin at any entry.
    _pad: [f16; 2],
    #[cfg(target_arch = "x86_64")]
    pieces: Pieces,
}

impl GateTable {
    /// The entries, −4 first.
    pub fn entries(&self) -> &[f16; ENTRIES] {
        &self.entries
    }

    /// The same table as polynomials.
    #[cfg(target_arch = "x86_64")]
    pub fn pieces(&self) -> &Pieces {
        &self.pieces
    }

    const fn new(phi: fn_phi::Kind) -> Self {
        let mut entries = [f16::ZERO; ENTRIES];
        let mut i = 1;
        while i < ENTRIES {
            let steps = i as f64 - ZERO as f64;
            let middle = if i > ZERO {
                0.5
            } else if i < ZERO {
                -0.5
            } else {
                0.0
            };
            entries[i] = f16::from_f64_const(fn_phi::at(phi, (steps + middle) / STEPS as f64));
            i += 1;
        }
        entries[ENTRIES - 1] = f16::ONE;
        Self {
            entries,
            _pad: [f16::ZERO; 2],
            #[cfg(target_arch = "x86_64")]
            pieces: pieces::interpolated(phi),
        }
    }
}

/// Φ of the normal distribution.
pub static GATE_ERF: GateTable = GateTable::new(fn_phi::Kind::Erf);
/// Its approximation `(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2` (ibid.).
pub static GATE_TANH: GateTable = GateTable::new(fn_phi::Kind::Tanh);

/// GELU with the error function.
#[inline(always)]
pub fn gelu_erf<L: Lane>(x: L) -> L {
    x * x.gate(&GATE_ERF)
}

/// GELU's tanh form.
#[inline(always)]
pub fn gelu_tanh<L: Lane>(x: L) -> L {
    x * x.gate(&GATE_TANH)
}

/// The gate of one number: the entry `trunc(x·128)`, clamped to −512 … 511, counted from the entry of 0.
#[inline(always)]
pub(super) fn gate(x: f32, table: &GateTable) -> f32 {
    // The conversion rounds towards zero, saturates, and makes 0 of a NaN, whose product with any gate is a
    // NaN again.
    let entry = ((x * STEPS) as i32).clamp(-(ZERO as i32), ZERO as i32 - 1) + ZERO as i32;
    table.entries.get(entry as usize).map_or(0.0, |gate| gate.to_f32())
}

/// Φ in double precision, which the compiler evaluates: series of + − × ÷ only.
mod fn_phi {
    #[derive(Clone, Copy)]
    pub enum Kind {
        Erf,
        Tanh,
    }

    pub const fn at(kind: Kind, x: f64) -> f64 {
        match kind {
            Kind::Erf => 0.5 + 0.5 * erf(x * core::f64::consts::FRAC_1_SQRT_2),
            Kind::Tanh => {
                // (1 + tanh(u))/2 = 1/(1 + e^(−2u)), √(8/π) = 1.5957…
                let doubled = 1.595_769_121_605_730_8 * (x + 0.044_715 * x * x * x);
                1.0 / (1.0 + exp(-doubled))
            }
        }
    }

    /// Maclaurin series `2/√π · Σ (−1)ⁿ x^(2n+1) / (n!·(2n+1))`, for |x| < 3.
    const fn erf(x: f64) -> f64 {
        let (mut term, mut sum, mut n) = (x, x, 1);
        while n < 60 {
            term *= -x * x / n as f64;
            sum += term / (2 * n + 1) as f64;
            n += 1;
        }
        core::f64::consts::FRAC_2_SQRT_PI * sum
    }

    /// `e^x` for |x| < 16: the series of x/64, squared six times.
    const fn exp(x: f64) -> f64 {
        let (mut term, mut sum, mut n) = (1.0, 1.0, 1);
        while n < 16 {
            term *= x / 64.0 / n as f64;
            sum += term;
            n += 1;
        }
        let mut doublings = 0;
        while doublings < 6 {
            sum *= sum;
            doublings += 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact_erf(x: f64) -> f64 {
        0.5 * (1.0 + libm::erf(x / core::f64::consts::SQRT_2))
    }

    fn exact_tanh(x: f64) -> f64 {
        0.5 * (1.0 + libm::tanh((2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)))
    }

    #[test]
    fn entries_are_the_nearest_f16() {
        for (table, exact) in [(&GATE_ERF, exact_erf as fn(f64) -> f64), (&GATE_TANH, exact_tanh)] {
            for (i, entry) in table.entries().iter().enumerate().take(ENTRIES - 1).skip(1) {
                let middle = (i as f64 - ZERO as f64 + 0.5 * (i.cmp(&ZERO) as i32 as f64)) / f64::from(STEPS);
                assert_eq!(*entry, f16::from_f64_const(exact(middle)), "entry {i}");
            }
            assert_eq!((table.entries()[0].to_f32(), table.entries()[ENTRIES - 1].to_f32()), (0.0, 1.0));
        }
    }

    #[test]
    fn gelu_is_within_13e_4() {
        let mut worst = (0.0f64, 0.0f64);
        for i in -120_000..=120_000 {
            let x = i as f32 * 1e-4;
            let d = x as f64;
            worst.0 = worst.0.max((gelu_erf(x) as f64 - d * exact_erf(d)).abs() / d.abs().max(1.0));
            worst.1 = worst.1.max((gelu_tanh(x) as f64 - d * exact_tanh(d)).abs() / d.abs().max(1.0));
        }
        std::println!("gelu_erf: {:.2e}, gelu_tanh: {:.2e} (relative to max(|x|, 1))", worst.0, worst.1);
        assert!(worst.0 < 1.3e-3 && worst.1 < 1.3e-3);
        assert_eq!((gelu_tanh(1e30), gelu_erf(1e30)), (1e30, 1e30));
        assert_eq!((gelu_tanh(-1e30), gelu_erf(-5.0)), (0.0, 0.0));
    }

    #[test]
    fn gelu_never_falls_below_its_floor() {
        let floor = crate::kernels::Activation::GeluErf.floor();
        let lowest =
            (-60_000..=0).map(|i| i as f32 * 1e-4).map(|x| gelu_erf(x).min(gelu_tanh(x))).fold(0.0, f32::min);
        std::println!("lowest: {lowest}");
        assert!(lowest >= floor);
    }
}
