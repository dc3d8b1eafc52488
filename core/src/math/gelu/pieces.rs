//! The table as polynomials, for processors that evaluate sixteen of them faster than they look up sixteen
//! entries.

use super::{fn_phi, ENTRIES, STEPS, ZERO};

/// Number of pieces: as many as two registers of AVX-512 have lanes.
const PIECES: usize = 32;
/// Entries of a piece.
pub const PIECE_STEPS: usize = ENTRIES / PIECES;
/// Coefficients of a polynomial.
const TERMS: usize = 5;
/// Chebyshev nodes of the fifth order: cos((2k + 1)·π/10).
const NODES: [f64; TERMS] = [
    0.951_056_516_295_153_5,
    0.587_785_252_292_473_1,
    0.0,
    -0.587_785_252_292_473_1,
    -0.951_056_516_295_153_5,
];

/// Coefficients `c[k][(n / 32) mod 32]` for entry n, counted from the entry of 0.
///
/// `Σ c[k]·u^k` with `u = n mod 32`, computed by Horner's rule with fused multiply-adds in f32 and rounded to
/// f16, equals the entry exactly. Two entries are exceptions, since they are not on the curve: those of −512
/// (0) and of 0 (½).
pub type Pieces = [[f32; PIECES]; TERMS];

/// Interpolates Φ between the middles of the steps.
pub(super) const fn interpolated(phi: fn_phi::Kind) -> Pieces {
    let mut pieces = [[0.0; PIECES]; TERMS];
    let mut piece = 0;
    while piece < PIECES {
        let first = (piece * PIECE_STEPS) as f64 - ZERO as f64;
        let middle = if first < 0.0 { -0.5 } else { 0.5 };
        // Negative entries come last, since the lower bits of n are in two's complement.
        let lane = (piece + PIECES / 2) % PIECES;
        let coefficients = interpolate(phi, first + middle);
        let mut k = 0;
        while k < TERMS {
            pieces[k][lane] = coefficients[k] as f32;
            k += 1;
        }
        piece += 1;
    }
    pieces
}

/// Coefficients of the polynomial through Φ at the nodes of a piece, by Newton's divided differences.
const fn interpolate(phi: fn_phi::Kind, start: f64) -> [f64; TERMS] {
    let (mut at, mut differences) = ([0.0; TERMS], [0.0; TERMS]);
    let mut k = 0;
    while k < TERMS {
        let half = (PIECE_STEPS - 1) as f64 / 2.0;
        at[k] = half + (half + 0.7) * NODES[k];
        differences[k] = fn_phi::at(phi, (start + at[k]) / STEPS as f64);
        k += 1;
    }
    let mut order = 1;
    while order < TERMS {
        let mut k = TERMS - 1;
        while k >= order {
            differences[k] = (differences[k] - differences[k - 1]) / (at[k] - at[k - order]);
            k -= 1;
        }
        order += 1;
    }
    // Horner's rule on polynomials: p = p·(u − at[k]) + differences[k].
    let mut polynomial = [0.0; TERMS];
    let mut k = TERMS;
    while k > 0 {
        k -= 1;
        let mut power = TERMS - 1;
        while power > 0 {
            polynomial[power] = polynomial[power - 1] - at[k] * polynomial[power];
            power -= 1;
        }
        polynomial[0] = differences[k] - at[k] * polynomial[0];
    }
    polynomial
}
