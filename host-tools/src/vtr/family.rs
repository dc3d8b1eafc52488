//! The architectures of models.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use vitreous::format::{ARCHITECTURE_IPT, ARCHITECTURE_VIT, HEADER_BYTES, MAGIC};
use vitreous::Model;

/// An architecture. Whatever differs between them is chosen by a `match` on this, so that the compiler names
/// every place that a further one needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A Vision Transformer: a classifier.
    Vit,
    /// An Image Processing Transformer: a restorer.
    Ipt,
}

impl Family {
    /// Its number in a header.
    pub fn number(self) -> u32 {
        match self {
            Self::Vit => ARCHITECTURE_VIT,
            Self::Ipt => ARCHITECTURE_IPT,
        }
    }

    fn of_number(number: u32) -> Option<Self> {
        [Self::Vit, Self::Ipt].into_iter().find(|family| family.number() == number)
    }

    /// That of a model; of one with an unknown number a ViT, whose loader names the number.
    pub fn of(model: &Model) -> Self {
        Self::of_number(model.architecture()).unwrap_or(Self::Vit)
    }

    /// That of a `.vtr` file by its header, before it is loaded; `None` for any other file. Whatever else is
    /// wrong with the file, its loader says.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn of_file(path: &Path) -> Result<Option<Self>> {
        let cannot = || format!("cannot read the model {}", path.display());
        let mut header = Vec::new();
        let file = File::open(path).with_context(cannot)?;
        file.take(HEADER_BYTES as u64).read_to_end(&mut header).with_context(cannot)?;
        let number = header.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        Ok(number.filter(|_| header.starts_with(&MAGIC)).and_then(Self::of_number))
    }
}
