//! Restoration on the host: a `.vtr` of an IPT, or its float weights, run over whole images.

mod blend;
mod file;
mod float;
mod model;
mod transparent;
mod window;

pub use blend::{restore_by_windows, Windows};
pub use file::{RestoredFile, RestorerInput};
pub use float::FloatRestorer;
pub use model::{RestoreModel, MAX_OUTPUT_PIXELS};
pub use window::WindowSession;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{anyhow, bail, Context, Result};
use rayon::prelude::*;
use vitreous::kernels::{Kernels, TableSpec};
use vitreous::models::ipt::{Ipt, IptConfig, Task, COLOURS, DEFAULT_TILE_ROWS};
use vitreous::pipeline::{default_overlap, Band, BandPlan, BandShape};
use vitreous::{Model, PixelSink, SliceSource, SourceError};

use crate::degrade::Picture;
use crate::model_file::ModelFile;
use crate::saturation::Saturation;
use crate::vtr::{AlignedBytes, ModelBytes};

/// Rows per tile on a host: a row of a window's pixels at once.
const HOST_TILE_ROWS: usize = 32;

/// A `.vtr` file of an IPT in memory, checked.
#[derive(Clone, Debug)]
pub struct Restorer {
    file: ModelFile,
    config: IptConfig,
    /// The worst window since [`Restorer::take_saturation`].
    saturation: Arc<Mutex<Saturation>>,
}

/// The task asked for, or the only one of a model.
///
/// # Errors
/// None was asked for, and the model has several.
pub fn chosen_task(asked: Option<Task>, tasks: &[Task]) -> Result<Task> {
    match (asked, tasks) {
        (Some(task), _) | (None, &[task]) => Ok(task),
        (None, tasks) => {
            let names: Vec<String> = tasks.iter().map(Task::to_string).collect();
            bail!("the model has several tasks; pass --task with one of {}", names.join(", "))
        }
    }
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
        ModelFile::load(path, |bytes| Self::from_bytes(bytes, path))
    }

    /// Checks a model in memory; `path` serves messages alone.
    ///
    /// # Errors
    /// The engine's reason to refuse it; kernels chosen that there are not.
    pub fn from_bytes(bytes: impl Into<ModelBytes>, path: &Path) -> Result<Self> {
        let bytes = bytes.into();
        let model = Model::parse(bytes.as_slice())?;
        let config = Ipt::new(&model)?.config().clone();
        Ok(Self { file: ModelFile::new(bytes, path)?, config, saturation: Arc::default() })
    }

    /// The same model on a kernel table; its weights are repacked if the table can't read them as they are.
    ///
    /// # Errors
    /// A model that does not fit a `.vtr` in the table's layout.
    pub fn with_kernels(mut self, kernels: &'static Kernels) -> Result<Self> {
        self.file = self.file.with_kernels(kernels)?;
        Ok(self)
    }

    /// The model's file.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// Calls `f` with the checked model.
    ///
    /// # Errors
    /// None for a file that [`Restorer::load`] has accepted.
    pub fn with_ipt<T>(&self, f: impl FnOnce(&Ipt) -> T) -> Result<T> {
        Ok(f(&Ipt::new(&self.file.model()?)?))
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
            format!("{} has no task {task}; it has {}", self.file.path().display(), tasks.join(", "))
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
        let ipt = Ipt::new(&self.file.run_model()?)?;
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
