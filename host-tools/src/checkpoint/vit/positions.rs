//! The image size that position embeddings are of, and their interpolation to another one.
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::names::canonical::{shape_of, Canonical};
use crate::checkpoint::settings::Said;
use crate::checkpoint::tensor::FloatTensor;
use crate::taps::{taps, Taps};
use vitreous::format::Filter;

/// (height, width), in pixels or in patches.
pub(crate) type Size = (usize, usize);

/// Longest side of an image, as the format has it.
const MAX_SIDE: usize = 16_384;

/// What is known of an image's size before the positions are looked at.
pub(crate) struct SizeSources {
    /// `--image-size`: what the model is to take.
    pub wanted: Option<Size>,
    /// `--trained-size`.
    pub trained_by_option: Option<Size>,
    /// What files or a well-known architecture say of the training.
    pub trained: Option<Said<Size>>,
    /// (height, width) of a patch.
    pub patch: Size,
    /// Tokens before the first patch.
    pub prefix: usize,
    /// Width of a token.
    pub dim: usize,
}

/// What the positions tell: the size that the weights were trained with, and the one that the model takes
/// now.
pub(crate) struct FittedSize {
    pub trained: Said<Size>,
    pub image: Said<Size>,
}

/// Finds the image size of the training, brings the positions to the size that is wanted, and gives tokens
/// without a position (timm's `no_embed_class`) one of zeros. Afterwards the embedding has one row per token.
pub(crate) fn fit(model: &mut Canonical, sources: SizeSources) -> Result<FittedSize, CheckpointError> {
    let rows = rows_of(model)?;
    let (path, name) = (model.path.clone(), model.source_name("pos_embed"));
    let error = |what: String, way_out: &str| CheckpointError::Config {
        path: path.clone(),
        what: format!("`{name}` has {rows} rows, {what}"),
        way_out: way_out.into(),
    };
    for size in [sources.wanted, sources.trained_by_option].into_iter().flatten() {
        if size.0.max(size.1) > MAX_SIDE {
            let what = format!("and {}×{} pixels are no image's size here", size.0, size.1);
            return Err(error(what, "a side has at most 16,384 pixels"));
        }
        patches_of(size, sources.patch).ok_or_else(|| {
            let ((height, width), (patch_height, patch_width)) = (size, sources.patch);
            let what = format!(
                "and a {height}×{width} image is no whole number of {patch_height}×{patch_width} patches"
            );
            error(what, "pass a multiple of the patches' size")
        })?;
    }
    let trained = trained_size(rows, &sources).map_err(|(what, way_out)| error(what, way_out))?;
    let grid = patches_of(trained.value, sources.patch).unwrap_or((0, 0));
    if rows == grid.0 * grid.1 && sources.prefix > 0 {
        prepend_zero_rows(model.tensors.get_mut("pos_embed"), sources.prefix, sources.dim);
    }
    let old = trained.value;
    let Some(wanted) = sources.wanted.filter(|wanted| *wanted != old) else {
        let image = match sources.wanted {
            Some(wanted) => Said::by_option(wanted),
            None => trained.clone(),
        };
        return Ok(FittedSize { trained, image });
    };
    let to = patches_of(wanted, sources.patch).unwrap_or((0, 0));
    if to.0 * to.1 == grid.0 * grid.1 {
        let what = format!(
            "{} of a {}×{} image; a {}×{} image has as many patches in another arrangement",
            trained_in_words(&trained),
            old.0,
            old.1,
            wanted.0,
            wanted.1
        );
        let way_out = "pass --trained-size HxW to say which image the weights were trained with: positions \
                       are then interpolated to --image-size";
        if sources.trained_by_option.is_none() {
            return Err(error(what, way_out));
        }
    }
    if let Some(tensor) = model.tensors.get_mut("pos_embed") {
        interpolate(tensor, grid, to, sources.prefix, sources.dim);
    }
    let note = format!("positions are interpolated from {}×{} patches to {}×{}", grid.0, grid.1, to.0, to.1);
    model.warnings.push(note.clone());
    Ok(FittedSize { trained, image: Said::by_option(wanted).noting(&note) })
}

