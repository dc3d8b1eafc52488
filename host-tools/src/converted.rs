//! A `.vtr` file of any architecture.

use std::path::Path;

use anyhow::{ensure, Result};
use vitreous::models::ipt::Task;

use crate::engine::Engine;
use crate::restorer::Restorer;
use crate::vtr::{AlignedBytes, Family};

/// A converted model on the engine. The stages (inspection, bench, generated Rust) choose by a `match` on it
/// what an architecture has of its own.
pub enum ConvertedModel {
    /// A ViT.
    Classifier(Box<Engine>),
    /// An IPT.
    Restorer(Box<Restorer>),
}

impl ConvertedModel {
    /// Reads and checks a model file. What is no `.vtr` file is refused as a classifier's loader does it.
    ///
    /// # Errors
    /// The file can't be read, or the engine refuses it; both name the file.
    pub fn load(path: &Path) -> Result<Self> {
        Ok(match Family::of_file(path)?.unwrap_or(Family::Vit) {
            Family::Vit => Self::Classifier(Box::new(Engine::load(path)?)),
            Family::Ipt => Self::Restorer(Box::new(Restorer::load(path)?)),
        })
    }

    /// Checks a model in memory; `path` serves messages alone.
    ///
    /// # Errors
    /// The engine's reason to refuse it.
    pub fn from_bytes(family: Family, bytes: AlignedBytes, path: &Path) -> Result<Self> {
        Ok(match family {
            Family::Vit => Self::Classifier(Box::new(Engine::from_bytes(bytes, path)?)),
            Family::Ipt => Self::Restorer(Box::new(Restorer::from_bytes(bytes, path)?)),
        })
    }
}

/// Refuses `--task` for a classifier.
///
/// # Errors
/// A task was asked for.
pub fn refuse_task(classifier: &Engine, task: Option<&Task>) -> Result<()> {
    let path = classifier.file().path().display();
    ensure!(task.is_none(), "{path} is a classifier: --task is for restorers");
    Ok(())
}
