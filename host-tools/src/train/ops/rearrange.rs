//! Moves between pixels, maps and tokens, each as one graph node. All of them only permute elements, so the
//! backward pass is the inverse move.

use super::node::{tensor_like, with_elements, Node, Operand, Operator};
use candle_core::{bail, Result, Shape, Tensor};

/// A (batch, height, width, channels) map cut into `patch × patch` patches, row by row → (batch·patches,
/// channels·patch²). A token's elements are ordered channel, row, column, as `torch.nn.Unfold` orders them.
pub fn unfold(map: &Tensor, patch: usize) -> Result<Tensor> {
    let &[batch, height, width, channels] = map.dims() else {
        bail!("unfold: map {:?}, expected 4 dimensions", map.shape())
    };
    if patch == 0 || !height.is_multiple_of(patch) || !width.is_multiple_of(patch) {
        bail!("unfold: a map of {height}×{width} is not whole patches of {patch}×{patch}");
    }
    let shape = Shape::from((batch * height / patch * (width / patch), channels * patch * patch));
    let geometry = Geometry { width, channels, patch };
    map.apply_op1(Node(Move { geometry, kind: Kind::Unfold, from: map.shape().clone(), to: shape }))
}

/// The inverse of [`unfold`]: tokens → a map of `height × width`.
pub fn fold(tokens: &Tensor, height: usize, width: usize, patch: usize) -> Result<Tensor> {
    let (rows, dim) = tokens.dims2()?;
    let area = patch * patch;
    if area == 0
        || !height.is_multiple_of(patch)
        || !width.is_multiple_of(patch)
        || dim % area != 0
        || !(rows * area).is_multiple_of(height * width)
    {
        bail!("fold: ({rows}, {dim}) is not maps of {height}×{width} in patches of {patch}×{patch}");
    }
    let channels = dim / area;
    let shape = Shape::from((rows * area / (height * width), height, width, channels));
    let geometry = Geometry { width, channels, patch };
    tokens.apply_op1(Node(Move { geometry, kind: Kind::Fold, from: tokens.shape().clone(), to: shape }))
}

/// (batch, height, width, channels·factor²) → (batch, height·factor, width·factor, channels), as
/// `torch.nn.PixelShuffle`: input channel `c·factor² + i·factor + j` becomes channel c of the pixel at row i,
/// column j of its square.
pub fn pixel_shuffle(map: &Tensor, factor: usize) -> Result<Tensor> {
    let &[batch, height, width, inputs] = map.dims() else {
        bail!("pixel shuffle: map {:?}, expected 4 dimensions", map.shape())
    };
    if factor == 0 || inputs % (factor * factor) != 0 {
        bail!("pixel shuffle: {inputs} channels are not a multiple of {factor}²");
    }
    let channels = inputs / (factor * factor);
    let shape = Shape::from((batch, height * factor, width * factor, channels));
    // A pixel's channels are a token, and the result the map that the tokens fold to.
    let geometry = Geometry { width: width * factor, channels, patch: factor };
    map.apply_op1(Node(Move { geometry, kind: Kind::Fold, from: map.shape().clone(), to: shape }))
}

/// Sizes of a map and its patches.
#[derive(Clone, Copy)]
struct Geometry {
    width: usize,
    channels: usize,
    patch: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Fold,
    Unfold,
}

struct Move {
    geometry: Geometry,
    kind: Kind,
    from: Shape,
    to: Shape,
}

impl Geometry {
    /// Calls `each` with (index in the tokens, index in the map) for every element.
    fn pairs(&self, count: usize, mut each: impl FnMut(usize, usize)) {
        let (patch, channels) = (self.patch, self.channels);
        let dim = channels * patch * patch;
        let columns = self.width / patch;
        for token in 0..count / dim {
            // Maps follow each other without a gap, so the row counts on through the batch.
            let (top, left) = (token / columns * patch, token % columns * patch);
            for row in 0..patch {
                for column in 0..patch {
                    let pixel = ((top + row) * self.width + left + column) * channels;
                    let place = token * dim + row * patch + column;
                    for channel in 0..channels {
                        each(place + channel * patch * patch, pixel + channel);
                    }
                }
            }
        }
    }

    fn apply(&self, kind: Kind, source: &[f32]) -> Vec<f32> {
        let mut out = vec![0f32; source.len()];
        match kind {
            Kind::Unfold => self.pairs(source.len(), |token, map| out[token] = source[map]),
            Kind::Fold => self.pairs(source.len(), |token, map| out[map] = source[token]),
        }
        out
    }
}

impl Operator<1> for Move {
    const NAME: &'static str = "rearrange";

    fn forward(&self, [x]: [Operand; 1]) -> Result<(Vec<f32>, Shape)> {
        Ok((self.geometry.apply(self.kind, x.elements()?), self.to.clone()))
    }

    fn backward(&self, [x]: [&Tensor; 1], _out: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 1]> {
        debug_assert_eq!(x.shape(), &self.from);
        let inverse = if self.kind == Kind::Fold { Kind::Unfold } else { Kind::Fold };
        let out = with_elements([grad], |[grad]| self.geometry.apply(inverse, grad))?;
        Ok([Some(tensor_like(out, x)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;
    use candle_core::Device;

    fn values(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn tokens_are_ordered_channel_row_column() {
        // Two channels: the pixel's number and that plus 100.
        let map: Vec<f32> = (0..8).flat_map(|i| [i as f32, 100.0 + i as f32]).collect();
        let map = Tensor::from_vec(map, (1, 2, 4, 2), &Device::Cpu).unwrap();
        let tokens = unfold(&map, 2).unwrap();
        let want = [0., 1., 4., 5., 100., 101., 104., 105., 2., 3., 6., 7., 102., 103., 106., 107.];
        assert_eq!(values(&tokens), want);
        assert_eq!(values(&fold(&tokens, 2, 4, 2).unwrap()), values(&map));
    }

    #[test]
    fn pixel_shuffle_matches_candle() {
        let map = random_var(&[2, 3, 4, 18], 1);
        let plain =
            candle_nn::ops::pixel_shuffle(&map.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap(), 3);
        let plain = plain.unwrap().permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
        let ours = pixel_shuffle(&map, 3).unwrap();
        assert_eq!(ours.dims(), plain.dims());
        assert_eq!(values(&ours), values(&plain));
    }

    #[test]
    fn gradients_match_finite_differences() {
        let map = [random_var(&[2, 4, 6, 3], 1)];
        finite_differences(&map, |a| unfold(&a[0], 2), 2e-3);
        finite_differences(&map, |a| fold(&unfold(&a[0], 2)?, 4, 6, 2), 2e-3);
        finite_differences(&[random_var(&[1, 2, 3, 8], 2)], |a| pixel_shuffle(&a[0], 2), 2e-3);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let map = random_var(&[1, 5, 4, 3], 1);
        assert!(unfold(&map, 2).unwrap_err().to_string().contains("5×4"));
        assert!(pixel_shuffle(&map, 2).unwrap_err().to_string().contains("multiple of 2²"));
        assert!(fold(&random_var(&[3, 8], 2), 4, 4, 2).unwrap_err().to_string().contains("(3, 8)"));
    }
}
