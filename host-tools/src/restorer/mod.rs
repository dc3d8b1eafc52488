//! Restoration on the host: a `.vtr` of an IPT, or its float weights, run over whole images.

mod blend;
mod file;
mod float;
mod hidden;
mod model;
mod window;

pub use blend::{restore_by_windows, Windows};
pub use file::{RestoredFile, RestorerInput};
pub use float::FloatRestorer;
pub use model::{RestoreModel, MAX_OUTPUT_PIXELS};
pub use window::WindowSession;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{anyhow, Context, Result};
use rayon::prelude::*;
use vitreous::kernels::{Kernels, TableSpec, PORTABLE};
use vitreous::models::ipt::{Ipt, IptConfig, Task, COLOURS, DEFAULT_TILE_ROWS};
use vitreous::pipeline::{default_overlap, Band, BandPlan, BandShape};
use vitreous::{Model, PixelSink, SliceSource, SourceError};

use crate::checkpoint::Settings;
use crate::degrade::Picture;
use crate::kernels;
use crate::saturation::Saturation;
use crate::vtr::{repack, AlignedBytes, ModelBytes};

/// Rows per tile on a host: a row of a window's pixels at once.
const HOST_TILE_ROWS: usize = 32;

/// A `.vtr` file of an IPT in memory, checked.
#[derive(Clone, Debug)]
pub struct Restorer {
    bytes: ModelBytes,
    /// The model as the kernels want it, where they can't read the file's own layout.
    packed: Option<AlignedBytes>,
    kernels: &'static Kernels,
    path: PathBuf,
    config: IptConfig,
    /// The worst window since [`Restorer::take_saturation`].
    saturation: Arc<Mutex<Saturation>>,
}

/// Memory that one restoration needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreMemory {
    /// Arena in bytes.
    pub arena: usize,
    /// Row bands beside it.
    pub band: BandPlan,
}

/// Rows of the output as they come.
struct Collected<'a>(&'a mut Vec<u8>);

impl PixelSink for Collected<'_> {
    fn write_rows(&mut self, _first_row: usize, rows: &[u8]) -> Result<(), SourceError> {
        self.0.extend_from_slice(rows);
        Ok(())
    }
}

