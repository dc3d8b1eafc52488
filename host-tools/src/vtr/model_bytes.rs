//! The bytes of a model: a file that is mapped, so that weights are read in place, or memory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use mmap_io::MemoryMappedFile;

use super::AlignedBytes;

/// A model's bytes, at an address that the engine takes.
#[derive(Clone, Debug)]
pub enum ModelBytes {
    /// A file. Its pages come into memory when they are read first, and go again where the system needs their
    /// place. Whoever replaces it should rename the new file over it, as `vitreous convert` does: one that is
    /// cut short while it is read ends the process.
    Mapped(MemoryMappedFile),
    /// Memory.
    Held(AlignedBytes),
}

impl ModelBytes {
    /// The contents of a file: mapped, but for what is no ordinary file (a pipe), which is read.
    ///
    /// # Errors
    /// Those of opening, mapping or reading it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        if metadata.is_file() && metadata.len() > 0 {
            return MemoryMappedFile::open_ro(path).map(Self::Mapped).map_err(io::Error::other);
        }
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        Ok(Self::Held(AlignedBytes::copy_of(&bytes)))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            // All of a read-only mapping can be had.
            Self::Mapped(file) => file.as_slice_bytes(0, file.len()).unwrap_or(&[]),
            Self::Held(bytes) => bytes.as_slice(),
        }
    }
}

impl From<AlignedBytes> for ModelBytes {
    fn from(bytes: AlignedBytes) -> Self {
        Self::Held(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_mapped_at_aligned_addresses_and_survive_a_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        fs::write(&path, [7; 100]).unwrap();
        let bytes = ModelBytes::open(&path).unwrap();
        assert!(matches!(bytes, ModelBytes::Mapped(_)));
        assert_eq!(bytes.as_slice().as_ptr() as usize % 64, 0);
        let other = folder.path().join("other");
        fs::write(&other, [8; 10]).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(bytes.as_slice(), [7; 100]);
    }

    #[test]
    fn empty_files_are_empty_and_folders_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        fs::write(&path, []).unwrap();
        assert!(ModelBytes::open(&path).unwrap().as_slice().is_empty());
        assert!(ModelBytes::open(folder.path()).is_err());
        assert!(ModelBytes::open(&folder.path().join("none")).is_err());
    }
}
