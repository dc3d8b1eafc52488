//! PyTorch files: dicts of tensors as `torch.save` writes them, in its zip format and in the older sequential
//! one.
//!
//! The tensors' descriptions are pickled; see [`pickle`]. The data are read storage by storage, so that
//! memory holds the model once and one storage more.
mod machine;
mod pickle;
mod tensors;
mod tree;

use super::contents::Contents;
use super::elements::{self, Elements};
use super::sets::{self, WeightsChoice};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::file::locate::FROM_TENSORFLOW;
use crate::checkpoint::tensor::FloatTensor;
use crate::text::short;
use pickle::{Broken, Id, Pickle, Value};
use sha2::Sha256;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use tensors::{Storage, Views};
use zip::read::{ArchiveOffset, Config, ZipArchive};
use zip::result::ZipError;

/// `torch.serialization.MAGIC_NUMBER`, with which the sequential format begins.
const MAGIC: [u8; 10] = 0x1950_A86A_20F9_469C_FC6C_u128.to_le_bytes().first_chunk::<10>().copied().unwrap();
/// `torch.serialization.PROTOCOL_VERSION`.
const PROTOCOL_VERSION: i64 = 1001;

/// Reads the set that is meant from a zip file, whose bytes go into `hash` too: `NAME/data.pkl` describes the
/// tensors, `NAME/data/KEY` holds a storage each, and `NAME/byteorder` may say the order.
pub(super) fn read_zip(
    path: &Path,
    wanted: sets::Wanted,
    hash: &mut Sha256,
) -> Result<Contents, CheckpointError> {
    let (mut reader, file) = Reader::open(path, hash)?;
    let damaged = |e: ZipError| reader_error(path, in_words(&e));
    // The directory's place is told, not searched: the records of zip64, which PyTorch always writes, are as
    // long as the directory entry of some file names, and a search takes them for one.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut zip = ZipArchive::with_config(config, file).map_err(damaged)?;
    let names = zip.file_names().map(|name| name.map(|n| n.into_owned()));
    let names = names.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
    let prefix = prefix(path, &names)?;
    if names.contains(&format!("{prefix}byteorder")) {
        let mut order = String::new();
        let entry = zip.by_name(&format!("{prefix}byteorder")).map_err(damaged)?;
        entry.take(16).read_to_string(&mut order).map_err(|e| CheckpointError::io(path, e))?;
        if order != "little" {
            return Err(reader.error(format!("its byte order is {order:?}, expected \"little\"")));
        }
    }
    let pickle = {
        let entry = zip.by_name(&format!("{prefix}data.pkl")).map_err(damaged)?;
        Pickle::read(&mut BufReader::new(entry)).map_err(|e| reader.error(e.to_string()))?
    };
    let views = reader.choose(&pickle, wanted)?;
    for storage in views.storages() {
        let name = format!("{prefix}data/{}", storage.key);
        let entry = zip
            .by_name(&name)
            .map_err(|e| reader_error(path, format!("{}: {}", short(&name), in_words(&e))))?;
        let bytes = reader.read_storage(entry, storage)?;
        reader.take_views(&views, storage, &bytes);
    }
    Ok(reader.contents)
}

