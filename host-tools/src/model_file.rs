//! A `.vtr` file in memory, with its weights in the order that the kernels of this process read.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use vitreous::kernels::Kernels;
use vitreous::Model;

use crate::checkpoint::Settings;
use crate::kernels;
use crate::vtr::{repack, AlignedBytes, ModelBytes};

/// A `.vtr` file that the engine has checked.
#[derive(Clone, Debug)]
pub struct ModelFile {
    bytes: ModelBytes,
    /// The model with its weights as the kernels want them, where the file has them in another order.
    packed: Option<AlignedBytes>,
    kernels: &'static Kernels,
    path: PathBuf,
}

impl ModelFile {
    /// Reads a file, which `check` makes a model of.
    ///
    /// # Errors
    /// The file can't be read, or `check` refuses it; both name the file.
    pub(crate) fn load<M>(path: &Path, check: impl FnOnce(ModelBytes) -> Result<M>) -> Result<M> {
        let bytes =
            ModelBytes::open(path).with_context(|| format!("cannot read the model {}", path.display()))?;
        check(bytes).with_context(|| format!("cannot use the model {}", path.display()))
    }

    /// Takes over a checked model, for the kernels that were chosen; `path` serves messages alone.
    ///
    /// # Errors
    /// Kernels chosen that there are not; a model that does not fit a `.vtr` in their layout.
    pub(crate) fn new(bytes: ModelBytes, path: &Path) -> Result<Self> {
        let kernels = kernels::chosen()?;
        Self { bytes, packed: None, kernels, path: path.to_owned() }.with_kernels(kernels)
    }

    /// The same model on other kernels. Weights that they can't read in the file's order are put into theirs,
    /// in memory.
    ///
    /// # Errors
    /// A model that does not fit a `.vtr` in their layout.
    pub(crate) fn with_kernels(mut self, kernels: &'static Kernels) -> Result<Self> {
        let readable = kernels.spec.reads(self.model()?.layout());
        self.packed = if readable { None } else { Some(repack(self.bytes(), kernels.spec.layout)?) };
        self.kernels = kernels;
        Ok(self)
    }

    /// The kernels that runs use.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The bytes with the weights as runs read them.
    pub(crate) fn run_bytes(&self) -> &[u8] {
        self.packed.as_ref().map_or_else(|| self.bytes(), AlignedBytes::as_slice)
    }

    /// The file's model.
    ///
    /// # Errors
    /// None for a file that was checked.
    pub(crate) fn model(&self) -> Result<Model<'_>> {
        Ok(Model::parse_without_checksums(self.bytes())?)
    }

    /// The model as runs read it.
    ///
    /// # Errors
    /// None for a file that was checked.
    pub(crate) fn run_model(&self) -> Result<Model<'_>> {
        Ok(Model::parse_without_checksums(self.run_bytes())?)
    }

    /// Where the values come from that the weights do not say, as the file has it.
    ///
    /// # Errors
    /// Text that is not UTF-8.
    pub fn settings(&self) -> Result<Settings> {
        Ok(Settings::from_text(self.model()?.settings()?))
    }

    /// SHA-256 of the file that the weights were made from; zeros if the model does not say it.
    ///
    /// # Errors
    /// None for a file that was checked.
    pub fn source_sha256(&self) -> Result<[u8; 32]> {
        Ok(self.model()?.source_sha256())
    }
}
