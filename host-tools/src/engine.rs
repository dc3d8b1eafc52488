//! The engine on the host: a model file, runs over images.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rayon::prelude::*;
use vitreous::format::Preprocess;
use vitreous::kernels::{Kernels, TableSpec};
use vitreous::models::vit::{Run as VitRun, Vit, VitConfig, MAX_TILE_ROWS};
use vitreous::{Model, Progress, SliceSource, Stage};

use crate::model_file::ModelFile;
use crate::pool::Pool;
use crate::saturation::Saturation;
use crate::vtr::ModelBytes;
use crate::workspace::{install, time_steps, Workspace};

/// Rows of a block of the fastest table's matrix product.
const BLOCK_ROWS: usize = 6;

/// Rows per tile on a host: all if there are no more than a tile can have, else tiles of the same height.
/// Whole blocks, but for one row, whose place the sums of the weights take.
fn host_tile_rows(config: &VitConfig) -> usize {
    let tiles = config.tokens().div_ceil(MAX_TILE_ROWS).max(1);
    let rows = config.tokens().div_ceil(tiles);
    ((rows + 1).next_multiple_of(BLOCK_ROWS) - 1).clamp(1, MAX_TILE_ROWS)
}

/// A `.vtr` file, checked.
#[derive(Clone, Debug)]
pub struct Engine {
    file: ModelFile,
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
    /// Residual stream after the embedding and after each block, `(tokens, dim)` each; empty unless asked
    /// for.
    pub hidden: Vec<Vec<f32>>,
    /// Values of the residual stream that f16 could not hold.
    pub saturation: Saturation,
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
        ModelFile::load(path, |bytes| Self::from_bytes(bytes, path))
    }

    /// Checks a model in memory; `path` serves messages alone.
    ///
    /// # Errors
    /// The engine's reason to refuse it; kernels chosen that there are not.
    pub fn from_bytes(bytes: impl Into<ModelBytes>, path: &Path) -> Result<Self> {
        let bytes = bytes.into();
        let model = Model::parse(bytes.as_slice())?;
        let vit = Vit::new(&model)?;
        let labels = model.labels()?.iter().map(str::to_owned).collect();
        let (config, preprocess, arena_bytes) =
            (*vit.config(), model.preprocess()?, vit.plan().arena_bytes());
        let file = ModelFile::new(bytes, path)?;
        Ok(Self { file, config, preprocess, labels, arena_bytes })
    }

    /// The same model on other kernels. Weights that they can't read in the file's order are put into theirs,
    /// in memory.
    ///
    /// # Errors
    /// None for a model that was loaded.
    pub fn with_kernels(mut self, kernels: &'static Kernels) -> Result<Self> {
        self.file = self.file.with_kernels(kernels)?;
        Ok(self)
    }

    /// The model's file.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// Prepares runs one after the other on this thread: the model's tables read once, one arena.
    ///
    /// # Errors
    /// A plan beyond the address space.
    pub fn session(&self) -> Result<Session<'_>> {
        self.session_on(None)
    }

    /// The same on the threads of a pool.
    ///
    /// # Errors
    /// As [`Engine::session`].
    pub fn session_on<'e>(&'e self, pool: Option<&'e Pool>) -> Result<Session<'e>> {
        let vit = Vit::new(&self.file.run_model()?)?;
        let tile_rows = host_tile_rows(&self.config);
        let plan = |kernels: &TableSpec, workers| vit.plan_for(tile_rows, kernels, workers);
        let workspace = Workspace::new(self.file.kernels(), tile_rows, pool, plan)?;
        Ok(Session { engine: self, vit, workspace })
    }

    /// Calls `f` with the checked model.
    pub fn with_vit<T>(&self, f: impl FnOnce(&Vit) -> T) -> Result<T> {
        Ok(f(&Vit::new(&self.file.model()?)?))
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
        self.session()?.run(pixels, hidden)
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
        images
            .par_iter()
            .map_init(
                || self.session(),
                |session, pixels| {
                    let session = session.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                    let output = session.run(pixels.as_ref(), hidden);
                    done();
                    output
                },
            )
            .collect()
    }
}

/// A model ready to run images, one after the other.
#[derive(Debug)]
pub struct Session<'e> {
    engine: &'e Engine,
    vit: Vit<'e>,
    workspace: Workspace<'e>,
}

impl<'e> Session<'e> {
    /// Runs one image, `(height, width, channels)`; `hidden` keeps the residual stream between the blocks.
    ///
    /// # Errors
    /// An image of the wrong size.
    pub fn run(&mut self, pixels: &[u8], hidden: bool) -> Result<EngineOutput> {
        let c = &self.engine.config;
        let expected = c.image_height * c.image_width * c.channels;
        anyhow::ensure!(
            pixels.len() == expected,
            "an image of {} bytes where the model takes {expected}",
            pixels.len()
        );
        install(self.workspace.pool(), || self.run_here(pixels, hidden))
    }

    /// Runs one image and returns how long each step took.
    ///
    /// # Errors
    /// An image of the wrong size.
    pub fn profile(&mut self, pixels: &[u8]) -> Result<Vec<(Stage, Duration)>> {
        install(self.workspace.pool(), || {
            let (mut run, mut source) = self.begin(pixels)?;
            Ok(time_steps(&mut run, VitRun::next_stage, |run| run.step(&mut source).map(drop))?)
        })
    }

    fn begin<'s>(&'s mut self, pixels: &'s [u8]) -> Result<(VitRun<'s, 'e>, SliceSource<'s>)> {
        let c = &self.engine.config;
        let source = SliceSource::new(pixels, c.image_width * c.channels);
        let (arena, options) = self.workspace.for_run();
        Ok((self.vit.begin_with(arena, options)?, source))
    }

    /// Arena, kernels and threads of its runs.
    pub fn workspace(&self) -> &Workspace<'e> {
        &self.workspace
    }

    fn run_here(&mut self, pixels: &[u8], hidden: bool) -> Result<EngineOutput> {
        let depth = self.engine.config.depth;
        let (mut run, mut source) = self.begin(pixels)?;
        let mut kept = Vec::new();
        let mut saturation = Saturation::default();
        while let Progress::Running(stage) = run.step(&mut source)? {
            let next = run.next_stage();
            saturation.watch(stage, next, || run.tokens())?;
            // The stream is whole before a block's first tile and before the head.
            let boundary = match next {
                Some(Stage::Norm { layer }) => kept.len() == usize::from(layer),
                Some(Stage::Head) => kept.len() == depth,
                _ => false,
            };
            if hidden && boundary {
                kept.push(run.tokens()?.iter().map(|x| x.to_f32()).collect());
            }
        }
        let (logits, features) = (run.logits()?.to_vec(), run.features()?.to_vec());
        Ok(EngineOutput { logits, features, hidden: kept, saturation })
    }
}