/// What a zip file's names are before `data.pkl`.
fn prefix<'a>(path: &Path, names: &'a [String]) -> Result<&'a str, CheckpointError> {
    let any = |wanted: &dyn Fn(&str) -> bool| names.iter().find(|name| wanted(name));
    let is_pickle =
        |prefix: &&str| prefix.is_empty() || prefix.ends_with('/') && prefix.matches('/').count() == 1;
    let prefix = names.iter().filter_map(|name| name.strip_suffix("data.pkl")).find(is_pickle);
    let is_script = |prefix: &str| {
        any(&|n| n == format!("{prefix}constants.pkl") || n.starts_with(&format!("{prefix}code/"))).is_some()
    };
    let (what, way_out) = match prefix {
        Some(prefix) if !is_script(prefix) => return Ok(prefix),
        Some(_) => (
            "is a TorchScript program (`torch.jit.save`)".to_string(),
            "save its weights alone, in Python: `torch.save(torch.jit.load(FILE).state_dict(), \
             \"model.pt\")`"
                .to_string(),
        ),
        None if !names.is_empty() && names.iter().all(|name| name.ends_with(".npy")) => (
            format!("is a NumPy archive (.npz) of {} arrays", names.len()),
            "make tensors of them with `torch.from_numpy` under the names of timm or transformers, and save \
             these with safetensors"
                .into(),
        ),
        None if any(&|n| n.ends_with(".weights.h5")).is_some() => {
            ("is a model of Keras (.keras)".into(), FROM_TENSORFLOW.into())
        }
        None if any(&|n| n.contains("serialized_exported_program") || n.ends_with("archive_format"))
            .is_some() =>
        {
            (
                "is a program by `torch.export` (.pt2)".into(),
                "save its weights alone, in Python: `torch.save(torch.export.load(FILE).state_dict, \
                 \"model.pt\")`"
                    .into(),
            )
        }
        None if any(&|n| n.ends_with("/.data/extern_modules")).is_some() => {
            ("is a package by `torch.package`".into(), "save the model's state_dict from it".into())
        }
        None => {
            let files: Vec<_> = names.iter().take(5).map(|name| short(name)).collect();
            (
                format!("is a zip archive without a data.pkl of PyTorch; it holds {}", files.join(", ")),
                "if the weights are in it, unpack it and pass them; otherwise save them with \
                 `torch.save(model.state_dict(), \"model.pt\")`"
                    .into(),
            )
        }
    };
    Err(CheckpointError::NotWeights { path: path.to_path_buf(), what, way_out })
}

fn reader_error(path: &Path, reason: impl Into<String>) -> CheckpointError {
    CheckpointError::NotTorch { path: path.to_path_buf(), reason: reason.into() }
}

fn in_words(error: &ZipError) -> String {
    match error {
        ZipError::UnsupportedArchive(_) => "its zip archive is compressed or encrypted, which PyTorch never \
                                            does: unpack it, and zip it without compression"
            .into(),
        ZipError::FileNotFound => "is not in the archive".into(),
        ZipError::InvalidArchive(_) => format!("{error}: it is damaged, or something was put before it"),
        other => other.to_string(),
    }
}

/// Reads the set that is meant from a row of pickles: magic number, version, machine, tensors, keys of the
/// storages; then for each key the number of elements and the elements (`torch.serialization._legacy_save`).
/// The file's bytes go into `hash` too.
pub(super) fn read_sequential(
    path: &Path,
    wanted: sets::Wanted,
    hash: &mut Sha256,
) -> Result<Contents, CheckpointError> {
    let (mut reader, mut file) = Reader::open(path, hash)?;
    let length = reader.length;
    let cut = || CheckpointError::Truncated {
        path: path.to_path_buf(),
        what: format!("it breaks off after {length} bytes, amid data by PyTorch's older format"),
    };
    let mut next = || {
        Pickle::read(&mut file).map_err(|e| match e {
            Broken::Cut => cut(),
            Broken::Wrong(reason) => reader_error(path, reason),
        })
    };
    let magic = next()?;
    if *magic.get(magic.root) != Value::Long(MAGIC.to_vec()) {
        return Err(reader.no_weights(&magic)?);
    }
    let (version, _machine) = (next()?, next()?);
    if *version.get(version.root) != Value::Int(PROTOCOL_VERSION) {
        return Err(reader.error("an unknown version of the format before PyTorch 1.6"));
    }
    let (pickle, keys) = (next()?, next()?);
    let views = reader.choose(&pickle, wanted)?;
    let all = tensors::all_storages(&pickle);
    let keys = keys.sequence(keys.root).map(|ids| ids.iter().map(|id| keys.text(*id)).collect());
    let keys: Option<Vec<Option<&str>>> = keys;
    for key in keys.ok_or_else(|| reader.error("no list of storages"))? {
        let known = key.and_then(|key| Some((key, (*all.get(key)?)?)));
        let (key, bytes) = known.ok_or_else(|| reader.error("a storage that no tensor describes"))?;
        let mut count = [0; 8];
        file.read_exact(&mut count).map_err(|_| cut())?;
        let Some(storage) = views.get(key) else {
            // Of another set of weights, or of an optimizer.
            let skipped = std::io::copy(&mut file.by_ref().take(bytes), &mut std::io::sink());
            if !skipped.is_ok_and(|skipped| skipped == bytes) {
                return Err(cut());
            }
            continue;
        };
        if u64::from_le_bytes(count) != storage.elements as u64 {
            let key = short(key);
            return Err(reader.error(format!("storage {key} has another length than its tensors say")));
        }
        if file.stream_position().is_ok_and(|at| at.saturating_add(bytes) > length) {
            return Err(cut());
        }
        let bytes = reader.read_storage(&mut file, storage)?;
        reader.take_views(&views, storage, &bytes);
    }
    if let Some(name) = views.names().find(|name| !reader.contents.tensors.contains_key(*name)) {
        return Err(reader.error(format!("the data of `{}` are not in the file", short(name))));
    }
    Ok(reader.contents)
}

