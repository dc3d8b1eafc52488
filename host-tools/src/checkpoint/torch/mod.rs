//! PyTorch files: dicts of tensors as `torch.save` writes them, in its zip format and in the older sequential one.
//!
//! The tensors' descriptions are pickled; see [`pickle`]. The data are read storage by storage, so that memory holds the model
//! once and one storage more.
mod pickle;
mod tensors;

use super::archive::{Archive, Elements};
use super::{CheckpointError, FloatTensor};
use pickle::{Pickle, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use tensors::{Storage, Views};

/// `torch.serialization.MAGIC_NUMBER`, with which the sequential format begins.
const MAGIC: [u8; 10] = 0x1950_A86A_20F9_469C_FC6C_u128.to_le_bytes().first_chunk::<10>().copied().unwrap();
/// `torch.serialization.PROTOCOL_VERSION`.
const PROTOCOL_VERSION: i64 = 1001;
/// Largest description of a model's tensors, in bytes.
const MAX_PICKLE: u64 = 1 << 27;

/// Whether a file that begins so is one of PyTorch's.
pub(super) fn is_torch(start: &[u8]) -> bool {
    let sequential = [&[0x8a, 10][..], &MAGIC[..4]].concat();
    start.starts_with(b"PK\x03\x04")
        || (start.first() == Some(&0x80) && start.get(2..).is_some_and(|rest| rest.starts_with(&sequential)))
}

/// Reads every tensor of a file.
pub(super) fn read(path: &Path) -> Result<Archive, CheckpointError> {
    let io = |e| CheckpointError::io(path, e);
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(io)?;
    let length = file.seek(SeekFrom::End(0)).map_err(io)?;
    file.rewind().map_err(io)?;
    let is_zip = file.fill_buf().map_err(io)?.starts_with(b"PK");
    let mut reader = Reader { path, length, tensors: BTreeMap::new() };
    if is_zip {
        reader.read_zip(file)?;
    } else {
        reader.read_sequential(file)?;
    }
    Ok(Archive { path: path.to_path_buf(), sha256: hash.finalize().into(), tensors: reader.tensors })
}

struct Reader<'a> {
    path: &'a Path,
    /// Of the file, in bytes.
    length: u64,
    tensors: BTreeMap<String, FloatTensor>,
}

impl Reader<'_> {
    fn error(&self, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::NotTorch { path: self.path.to_path_buf(), reason: reason.into() }
    }

    /// `NAME/data.pkl` describes the tensors, `NAME/data/KEY` holds a storage each, and `NAME/byteorder` may say the order.
    fn read_zip(&mut self, file: BufReader<File>) -> Result<(), CheckpointError> {
        let path = self.path;
        let damaged = |e: zip::result::ZipError| CheckpointError::NotTorch {
            path: path.to_path_buf(),
            reason: e.to_string(),
        };
        let mut zip = zip::ZipArchive::new(file).map_err(damaged)?;
        let names = zip.file_names().map(|name| name.map(|n| n.into_owned()));
        let names = names.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        let prefix = names.iter().find_map(|name| name.strip_suffix("data.pkl")).map(str::to_string);
        let prefix = prefix.ok_or_else(|| self.error("the zip file holds no data.pkl"))?;
        if names.contains(&format!("{prefix}byteorder")) {
            let mut order = String::new();
            let entry = zip.by_name(&format!("{prefix}byteorder")).map_err(damaged)?;
            entry.take(16).read_to_string(&mut order).map_err(|e| CheckpointError::io(path, e))?;
            if order != "little" {
                return Err(self.error(format!("its byte order is {order:?}, expected \"little\"")));
            }
        }
        let pickle = {
            let entry = zip.by_name(&format!("{prefix}data.pkl")).map_err(damaged)?;
            Pickle::read(&mut BufReader::new(entry.take(MAX_PICKLE))).map_err(|e| self.error(e))?
        };
        let views = Views::new(self.path, self.length, &pickle)?;
        for storage in views.storages() {
            let entry = zip.by_name(&format!("{prefix}data/{}", storage.key)).map_err(damaged)?;
            let bytes = self.read_storage(entry, storage)?;
            self.take_views(&views, storage, &bytes)?;
        }
        Ok(())
    }

    /// Pickles one after the other: magic number, version, machine, tensors, keys of the storages; then for each key the number of
    /// elements and the elements (`torch.serialization._legacy_save`).
    fn read_sequential(&mut self, mut file: BufReader<File>) -> Result<(), CheckpointError> {
        let path = self.path;
        let mut next = || {
            Pickle::read(&mut file.by_ref().take(MAX_PICKLE))
                .map_err(|reason| CheckpointError::NotTorch { path: path.to_path_buf(), reason })
        };
        let (magic, version, _machine) = (next()?, next()?, next()?);
        if *magic.get(magic.root) != Value::Long(MAGIC.to_vec())
            || *version.get(version.root) != Value::Int(PROTOCOL_VERSION)
        {
            return Err(self.error("an unknown version of the format before PyTorch 1.6"));
        }
        let (pickle, keys) = (next()?, next()?);
        let views = Views::new(self.path, self.length, &pickle)?;
        let keys = keys.sequence(keys.root).map(|ids| ids.iter().map(|id| keys.text(*id)).collect());
        let keys: Option<Vec<Option<&str>>> = keys;
        for key in keys.ok_or_else(|| self.error("no list of storages"))? {
            let storage = key.and_then(|key| views.storages().find(|storage| storage.key == key));
            let storage = storage.ok_or_else(|| self.error("a storage that no tensor uses"))?;
            let mut count = [0; 8];
            file.read_exact(&mut count).map_err(|e| CheckpointError::io(path, e))?;
            if u64::from_le_bytes(count) != storage.elements as u64 {
                return Err(
                    self.error(format!("storage {} has another length than its tensors say", storage.key))
                );
            }
            let bytes = self.read_storage(&mut file, storage)?;
            self.take_views(&views, storage, &bytes)?;
        }
        if let Some(name) = views.names().find(|name| !self.tensors.contains_key(*name)) {
            return Err(self.error(format!("the data of `{name}` are not in the file")));
        }
        Ok(())
    }

    fn read_storage(&self, source: impl Read, storage: &Storage) -> Result<Vec<u8>, CheckpointError> {
        let Some(bytes) = storage.bytes().filter(|bytes| *bytes as u64 <= self.length) else {
            return Err(self.error(format!("storage {} is larger than the file", storage.key)));
        };
        let mut data = Vec::with_capacity(bytes);
        source.take(bytes as u64).read_to_end(&mut data).map_err(|e| CheckpointError::io(self.path, e))?;
        if data.len() != bytes {
            return Err(self.error(format!(
                "storage {} has {} bytes, expected {bytes}",
                storage.key,
                data.len()
            )));
        }
        Ok(data)
    }

    fn take_views(&mut self, views: &Views, storage: &Storage, bytes: &[u8]) -> Result<(), CheckpointError> {
        for view in views.of(storage) {
            let data = match storage.elements_of {
                Elements::Float(dtype) => {
                    let width = dtype.bitsize() / 8;
                    super::archive::to_f32(dtype, &view.gather(bytes, width)).unwrap_or_default()
                }
                // Counters and index tables (torch buffers such as `position_ids`) are no weights.
                Elements::Integer(_) => vec![],
            };
            self.tensors.insert(view.name.clone(), FloatTensor { shape: view.shape.clone(), data });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
