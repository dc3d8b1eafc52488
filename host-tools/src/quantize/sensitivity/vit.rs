//! How near a classifier's output is to the float reference's.

use anyhow::{ensure, Result};

use super::{Measured, Sensitivity};
use crate::checkpoint::FloatVit;
use crate::engine::Engine;
use crate::metrics::sqnr_db;
use crate::quantize::{quantize, Quantize, QuantizeOptions, VitLayer};
use crate::reference::ReferenceVit;
use crate::vtr::AlignedBytes;

/// Images, and what the float reference makes of them.
pub struct VitSensitivity<'a> {
    float: &'a FloatVit,
    options: QuantizeOptions<VitLayer>,
    images: &'a [Vec<u8>],
    wanted: Vec<Vec<f32>>,
}

impl<'a> VitSensitivity<'a> {
    /// Runs the reference on images as the model takes them.
    ///
    /// # Errors
    /// No images, or of the wrong size.
    pub fn new(
        float: &'a FloatVit,
        options: QuantizeOptions<VitLayer>,
        images: &'a [Vec<u8>],
    ) -> Result<Self> {
        ensure!(!images.is_empty(), "no images to measure the layers' sensitivity on");
        let reference = ReferenceVit::new(float)?;
        let wanted = images.iter().map(|image| {
            let output = reference.forward(image)?;
            Ok(if output.logits.is_empty() { output.features } else { output.logits })
        });
        Ok(Self { float, options, images, wanted: wanted.collect::<Result<_>>()? })
    }
}

impl Sensitivity for VitSensitivity<'_> {
    type Layer = VitLayer;

    fn layers(&self) -> Vec<VitLayer> {
        self.float.layers()
    }

    /// Mean SQNR of the output.
    fn measure(&self, keep_f16: &[VitLayer]) -> Result<Measured> {
        let options = QuantizeOptions { keep_f16: keep_f16.to_vec(), ..self.options.clone() };
        let bytes = quantize(self.float, &options)?;
        let engine = Engine::from_bytes(AlignedBytes::copy_of(&bytes), "candidate".as_ref())?;
        let outputs = engine.run_all(self.images, false, || {})?;
        let total: f64 =
            self.wanted.iter().zip(&outputs).map(|(want, got)| sqnr_db(want, got.output())).sum();
        Ok(Measured { db: total / self.images.len() as f64, bytes: bytes.len() })
    }
}