fn trained_in_words(trained: &Said<Size>) -> &'static str {
    if trained.is_assumed() {
        "which are taken for those"
    } else {
        "which files or names say to be those"
    }
}

/// (1, tokens, dim), or without the leading 1.
fn rows_of(model: &Canonical) -> Result<usize, CheckpointError> {
    let shape = model.tensors.get("pos_embed").map(|t| t.shape.clone()).unwrap_or_default();
    match shape[..] {
        [1, rows, _] | [rows, _] => Ok(rows),
        _ => Ok(shape_of::<3>(model, "pos_embed", "[1, tokens, dim]")?[1]),
    }
}

/// Whole patches of an image along its height and width.
fn patches_of((height, width): Size, (patch_height, patch_width): Size) -> Option<Size> {
    let is_whole = height > 0 && width > 0 && height % patch_height == 0 && width % patch_width == 0;
    is_whole.then(|| (height / patch_height, width / patch_width))
}

/// The size of the training: as an option, a file or a known architecture says, if the number of rows agrees;
/// else a square.
fn trained_size(rows: usize, sources: &SizeSources) -> Result<Said<Size>, (String, &'static str)> {
    let SizeSources { patch, prefix, .. } = *sources;
    let fits = |size: Size| {
        let patches = patches_of(size, patch).map_or(0, |(rows, columns)| rows.saturating_mul(columns));
        patches > 0 && (rows == patches + prefix || rows == patches)
    };
    let square = |n: usize| Some(n.isqrt()).filter(|side| *side > 0 && side * side == n);
    let side = rows.checked_sub(prefix).and_then(square).or(square(rows));
    let square_size = side.map(|side| (side * patch.0, side * patch.1));
    let mismatch = |(height, width): Size, who: &str| {
        let which = match patches_of((height, width), patch) {
            None => format!("which is no whole number of {}×{} patches", patch.0, patch.1),
            Some((rows, columns)) => {
                let patches = rows.saturating_mul(columns);
                format!("which has {patches} patches of {}×{}, with {prefix} prefix tokens", patch.0, patch.1)
            }
        };
        format!("but {who} a {height}×{width} image, {which}")
    };
    if let Some(size) = sources.trained_by_option {
        return if fits(size) {
            Ok(Said::by_option(size))
        } else {
            Err((mismatch(size, "--trained-size says"), "pass the --trained-size of the weights' training"))
        };
    }
    match (&sources.trained, square_size) {
        (Some(said), _) if fits(said.value) => Ok(said.clone()),
        // A name is a weaker sign than the rows: many a model is called after the one that it was made from.
        (Some(said), _) if said.is_by_file() => {
            let way_out = "is config.json of this model? pass the --trained-size of the weights' training";
            Err((mismatch(said.value, "config.json says"), way_out))
        }
        (_, Some(size)) => {
            let patches = size.0 / patch.0;
            Ok(Said::assumed(
                size,
                format!("{rows} positions are taken for a square of {patches}×{patches} patches"),
            ))
        }
        (_, None) => match sources.wanted {
            Some(size) if fits(size) => Ok(Said::by_option(size)),
            Some(size) => {
                let way_out = "pass --trained-size HxW, the size of the weights' training: positions are \
                               then interpolated to --image-size";
                Err((mismatch(size, "--image-size says"), way_out))
            }
            None if prefix == 0 && square(rows.saturating_sub(1)).is_some() => Err((
                "one more than a square grid of patches has, and the file has no class token".into(),
                "is `cls_token` missing? Else pass --trained-size HxW",
            )),
            None => Err((
                format!("which with {prefix} prefix tokens is no square grid of patches"),
                "pass --image-size HEIGHTxWIDTH",
            )),
        },
    }
}

