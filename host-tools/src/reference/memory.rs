//! What a float pass takes, before it is run: attention over n tokens has heads·n² scores, twice.
use super::ReferenceError;
use vitreous::models::ipt::IptConfig;
use vitreous::models::vit::VitConfig;

/// Most bytes of one pass: an allocation that the system has not would end the program.
const MOST: u64 = 32 << 30;

/// Bytes of one image's pass that keeps the stream of every block, roughly.
pub fn vit_bytes(c: &VitConfig) -> u64 {
    transformer(c.tokens(), c.dim, c.hidden, c.heads, c.depth)
}

/// The same of a pass that keeps no stream.
pub(super) fn vit_bytes_of_outputs(c: &VitConfig) -> u64 {
    transformer(c.tokens(), c.dim, c.hidden, c.heads, 0)
}

/// Bytes of one window's pass that keeps the stream of every layer, roughly.
pub fn ipt_bytes(c: &IptConfig) -> u64 {
    let layers = c.encoder_layers + c.decoder_layers;
    transformer(c.tokens(), c.dim(), c.hidden, c.heads, layers).saturating_add(maps(c))
}

/// The same of a pass that keeps no stream.
pub(super) fn ipt_bytes_of_outputs(c: &IptConfig) -> u64 {
    transformer(c.tokens(), c.dim(), c.hidden, c.heads, 0).saturating_add(maps(c))
}

/// Convolutions are matrix products over the 3×3 surroundings of every pixel, at the last of the size of the
/// output.
fn maps(c: &IptConfig) -> u64 {
    let scale = c.tasks.iter().map(|task| task.scale as u64).max().unwrap_or(1);
    let pixels = (c.window as u64 * scale).saturating_pow(2);
    pixels.saturating_mul(c.features as u64).saturating_mul(4 * (9 + 4))
}

fn transformer(tokens: usize, dim: usize, hidden: usize, heads: usize, layers: usize) -> u64 {
    let [tokens, dim, hidden, heads, layers] = [tokens, dim, hidden, heads, layers].map(|n| n as u64);
    let scores = tokens.saturating_mul(tokens).saturating_mul(2 * heads);
    // Twice per layer and once as tensors and once as lists; query, key, value and their heads; the MLP.
    let row = (2 * layers + 1) * 2 * dim + 8 * dim + 4 * hidden;
    scores.saturating_add(tokens.saturating_mul(row)).saturating_mul(4)
}

/// Refuses a pass of more bytes than a machine is likely to have.
pub(super) fn check(bytes: u64) -> Result<(), ReferenceError> {
    if bytes <= MOST {
        return Ok(());
    }
    Err(ReferenceError::Memory { needed: in_gib(bytes), most: in_gib(MOST) })
}

/// Such as `1.5 GiB`.
pub fn in_gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1u32 << 30))
}
