//! An IPT on windows of another size.

use super::FloatIpt;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::tensor::FloatTensor;
use std::path::Path;

impl FloatIpt {
    /// The same weights on windows of `window` pixels: position and query embeddings are interpolated between
    /// the tokens, as a ViT's positions are for images of another size (Dosovitskiy et al., arXiv 2010.11929,
    /// §3.2). Nothing else depends on the window.
    ///
    /// # Errors
    /// A window that is no multiple of the patch, or that the engine can't have.
    pub fn with_window(&self, window: usize) -> Result<Self, CheckpointError> {
        let mut config = self.config.clone();
        config.window = window;
        super::validate_ipt_config(Path::new(&self.name), &config)?;
        let (from, to, dim) = (self.config.token_columns(), config.token_columns(), config.dim());
        let mut tensors = self.tensors.clone();
        for (name, rows) in
            [("body.position_encoding.pe.weight", 1), ("body.query_embed.weight", config.tasks.len())]
        {
            if let Some(tensor) = tensors.get_mut(name) {
                let grids = tensor.data.chunks_exact(from * from * dim);
                let data: Vec<f32> = grids.flat_map(|grid| resized(grid, from, to, dim)).collect();
                let shape = if rows == 1 && name.contains("pe.") {
                    vec![to * to, dim]
                } else {
                    vec![rows, to * to * dim]
                };
                *tensor = FloatTensor { shape, data };
            }
        }
        let mut model = Self::new(self.name.clone(), config, tensors)?;
        model.source_sha256 = self.source_sha256;
        model.settings.clone_from(&self.settings);
        model.warnings.clone_from(&self.warnings);
        Ok(model)
    }
}

/// A square grid `(from, from, dim)` interpolated linearly to `(to, to, dim)`; the corners' outer edges stay
/// where they are.
fn resized(grid: &[f32], from: usize, to: usize, dim: usize) -> Vec<f32> {
    // Two neighbours and the share of the second one, for each place.
    let places: Vec<(usize, usize, f32)> = (0..to)
        .map(|i| {
            let at = (i as f32 + 0.5) * from as f32 / to as f32 - 0.5;
            let at = at.clamp(0.0, (from - 1) as f32);
            let first = at as usize;
            (first, (first + 1).min(from - 1), at - first as f32)
        })
        .collect();
    let mut out = Vec::with_capacity(to * to * dim);
    for &(top, bottom, down) in &places {
        for &(left, right, across) in &places {
            for k in 0..dim {
                let at = |y: usize, x: usize| grid[(y * from + x) * dim + k];
                let upper = at(top, left) + across * (at(top, right) - at(top, left));
                let lower = at(bottom, left) + across * (at(bottom, right) - at(bottom, left));
                out.push(upper + down * (lower - upper));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_keeps_its_values_at_its_size_and_ramps_between_them() {
        let grid = [0.0, 10.0, 2.0, 12.0, 4.0, 14.0, 6.0, 16.0];
        assert_eq!(resized(&grid, 2, 2, 2), grid);
        let doubled = resized(&grid, 2, 4, 2);
        assert_eq!(&doubled[..8], &[0.0, 10.0, 0.5, 10.5, 1.5, 11.5, 2.0, 12.0]);
        assert_eq!(resized(&grid, 2, 1, 2), [3.0, 13.0]);
    }
}
