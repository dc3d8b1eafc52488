//! Convolution of (batch, height, width, channels) maps with zero padding, as one graph node.
//!
//! In a padded map, the inputs of one kernel row are contiguous, and those of the next pixel start one pixel
//! later: each kernel row is a matrix product whose left operand's rows overlap. So nothing is unfolded to
//! memory.

use super::lanes::vectorised;
use super::node::{tensor_like, with_elements, Node, Operand, Operator};
use super::tile::{add_dot, add_outer, lanes, lanes_mut, Lane, PANEL, ROWS};
use candle_core::{bail, Result, Shape, Tensor};

/// `x` (batch, height, width, inputs) convolved with `weight` (outputs, inputs, k, k), k odd, plus `bias`
/// (outputs) → (batch, height, width, outputs). A cross-correlation, as in every framework; outside of the
/// map there are zeros.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op3(weight, bias, Node(Conv { relu: false }))
}

/// `max(conv2d(x), 0)`.
pub fn conv2d_relu(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op3(weight, bias, Node(Conv { relu: true }))
}

struct Conv {
    relu: bool,
}

/// Sizes of one convolution.
#[derive(Clone, Copy)]
struct Sizes {
    height: usize,
    width: usize,
    inputs: usize,
    outputs: usize,
    kernel: usize,
}

impl Sizes {
    fn new(x: &[usize], weight: &[usize]) -> Result<Self> {
        let (&[_, height, width, inputs], &[outputs, weight_inputs, kernel, other]) = (x, weight) else {
            bail!("conv2d: map {x:?} and kernel {weight:?}, expected 4 dimensions each")
        };
        if weight_inputs != inputs || kernel != other || kernel % 2 == 0 {
            bail!("conv2d: kernel {weight:?} does not fit map {x:?}, or is not square and odd");
        }
        Ok(Sizes { height, width, inputs, outputs, kernel })
    }

    /// The convolution that takes the output's gradient to the input's.
    fn reversed(self) -> Self {
        Sizes { inputs: self.outputs, outputs: self.inputs, ..self }
    }

    fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Elements of a padded row of the input.
    fn row(&self) -> usize {
        (self.width + self.kernel - 1) * self.inputs
    }

    /// Inputs of one pixel in one kernel row.
    fn run(&self) -> usize {
        self.kernel * self.inputs
    }

    fn padded_buffer(&self) -> Vec<f32> {
        vec![0f32; (self.height + self.kernel - 1) * self.row()]
    }

    /// Writes one image into a buffer whose border stays zero.
    #[inline(always)]
    fn pad(&self, image: &[f32], out: &mut [f32]) {
        let margin = self.kernel / 2;
        let length = self.width * self.inputs;
        for (row, out) in image.chunks_exact(length).zip(out.chunks_exact_mut(self.row()).skip(margin)) {
            out[margin * self.inputs..][..length].copy_from_slice(row);
        }
    }

    /// (outputs, inputs, k, k) → panels of (k, k, inputs, 16); the padding columns stay zero.
    fn pack(&self, weight: &[f32]) -> Vec<f32> {
        let area = self.kernel * self.kernel;
        let mut packed = vec![0f32; self.panels() * area * self.inputs * PANEL];
        for output in 0..self.outputs {
            for input in 0..self.inputs {
                for tap in 0..area {
                    let row = (output / PANEL * area + tap) * self.inputs + input;
                    packed[row * PANEL + output % PANEL] =
                        weight[(output * self.inputs + input) * area + tap];
                }
            }
        }
        packed
    }

