//! The engine on the host: a model file, runs over images.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use vitreous::format::Preprocess;
use vitreous::models::vit::{Vit, VitConfig};
use vitreous::{Model, Progress, SliceSource, Stage};

use crate::vtr::AlignedBytes;

/// A `.vtr` file in memory, checked.
#[derive(Clone, Debug)]
pub struct Engine {
    bytes: AlignedBytes,
    path: PathBuf,
    config: VitConfig,
    preprocess: Preprocess,
    labels: Vec<String>,
    arena_bytes: usize,
}

/// What one run gives.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineOutput {
    /// `(classes)`; empty without head.
    pub logits: Vec<f32>,
    /// `(dim)`.
    pub features: Vec<f32>,
    /// Residual stream after the embedding and after each block, `(tokens, dim)` each; empty unless asked for.
    pub hidden: Vec<Vec<f32>>,
}

impl EngineOutput {
    /// The model's output: logits, or features of a model without head.
    pub fn output(&self) -> &[f32] {
        if self.logits.is_empty() {
            &self.features
        } else {
            &self.logits
        }
    }
}

impl Engine {
    /// Reads and checks a model file.
    ///
    /// # Errors
    /// The file can't be read, or the engine refuses it; both name the file.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes =
            AlignedBytes::read(path).with_context(|| format!("cannot read the model {}", path.display()))?;
        Self::from_bytes(bytes, path).with_context(|| format!("cannot use the model {}", path.display()))
    }

    /// Checks a model in memory; `path` serves messages alone.
    ///
    /// # Errors
    /// The engine's reason to refuse it.
    pub fn from_bytes(bytes: AlignedBytes, path: &Path) -> Result<Self> {
        let model = Model::parse(bytes.as_slice())?;
        let vit = Vit::new(&model)?;
        let labels = model.labels()?.iter().map(str::to_owned).collect();
        let (config, preprocess, arena_bytes) =
            (*vit.config(), model.preprocess()?, vit.plan().arena_bytes());
        Ok(Self { bytes, path: path.to_owned(), config, preprocess, labels, arena_bytes })
    }

    /// Calls `f` with the checked model.
    pub fn with_vit<T>(&self, f: impl FnOnce(&Vit) -> T) -> Result<T> {
        let model = Model::parse_without_checksums(self.bytes.as_slice())?;
        Ok(f(&Vit::new(&model)?))
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hyperparameters.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// How photographs are prepared.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Names of the classes.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Name of a class, or its number.
    pub fn label(&self, class: usize) -> String {
        self.labels.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// Bytes of arena that a run needs.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Runs one image, `(height, width, channels)`; `hidden` keeps the residual stream between the blocks.
    ///
    /// # Errors
    /// An image of the wrong size.
    pub fn run(&self, pixels: &[u8], hidden: bool) -> Result<EngineOutput> {
        let model = Model::parse_without_checksums(self.bytes.as_slice())?;
        let vit = Vit::new(&model)?;
        self.run_with(&vit, &mut AlignedBytes::zeroed(self.arena_bytes), pixels, hidden)
    }

    /// Runs many images on all cores; results in the images' order. `done` is called after each.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_all<P: AsRef<[u8]> + Sync>(
        &self,
        images: &[P],
        hidden: bool,
        done: impl Fn() + Sync,
    ) -> Result<Vec<EngineOutput>> {
        let model = Model::parse_without_checksums(self.bytes.as_slice())?;
        let vit = Vit::new(&model)?;
        let arena = || AlignedBytes::zeroed(self.arena_bytes);
        images
            .par_iter()
            .map_init(arena, |arena, pixels| {
                let output = self.run_with(&vit, arena, pixels.as_ref(), hidden);
                done();
                output
            })
            .collect()
    }

    fn run_with(
        &self,
        vit: &Vit,
        arena: &mut AlignedBytes,
        pixels: &[u8],
        hidden: bool,
    ) -> Result<EngineOutput> {
        let c = &self.config;
        let expected = c.image_height * c.image_width * c.channels;
        anyhow::ensure!(
            pixels.len() == expected,
            "an image of {} bytes where the model takes {expected}",
            pixels.len()
        );
        let mut source = SliceSource::new(pixels, c.image_width * c.channels);
        let mut run = vit.begin(arena.as_mut_slice())?;
        let mut kept = Vec::new();
        while run.step(&mut source)? != Progress::Done {
            let next = run.next_stage();
            // The stream is whole before a block's first tile and before the head.
            let boundary = match next {
                Some(Stage::Norm { layer }) => kept.len() == usize::from(layer),
                Some(Stage::Head) => kept.len() == c.depth,
                _ => false,
            };
            if hidden && boundary {
                kept.push(run.tokens()?.iter().map(|x| x.to_f32()).collect());
            }
        }
        Ok(EngineOutput { logits: run.logits()?.to_vec(), features: run.features()?.to_vec(), hidden: kept })
    }
}
