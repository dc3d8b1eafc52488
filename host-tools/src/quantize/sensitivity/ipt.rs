//! How near a restorer's pictures are to the float reference's.

use anyhow::{ensure, Context, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Measured, Sensitivity};
use crate::checkpoint::ipt::FloatIpt;
use crate::degrade::{degrade, Picture};
use crate::metrics::psnr;
use crate::quantize::{quantize, IptLayer, Quantize, QuantizeOptions};
use crate::reference::ReferenceIpt;
use crate::restorer::Restorer;
use crate::vtr::AlignedBytes;

/// Seed of the noise.
const SEED: u64 = 0;

/// Degraded windows, and what the float reference makes of them.
pub struct IptSensitivity<'a> {
    float: &'a FloatIpt,
    options: QuantizeOptions<IptLayer>,
    /// Per task: windows with the reference's output, grey levels not rounded.
    samples: Vec<Vec<(Vec<u8>, Vec<f32>)>>,
}

impl<'a> IptSensitivity<'a> {
    /// Degrades clean pictures for each task, cuts the window in the middle of each and runs the reference on
    /// it.
    ///
    /// # Errors
    /// No pictures, or one that is too small to be degraded.
    pub fn new(float: &'a FloatIpt, options: QuantizeOptions<IptLayer>, clean: &[Picture]) -> Result<Self> {
        ensure!(!clean.is_empty(), "no images to measure the layers' sensitivity on");
        let reference = ReferenceIpt::new(float)?;
        let window = float.config.window;
        let sample = |task, (index, clean): (usize, &Picture)| {
            let mut rng = ChaCha8Rng::seed_from_u64(SEED);
            rng.set_stream(index as u64);
            let degraded = degrade(task, clean, &mut rng).with_context(|| format!("image {index}"))?;
            let middle = |length: usize| (length as isize - window as isize) / 2;
            let cut = degraded.crop(middle(degraded.width), middle(degraded.height), window, window);
            let wanted = reference.restore(&cut.data, &task)?;
            Ok((cut.data, wanted))
        };
        let tasks = float.config.tasks.iter();
        let samples =
            tasks.map(|&task| clean.iter().enumerate().map(|picture| sample(task, picture)).collect());
        Ok(Self { float, options, samples: samples.collect::<Result<_>>()? })
    }
}

impl Sensitivity for IptSensitivity<'_> {
    type Layer = IptLayer;

    fn layers(&self) -> Vec<IptLayer> {
        self.float.layers()
    }

    /// PSNR between both outputs over all windows of a task; the least over the tasks.
    fn measure(&self, keep_f16: &[IptLayer]) -> Result<Measured> {
        let options = QuantizeOptions { keep_f16: keep_f16.to_vec(), ..self.options.clone() };
        let bytes = quantize(self.float, &options)?;
        let restorer = Restorer::from_bytes(AlignedBytes::copy_of(&bytes), "candidate".as_ref())?;
        let mut least = f64::INFINITY;
        for (task, samples) in self.samples.iter().enumerate() {
            let errors: Result<Vec<f64>> = samples
                .par_iter()
                .map(|(window, wanted)| {
                    let got = restorer.restore_window(task, window)?;
                    let squares = wanted.iter().zip(&got).map(|(w, g)| f64::from(w - g).powi(2));
                    Ok(squares.sum::<f64>() / wanted.len() as f64)
                })
                .collect();
            let errors = errors?;
            least = least.min(psnr(errors.iter().sum::<f64>() / errors.len() as f64));
        }
        Ok(Measured { db: least, bytes: bytes.len() })
    }
}