    /// The inverse of [`pack`](Self::pack).
    fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        let area = self.kernel * self.kernel;
        let mut weight = vec![0f32; self.outputs * self.inputs * area];
        for output in 0..self.outputs {
            for input in 0..self.inputs {
                for tap in 0..area {
                    let row = (output / PANEL * area + tap) * self.inputs + input;
                    weight[(output * self.inputs + input) * area + tap] =
                        packed[row * PANEL + output % PANEL];
                }
            }
        }
        weight
    }

    /// Kernel turned by 180° with inputs and outputs exchanged: (inputs, outputs, k, k).
    fn transpose(&self, weight: &[f32]) -> Vec<f32> {
        let area = self.kernel * self.kernel;
        let mut out = vec![0f32; weight.len()];
        for output in 0..self.outputs {
            for input in 0..self.inputs {
                for tap in 0..area {
                    out[(input * self.outputs + output) * area + area - 1 - tap] =
                        weight[(output * self.inputs + input) * area + tap];
                }
            }
        }
        out
    }
}

/// All pixels of one padded image; `finish` gets every output row of a pixel with its index in `out`.
#[inline(always)]
fn convolve(s: &Sizes, padded: &[f32], packed: &[f32], bias: &[f32], relu: bool, out: &mut [f32]) {
    let per_panel = s.kernel * s.run();
    for (panel, weights) in lanes(packed).chunks_exact(per_panel).enumerate() {
        let first = panel * PANEL;
        let count = PANEL.min(s.outputs - first);
        let mut start = [0f32; PANEL];
        start[..count].copy_from_slice(&bias[first..first + count]);
        for y in 0..s.height {
            let mut x = 0;
            while x < s.width {
                let rows = if x + ROWS <= s.width { ROWS } else { 1 };
                let at = (y * s.width + x) * s.outputs + first;
                if rows == ROWS {
                    pixels::<ROWS>(s, padded, weights, y, x, &start, relu, count, &mut out[at..]);
                } else {
                    pixels::<1>(s, padded, weights, y, x, &start, relu, count, &mut out[at..]);
                }
                x += rows;
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a convolution's shape and its place")]
fn pixels<const R: usize>(
    s: &Sizes,
    padded: &[f32],
    weights: &[Lane],
    y: usize,
    x: usize,
    start: &Lane,
    relu: bool,
    count: usize,
    out: &mut [f32],
) {
    let mut sums = [*start; R];
    for (ky, weights) in weights.chunks_exact(s.run()).enumerate() {
        add_dot(&mut sums, &padded[(y + ky) * s.row() + x * s.inputs..], s.inputs, weights);
    }
    for (r, sums) in sums.iter_mut().enumerate() {
        if relu {
            for sum in sums.iter_mut() {
                *sum = sum.max(0.0);
            }
        }
        let out = &mut out[r * s.outputs..][..count];
        if count == PANEL {
            out.copy_from_slice(&sums[..]);
        } else {
            out.copy_from_slice(&sums[..count]);
        }
    }
}

/// Adds one image's part of the kernel's gradient, packed; `grad` is in panels of (height·width, 16).
#[inline(always)]
fn kernel_gradient(s: &Sizes, padded: &[f32], grad: &[Lane], packed: &mut [f32]) {
    let (run, pixels) = (s.run(), s.height * s.width);
    for (panel, out) in lanes_mut(packed).chunks_exact_mut(s.kernel * run).enumerate() {
        let grad = &grad[panel * pixels..][..pixels];
        for (ky, out) in out.chunks_exact_mut(run).enumerate() {
            let mut first = 0;
            while first < run {
                if first + ROWS <= run {
                    taps::<ROWS>(s, padded, grad, ky, first, &mut out[first..]);
                    first += ROWS;
                } else {
                    taps::<1>(s, padded, grad, ky, first, &mut out[first..]);
                    first += 1;
                }
            }
        }
    }
}

#[inline(always)]
fn taps<const R: usize>(s: &Sizes, padded: &[f32], grad: &[Lane], ky: usize, first: usize, out: &mut [Lane]) {
    let mut sums: [Lane; R] = core::array::from_fn(|r| out[r]);
    for (y, grad) in grad.chunks_exact(s.width).enumerate() {
        add_outer(&mut sums, &padded[(y + ky) * s.row() + first..], s.inputs, grad);
    }
    out[..R].copy_from_slice(&sums);
}

/// (pixels, outputs) → panels of (pixels, 16), zero where the ReLU that made `y` was closed.
#[inline(always)]
fn masked_panels(s: &Sizes, grad: &[f32], y: Option<&[f32]>, masked: &mut [f32], panels: &mut [f32]) {
    match y {
        Some(y) => {
            for ((m, &g), &y) in masked.iter_mut().zip(grad).zip(y) {
                *m = if y > 0.0 { g } else { 0.0 };
            }
        }
        None => masked.copy_from_slice(grad),
    }
    let pixels = s.height * s.width;
    for panel in 0..s.panels() {
        let first = panel * PANEL;
        let count = PANEL.min(s.outputs - first);
        let out = &mut panels[panel * pixels * PANEL..][..pixels * PANEL];
        for (row, out) in masked.chunks_exact(s.outputs).zip(out.chunks_exact_mut(PANEL)) {
            out[..count].copy_from_slice(&row[first..first + count]);
        }
    }
}

fn forward(s: Sizes, x: &[f32], weight: &[f32], bias: &[f32], relu: bool, out: &mut [f32]) {
    let packed = s.pack(weight);
    let mut padded = s.padded_buffer();
    let pixels = s.height * s.width;
    vectorised(
        #[inline(always)]
        || {
            for (x, out) in x.chunks_exact(pixels * s.inputs).zip(out.chunks_exact_mut(pixels * s.outputs)) {
                s.pad(x, &mut padded);
                convolve(&s, &padded, &packed, bias, relu, out);
            }
        },
    );
}

/// Gradients of input (where wanted), kernel and bias.
struct Gradients {
    x: Option<Vec<f32>>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

fn backward(s: Sizes, x: &[f32], weight: &[f32], y: Option<&[f32]>, grad: &[f32], need_x: bool) -> Gradients {
    let back = s.reversed();
    let pixels = s.height * s.width;
    let turned = if need_x { back.pack(&s.transpose(weight)) } else { Vec::new() };
    let (mut padded, mut padded_grad) = (s.padded_buffer(), back.padded_buffer());
    let mut masked = vec![0f32; pixels * s.outputs];
    let mut panels = vec![0f32; s.panels() * pixels * PANEL];
    let mut packed = vec![0f32; s.panels() * s.kernel * s.run() * PANEL];
    let mut bias = vec![0f32; s.panels() * PANEL];
    let zeros = vec![0f32; s.inputs];
    let mut grad_x = vec![0f32; if need_x { x.len() } else { 0 }];
    vectorised(
        #[inline(always)]
        || {
            for (image, x) in x.chunks_exact(pixels * s.inputs).enumerate() {
                let range = image * masked.len()..(image + 1) * masked.len();
                let y = y.map(|y| &y[range.clone()]);
                masked_panels(&s, &grad[range], y, &mut masked, &mut panels);
                s.pad(x, &mut padded);
                kernel_gradient(&s, &padded, lanes(&panels), &mut packed);
                let sums = lanes_mut(&mut bias);
                for (sum, panel) in sums.iter_mut().zip(lanes(&panels).chunks_exact(pixels)) {
                    for row in panel {
                        for lane in 0..PANEL {
                            sum[lane] += row[lane];
                        }
                    }
                }
                if need_x {
                    back.pad(&masked, &mut padded_grad);
                    let out = &mut grad_x[image * x.len()..][..x.len()];
                    convolve(&back, &padded_grad, &turned, &zeros, false, out);
                }
            }
        },
    );
    bias.truncate(s.outputs);
    Gradients { x: need_x.then_some(grad_x), weight: s.unpack(&packed), bias }
}

impl Operator<3> for Conv {
    const NAME: &'static str = "conv2d";

    fn forward(&self, [x, weight, bias]: [Operand; 3]) -> Result<(Vec<f32>, Shape)> {
        let batch = x.dims().first().copied().unwrap_or_default();
        let sizes = Sizes::new(x.dims(), weight.dims())?;
        let mut out = vec![0f32; batch * sizes.height * sizes.width * sizes.outputs];
        forward(sizes, x.elements()?, weight.elements()?, bias.elements()?, self.relu, &mut out);
        Ok((out, (batch, sizes.height, sizes.width, sizes.outputs).into()))
    }

    fn backward(
        &self,
        [x, weight, bias]: [&Tensor; 3],
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let sizes = Sizes::new(x.dims(), weight.dims())?;
        // The first layer's input is data: its gradient is not needed.
        let need_x = x.track_op();
        let grads = with_elements([x, weight, y, grad], |[x, weight, y, grad]| {
            backward(sizes, x, weight, self.relu.then_some(y), grad, need_x)
        })?;
        let grad_x = grads.x.map(|data| tensor_like(data, x)).transpose()?;
        Ok([grad_x, Some(tensor_like(grads.weight, weight)?), Some(tensor_like(grads.bias, bias)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{finite_differences, random_var};
    use super::*;

    fn plain(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let kernel = weight.dim(2)?;
        let y = x.permute((0, 3, 1, 2))?.contiguous()?.conv2d(weight, kernel / 2, 1, 1, 1)?;
        y.permute((0, 2, 3, 1))?.contiguous()?.broadcast_add(bias)
    }

    fn vars(shape: [usize; 4], outputs: usize, kernel: usize) -> [candle_core::Var; 3] {
        let weight = [outputs, shape[3], kernel, kernel];
        [random_var(&shape, 1), random_var(&weight, 2), random_var(&[outputs], 3)]
    }

    #[test]
    fn values_match_candle() {
        for (shape, outputs, kernel) in
            [([2, 5, 7, 3], 18, 3), ([1, 4, 4, 16], 3, 5), ([2, 1, 1, 2], 1, 5), ([1, 3, 9, 4], 33, 1)]
        {
            let [x, w, b] = vars(shape, outputs, kernel);
            let gap = (conv2d(&x, &w, &b).unwrap() - plain(&x, &w, &b).unwrap()).unwrap();
            let worst = gap.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(worst < 2e-5, "{shape:?} → {outputs}, kernel {kernel}: {worst}");
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        for (shape, outputs, kernel) in [([2, 3, 5, 3], 2, 3), ([1, 4, 3, 2], 17, 5)] {
            finite_differences(&vars(shape, outputs, kernel), |a| conv2d(&a[0], &a[1], &a[2]), 4e-3);
        }
    }

    #[test]
    fn the_relu_passes_what_is_above_zero_and_its_gradient() {
        let [x, w, b] = vars([1, 4, 6, 3], 5, 3);
        let fused = conv2d_relu(&x, &w, &b).unwrap();
        let spelled = conv2d(&x, &w, &b).unwrap().relu().unwrap();
        assert_eq!(
            fused.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            spelled.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        );
        let (a, b) = (fused.sqr().unwrap().backward().unwrap(), spelled.sqr().unwrap().backward().unwrap());
        let gap = (a.get(&w).unwrap() - b.get(&w).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
        assert!(gap.to_scalar::<f32>().unwrap() < 1e-5);
    }

    #[test]
    fn a_misshapen_kernel_is_refused() {
        let (x, b) = (random_var(&[1, 4, 4, 3], 1), random_var(&[2], 2));
        assert!(conv2d(&x, &random_var(&[2, 4, 3, 3], 3), &b)
            .unwrap_err()
            .to_string()
            .contains("does not fit"));
        assert!(conv2d(&x, &random_var(&[2, 3, 2, 2], 3), &b).unwrap_err().to_string().contains("odd"));
    }
}