struct Reader<'a> {
    path: &'a Path,
    /// Of the file, in bytes.
    length: u64,
    contents: Contents,
}

impl<'a> Reader<'a> {
    /// The file from its start, after its bytes went into `hash`.
    fn open(path: &'a Path, hash: &mut Sha256) -> Result<(Self, BufReader<File>), CheckpointError> {
        let io = |e| CheckpointError::io(path, e);
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        std::io::copy(&mut file, hash).map_err(io)?;
        let length = file.seek(SeekFrom::End(0)).map_err(io)?;
        file.rewind().map_err(io)?;
        Ok((Self { path, length, contents: Contents::default() }, file))
    }

    fn error(&self, reason: impl Into<String>) -> CheckpointError {
        reader_error(self.path, reason)
    }

    /// The tensors of the set that is meant.
    fn choose(&mut self, pickle: &Pickle, wanted: sets::Wanted) -> Result<Views, CheckpointError> {
        let tree = tree::look_through(pickle).map_err(|e| self.error(e))?;
        if tree.sets.is_empty() {
            return Err(self.without_weights(pickle, &tree));
        }
        self.contents.facts = tree.facts;
        let (set, choice): (sets::Set<Id>, WeightsChoice) = sets::choose(self.path, tree.sets, wanted)?;
        self.contents.choice = choice;
        let belongs = |path: &str| set.key.is_empty() || path.starts_with(&format!("{}.", set.key));
        if let Some((name, words)) = tree.packed.iter().find(|(path, _)| belongs(path)) {
            let names = set.tensors.keys().map(String::as_str);
            elements::check(self.path, name, &[], &Elements::Other(words.clone()), names)?;
        }
        Views::new(self.path, self.length, pickle, &set)
    }

    /// Why a pickle is no file of weights.
    fn no_weights(&self, pickle: &Pickle) -> Result<CheckpointError, CheckpointError> {
        let tree = tree::look_through(pickle).map_err(|e| self.error(e))?;
        Ok(self.without_weights(pickle, &tree))
    }

    fn without_weights(&self, pickle: &Pickle, tree: &tree::Tree) -> CheckpointError {
        let (what, way_out) = tree::what_it_is(pickle, tree);
        let usual =
            || "save the weights in Python with `torch.save(model.state_dict(), \"model.pt\")`".to_string();
        CheckpointError::NotWeights {
            path: self.path.to_path_buf(),
            what,
            way_out: way_out.unwrap_or_else(usual),
        }
    }

    fn read_storage(&self, source: impl Read, storage: &Storage) -> Result<Vec<u8>, CheckpointError> {
        let key = || short(&storage.key);
        let Some(bytes) = storage.bytes().filter(|bytes| *bytes as u64 <= self.length) else {
            return Err(self.error(format!("storage {} is larger than the file", key())));
        };
        let mut data = Vec::with_capacity(bytes);
        source.take(bytes as u64).read_to_end(&mut data).map_err(|e| CheckpointError::io(self.path, e))?;
        if data.len() != bytes {
            return Err(self.error(format!("storage {} has {} bytes, expected {bytes}", key(), data.len())));
        }
        Ok(data)
    }

    fn take_views(&mut self, views: &Views, storage: &Storage, bytes: &[u8]) {
        self.contents.bytes += bytes.len() as u64;
        for view in views.of(storage) {
            let data = match storage.elements_of {
                Elements::Float(dtype) => {
                    let width = dtype.bitsize() / 8;
                    let gathered = view.gather(bytes, width);
                    let lost = elements::warning_of_lost(&view.name, dtype, &gathered);
                    self.contents.warnings.extend(lost);
                    elements::to_f32(dtype, &gathered).unwrap_or_default()
                }
                _ => vec![],
            };
            self.contents.tensors.insert(view.name.clone(), FloatTensor { shape: view.shape.clone(), data });
        }
    }
}

#[cfg(test)]
pub(in crate::checkpoint) mod tests;