impl Restorer {
    /// Reads and checks a model file.
    ///
    /// # Errors
    /// The file can't be read, or the engine refuses it; both name the file.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes =
            ModelBytes::open(path).with_context(|| format!("cannot read the model {}", path.display()))?;
        Self::from_bytes(bytes, path).with_context(|| format!("cannot use the model {}", path.display()))
    }

    /// Where the values come from that the weights do not say, as the file has it.
    ///
    /// # Errors
    /// Text that is not UTF-8.
    pub fn settings(&self) -> Result<Settings> {
        Ok(Settings::from_text(Model::parse_without_checksums(self.bytes.as_slice())?.settings()?))
    }

    /// SHA-256 of the file that the weights were made from; zeros if the model does not say it.
    ///
    /// # Errors
    /// None for a model that has been loaded.
    pub fn source_sha256(&self) -> Result<[u8; 32]> {
        Ok(Model::parse_without_checksums(self.bytes.as_slice())?.source_sha256())
    }

    /// Checks a model in memory; `path` serves messages alone.
    ///
    /// # Errors
    /// The engine's reason to refuse it; kernels chosen that there are not.
    pub fn from_bytes(bytes: impl Into<ModelBytes>, path: &Path) -> Result<Self> {
        let bytes = bytes.into();
        let model = Model::parse(bytes.as_slice())?;
        let config = Ipt::new(&model)?.config().clone();
        let (packed, kernels, saturation) = (None, &PORTABLE, Arc::default());
        let restorer = Self { bytes, packed, kernels, path: path.to_owned(), config, saturation };
        restorer.with_kernels(kernels::chosen()?)
    }

    /// The same model on a kernel table; its weights are repacked if the table can't read them as they are.
    ///
    /// # Errors
    /// A model that does not fit a `.vtr` in the table's layout.
    pub fn with_kernels(mut self, kernels: &'static Kernels) -> Result<Self> {
        let model = Model::parse_without_checksums(self.bytes.as_slice())?;
        let readable = kernels.spec.reads(model.layout());
        self.packed = if readable { None } else { Some(repack(self.bytes.as_slice(), kernels.spec.layout)?) };
        self.kernels = kernels;
        Ok(self)
    }

    /// The kernel table in use.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// Calls `f` with the checked model.
    ///
    /// # Errors
    /// None for a file that [`Restorer::load`] has accepted.
    pub fn with_ipt<T>(&self, f: impl FnOnce(&Ipt) -> T) -> Result<T> {
        let model = Model::parse_without_checksums(self.bytes.as_slice())?;
        Ok(f(&Ipt::new(&model)?))
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The weights as runs read them.
    pub(crate) fn run_bytes(&self) -> &[u8] {
        self.packed.as_ref().map_or_else(|| self.bytes.as_slice(), AlignedBytes::as_slice)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hyperparameters.
    pub fn config(&self) -> &IptConfig {
        &self.config
    }

    /// Values of feature maps and residual stream that f16 could not hold, in the worst of the windows run
    /// since the last call.
    pub fn take_saturation(&self) -> Saturation {
        std::mem::take(&mut *self.saturation.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Place of a task in the model.
    ///
    /// # Errors
    /// The model has no such task; the message lists those that it has.
    pub fn task_index(&self, task: &Task) -> Result<usize> {
        self.config.tasks.iter().position(|t| t == task).with_context(|| {
            let tasks: Vec<String> = self.config.tasks.iter().map(Task::to_string).collect();
            format!("{} has no task {task}; it has {}", self.path.display(), tasks.join(", "))
        })
    }

    /// Memory for images of a width on a target, with the default tile height.
    ///
    /// # Errors
    /// The engine's: no such task, a plan beyond the address space.
    pub fn memory(&self, task: usize, width: usize) -> Result<RestoreMemory> {
        let layout = self.with_ipt(|ipt| ipt.model().layout())?;
        self.memory_on(task, width, TableSpec::of_layout(layout))
    }

    /// The same on a kernel table of one's own choice.
    ///
    /// # Errors
    /// As [`Restorer::memory`].
    pub fn memory_on(&self, task: usize, width: usize, kernels: &TableSpec) -> Result<RestoreMemory> {
        self.with_ipt(|ipt| {
            let scale = self.config.tasks.get(task).map_or(1, |task| task.scale);
            let band = BandPlan::new(self.config.window, scale, width)?;
            let plan = ipt.plan_for(task, DEFAULT_TILE_ROWS, kernels, 1)?;
            Ok(RestoreMemory { arena: plan.arena_bytes(), band })
        })?
    }

    /// Restores one image, its windows on all threads of rayon's pool at work; `overlap` is that of the
    /// windows in pixels if not the engine's default. `done` is called with the number of windows done and
    /// their number in all. The result is that of [`vitreous::pipeline::restore`] to the bit.
    ///
    /// # Errors
    /// The engine's: no such task, an image without pixels or too long on a side, too much overlap.
    pub fn restore(
        &self,
        task: usize,
        image: &Picture,
        overlap: Option<usize>,
        mut done: impl FnMut(usize, usize),
    ) -> Result<Picture> {
        let model = Model::parse_without_checksums(self.run_bytes())?;
        let ipt = Ipt::new(&model)?;
        let scale = self.config.tasks.get(task).map_or(1, |task| task.scale);
        let window = self.config.window;
        let overlap = overlap.unwrap_or(default_overlap(window));
        // Refuses a task that there is not before anything is read.
        self.session_of(ipt.clone(), task, None)?;
        let mut memory = AlignedBytes::zeroed(BandPlan::new(window, scale, image.width)?.bytes());
        let shape = BandShape { window, scale, overlap, width: image.width, height: image.height };
        let mut band = Band::begin(shape, memory.as_mut_slice())?;
        let mut pixels = Vec::with_capacity(image.data.len() * scale * scale);
        let mut source = SliceSource::new(&image.data, image.width * COLOURS);
        let (rows, columns) = (band.window_rows(), band.window_columns());
        for row in 0..rows {
            band.read(row, &mut source)?;
            let outputs = (0..columns).into_par_iter().map_init(
                || self.session_of(ipt.clone(), task, None),
                |session, column| {
                    let session = session.as_mut().map_err(|error| anyhow!("{error:#}"))?;
                    session.run_filled(|pixels| band.window(row, column, pixels))
                },
            );
            for (column, output) in outputs.collect::<Result<Vec<_>>>()?.iter().enumerate() {
                for (y, values) in output.chunks(window * scale * COLOURS).enumerate() {
                    band.add((row, column), y, values)?;
                }
            }
            band.write(row, &mut Collected(&mut pixels))?;
            done((row + 1) * columns, rows * columns);
        }
        Ok(Picture { width: image.width * scale, height: image.height * scale, data: pixels })
    }
}
