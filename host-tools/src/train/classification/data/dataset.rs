//! What is trained on, and what is held out.

use super::image_set::ImageSet;
use crate::train::digest::hexadecimal;
use crate::train::random::{epoch_order, PART_ORDER};
use sha2::{Digest, Sha256};
use vitreous::format::{Crop, Filter, Preprocess};

/// What a folder was found to hold. It decides the defaults of the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// Built-in digits.
    Digits,
    /// CIFAR-10 binaries.
    Cifar10,
    /// IDX files (MNIST and its relatives).
    Idx,
    /// A folder per class.
    ClassFolders,
}

/// A training set, a held-out set and the classes' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// What it is, for messages and reports.
    pub name: String,
    /// Its form.
    pub kind: DataKind,
    /// Class names.
    pub labels: Vec<String>,
    /// Images to train on.
    pub train: ImageSet,
    /// Images held out.
    pub test: ImageSet,
}

impl Dataset {
    /// A part of every class of the training images, at least one each, chosen by `seed`; all held-out
    /// images.
    pub fn part(&self, fraction: f64, seed: u64) -> Dataset {
        let mut chosen = Vec::new();
        for class in 0..self.labels.len() {
            let of: Vec<usize> =
                (0..self.train.len()).filter(|&i| usize::from(self.train.labels[i]) == class).collect();
            let keep = ((of.len() as f64 * fraction).round() as usize).clamp(of.len().min(1), of.len());
            let order = epoch_order(of.len(), seed, PART_ORDER + class as u64);
            chosen.extend(order[..keep].iter().map(|&i| of[i]));
        }
        chosen.sort_unstable();
        Dataset { train: self.train.subset(&chosen), ..self.clone() }
    }

    /// SHA-256 over sizes, pixels and labels of both parts, as hexadecimal digits.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.train, &self.test] {
            for size in [part.len(), part.height, part.width, part.channels] {
                hash.update((size as u64).to_le_bytes());
            }
            hash.update(&part.pixels);
            part.labels.iter().for_each(|label| hash.update(label.to_le_bytes()));
        }
        hexadecimal(hash)
    }

    /// How a photograph becomes this data's kind of image, with the training set's mean and deviation.
    pub fn preprocess(&self) -> Preprocess {
        let (mean, std) = self.train.statistics();
        Preprocess { mean, std, ..geometry(self.kind, self.train.height) }
    }
}

/// Resize and crop: images of class folders keep their aspect ratio, those of sets of one size are only
/// scaled.
pub fn geometry(kind: DataKind, side: usize) -> Preprocess {
    let crop = if kind == DataKind::ClassFolders { Crop::Center } else { Crop::Squash };
    Preprocess { filter: Filter::Bilinear, crop, resize: side, mean: [0.0; 4], std: [1.0; 4] }
}