fn prepend_zero_rows(tensor: Option<&mut FloatTensor>, rows: usize, dim: usize) {
    if let Some(tensor) = tensor {
        tensor.data.splice(0..0, std::iter::repeat_n(0.0, rows * dim));
        tensor.shape = vec![1, tensor.data.len() / dim.max(1), dim];
    }
}

/// Resamples the grid of positions behind `prefix` rows as timm does (`resample_abs_pos_embed`): bicubic with
/// a = −0.5, and antialiased where the grid becomes smaller.
pub(crate) fn interpolate(tensor: &mut FloatTensor, from: Size, to: Size, prefix: usize, dim: usize) {
    let (head, grid) = tensor.data.split_at(prefix * dim);
    let columns = resample(grid, from.0, from.1, to.1, dim);
    // Rows of the grid are wide pixels of one column.
    let rows = resample(&columns, 1, from.0, to.0, to.1 * dim);
    tensor.data = head.iter().copied().chain(rows).collect();
    tensor.shape = vec![1, prefix + to.0 * to.1, dim];
}

/// Resamples `count` lines of `from` pixels of `width` values each to lines of `to` pixels.
fn resample(values: &[f32], count: usize, from: usize, to: usize, width: usize) -> Vec<f32> {
    if from == to {
        return values.to_vec();
    }
    let taps = taps(Filter::Bicubic, from, to);
    let mut out = Vec::with_capacity(count * to * width);
    for line in values.chunks_exact(from * width) {
        for Taps { start, weights } in &taps {
            out.extend((0..width).map(|k| {
                let pixels = weights.iter().zip(*start..);
                pixels.map(|(w, i)| w * f64::from(line[i * width + k])).sum::<f64>() as f32
            }));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(wanted: Option<Size>, trained: Option<Said<Size>>) -> SizeSources {
        SizeSources { wanted, trained_by_option: None, trained, patch: (8, 8), prefix: 1, dim: 2 }
    }

    #[test]
    fn the_size_of_the_training_comes_from_files_then_from_a_square() {
        let file = |size| Some(Said::by_file(size, "config.json"));
        let size = |rows, sources: SizeSources| {
            trained_size(rows, &sources).map(|said| (said.value, said.is_assumed()))
        };
        assert_eq!(size(17, sources(None, file((16, 64)))), Ok(((16, 64), false)));
        assert_eq!(size(17, sources(None, None)), Ok(((32, 32), true)));
        assert_eq!(size(16, sources(None, None)), Ok(((32, 32), true)));
        assert_eq!(size(13, sources(Some((32, 24)), None)), Ok(((32, 24), false)));
        assert!(size(13, sources(None, None)).is_err());
        assert!(size(17, sources(None, file((64, 64))))
            .unwrap_err()
            .0
            .contains("config.json says a 64×64 image"));
        let named = Said::by_architecture((64, 64), "vit");
        assert_eq!(size(17, sources(None, Some(named))), Ok(((32, 32), true)));
    }

    /// `F.interpolate(x, (2, 3), mode="bicubic", antialias=True)` of a 4×4 grid in PyTorch 2.15.
    #[test]
    fn grids_are_resampled_as_pytorch_does() {
        let grid: Vec<f32> = (0..16).map(|i| ((i * 7) % 16) as f32).collect();
        let mut tensor = FloatTensor { shape: vec![1, 17, 1], data: [vec![-1.0], grid].concat() };
        interpolate(&mut tensor, (4, 4), (2, 3), 1, 1);
        assert_eq!(tensor.shape, [1, 7, 1]);
        assert_eq!(tensor.data[0], -1.0);
        let expected = EXPECTED_2X3;
        for (found, expected) in tensor.data[1..].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{:?}", tensor.data);
        }
    }

    const EXPECTED_2X3: [f32; 6] = [5.905_497, 9.072_386, 6.197_477, 8.637_498, 8.165_005, 8.182_387];
}
