//! Either kind of model that restores images.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{bail, Context, Result};
use rayon::prelude::*;
use vitreous::format::MAGIC;
use vitreous::models::ipt::{IptConfig, Task};
use vitreous::pipeline::{default_overlap, WindowGrid};

use super::{FloatRestorer, Restorer};
use crate::checkpoint::ipt::{FloatIpt, IptLoadOptions};
use crate::checkpoint::Settings;
use crate::degrade::Picture;
use crate::saturation::Saturation;

/// Largest restored image in pixels: 64 Mi, some 800 MB of memory in float.
pub const MAX_OUTPUT_PIXELS: usize = 1 << 26;

/// A model that restores images: a `.vtr` on the engine, or float weights on the reference.
pub enum RestoreModel {
    /// A `.vtr` file.
    Engine(Box<Restorer>),
    /// Float weights.
    Float(Box<FloatRestorer>),
}

impl RestoreModel {
    /// Loads a `.vtr` file, or float weights from a file or folder; warnings of the import go to `warn`.
    ///
    /// # Errors
    /// What is wrong with the file, and the way out.
    pub fn load(path: &Path, options: &IptLoadOptions, warn: impl Fn(&str)) -> Result<Self> {
        let mut start = Vec::new();
        if path.is_file() {
            let file =
                std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            file.take(MAGIC.len() as u64).read_to_end(&mut start)?;
        }
        if start == MAGIC {
            return Ok(Self::Engine(Box::new(Restorer::load(path)?)));
        }
        let float = FloatIpt::load(path, options)?;
        float.settings.warnings().chain(float.warnings.iter().cloned()).for_each(|warning| warn(&warning));
        Ok(Self::Float(Box::new(FloatRestorer::new(&float)?)))
    }

    /// Hyperparameters.
    pub fn config(&self) -> &IptConfig {
        match self {
            Self::Engine(restorer) => restorer.config(),
            Self::Float(restorer) => restorer.config(),
        }
    }

    /// The model's name.
    ///
    /// # Errors
    /// None for a model that [`RestoreModel::load`] has accepted.
    pub fn name(&self) -> Result<String> {
        match self {
            Self::Engine(restorer) => restorer.with_ipt(|ipt| ipt.model().name().to_owned()),
            Self::Float(restorer) => Ok(restorer.name().to_owned()),
        }
    }

    /// Where the values come from that the weights do not say.
    ///
    /// # Errors
    /// None for a model that [`RestoreModel::load`] has accepted.
    pub fn settings(&self) -> Result<Settings> {
        match self {
            Self::Engine(restorer) => restorer.file().settings(),
            Self::Float(restorer) => Ok(restorer.settings().clone()),
        }
    }

    /// SHA-256 of the file that the weights come from; zeros if nothing says it.
    ///
    /// # Errors
    /// None for a model that [`RestoreModel::load`] has accepted.
    pub fn source_sha256(&self) -> Result<[u8; 32]> {
        match self {
            Self::Engine(restorer) => restorer.file().source_sha256(),
            Self::Float(restorer) => Ok(restorer.source_sha256()),
        }
    }

    /// Checks that the model has a task.
    ///
    /// # Errors
    /// It has not; the message lists those that it has.
    pub fn check_task(&self, task: &Task) -> Result<()> {
        let tasks = &self.config().tasks;
        if tasks.contains(task) {
            return Ok(());
        }
        let known: Vec<String> = tasks.iter().map(Task::to_string).collect();
        bail!("{} has no task {task}; it has {}", self.name()?, known.join(", "))
    }

    /// Restores images; `overlap` of windows in pixels, the engine's default if `None`. `progress` is called
    /// with the number of windows done and their number in all images.
    ///
    /// # Errors
    /// The model has no such task; an image would become larger than [`MAX_OUTPUT_PIXELS`]; too much overlap.
    pub fn restore_all(
        &self,
        task: &Task,
        images: &[Picture],
        overlap: Option<usize>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Vec<Picture>> {
        self.check_task(task)?;
        images.iter().try_for_each(|image| check_size(image, task))?;
        let all = images.iter().map(|image| self.windows(image, overlap)).sum();
        let sum = AtomicUsize::new(0);
        // What is reported of one image is its own count.
        let counter = || {
            let mut before = 0;
            let sum = &sum;
            move |done: usize, _: usize| {
                let more = done - before;
                before = done;
                progress(sum.fetch_add(more, Ordering::Relaxed) + more, all);
            }
        };
        match self {
            Self::Engine(restorer) => {
                let index = restorer.task_index(task)?;
                images.par_iter().map(|image| restorer.restore(index, image, overlap, counter())).collect()
            }
            // Its windows are computed in parallel.
            Self::Float(restorer) => {
                images.iter().map(|image| restorer.restore(task, image, overlap, counter())).collect()
            }
        }
    }

    /// Values that f16 could not hold, in the worst of the windows run since the last call; none of float
    /// weights.
    pub fn take_saturation(&self) -> Saturation {
        match self {
            Self::Engine(restorer) => restorer.take_saturation(),
            Self::Float(_) => Saturation::default(),
        }
    }

    fn windows(&self, image: &Picture, overlap: Option<usize>) -> usize {
        let window = self.config().window;
        let overlap = overlap.unwrap_or(default_overlap(window)).min(window / 2);
        [image.width, image.height]
            .map(|side| WindowGrid::new(side, window, overlap).count())
            .iter()
            .product()
    }
}

fn check_size(image: &Picture, task: &Task) -> Result<()> {
    let pixels = image.width * image.height * task.scale * task.scale;
    if pixels <= MAX_OUTPUT_PIXELS {
        return Ok(());
    }
    bail!(
        "an image of {}×{} pixels would become one of {pixels}, the limit is {MAX_OUTPUT_PIXELS}; cut it \
         into parts",
        image.width,
        image.height
    )
}
