//! Step 2: files of weights, safetensors or PyTorch's, as named f32 tensors.
mod contents;
mod elements;
mod safetensors;
pub(super) mod sets;
pub(super) mod signatures;
pub(super) mod torch;

use super::error::CheckpointError;
use super::file::identify::{identify, Format};
use super::file::locate::Index;
use super::tensor::FloatTensor;
use crate::text::short;
use contents::Contents;
use sets::{Set, Wanted, WeightsChoice};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use crate::checkpoint::archive::safetensors::write;

/// Where trainings note the architecture's name, in the order of how much each says.
const ARCHITECTURE_KEYS: [&str; 11] = [
    "architecture",
    "arch",
    "args.model",
    "args.arch",
    "hyper_parameters.model_name",
    "hyper_parameters.arch",
    "hyper_parameters.architecture",
    "hyper_parameters.model",
    "hparams.arch",
    "config.arch",
    "model_name",
];

/// Every float tensor of one set of weights, under the names that the file gives.
pub(crate) struct Archive {
    pub path: PathBuf,
    /// Of the file's bytes; of several files' one after the other, in the order of their names.
    pub sha256: [u8; 32],
    /// A tensor of whole numbers has no data.
    pub tensors: BTreeMap<String, FloatTensor>,
    /// Which of several sets of weights it is.
    pub choice: WeightsChoice,
    /// The architecture's name, where the file says it: timm's trainings under `arch`, DeiT, MAE and DINO
    /// among their arguments.
    pub architecture: Option<String>,
    /// What else the file says of itself: scalars and short lists by dotted keys, such as `args.patch_size`.
    pub facts: BTreeMap<String, String>,
    /// What the user should know about the files.
    pub warnings: Vec<String>,
}

impl Archive {
    /// Reads a file, or the shards of an index, whose format its first bytes tell. `weights` chooses one set
    /// of several: its key, keys joined by dots, or the prefix of its tensors' names; `.` is the file's
    /// outermost.
    ///
    /// # Errors
    /// What is no file of float weights is named; damage; a set that is not there, or several that nothing
    /// tells apart.
    pub fn read(path: &Path, weights: Option<&str>) -> Result<Self, CheckpointError> {
        let (wanted, mut hash) = (Wanted::One(weights), Sha256::new());
        let mut warnings = vec![];
        let contents = match identify(path)? {
            Format::Index => read_shards(path, wanted, &mut hash, &mut warnings)?,
            format => read_one(path, format, wanted, &mut hash)?,
        };
        let Contents { tensors, choice, facts, warnings: lost, .. } = contents;
        warnings.extend(several(lost));
        let architecture = ARCHITECTURE_KEYS.iter().find_map(|key| facts.get(*key)).cloned();
        let sha256 = hash.finalize().into();
        Ok(Self { path: path.to_path_buf(), sha256, tensors, choice, architecture, facts, warnings })
    }
}

fn read_one(
    path: &Path,
    format: Format,
    wanted: Wanted,
    hash: &mut Sha256,
) -> Result<Contents, CheckpointError> {
    match format {
        Format::Safetensors => safetensors::read(path, wanted, hash),
        Format::Zip => torch::read_zip(path, wanted, hash),
        _ => torch::read_sequential(path, wanted, hash),
    }
}

/// Every shard of an index, which must hold exactly the tensors that the index says.
fn read_shards(
    path: &Path,
    wanted: Wanted,
    hash: &mut Sha256,
    warnings: &mut Vec<String>,
) -> Result<Contents, CheckpointError> {
    let index = Index::read(path)?;
    let error = |what: String| CheckpointError::Shards { path: path.to_path_buf(), what };
    let folder = path.parent().unwrap_or(Path::new(""));
    let files = index.files();
    let missing: Vec<_> =
        files.iter().filter(|file| !folder.join(file).is_file()).map(String::as_str).collect();
    if !missing.is_empty() {
        return Err(error(format!(
            "{} of its {} shards are missing: {}",
            missing.len(),
            files.len(),
            missing.join(", ")
        )));
    }
    let mut all = Contents::default();
    for file in &files {
        let shard = folder.join(file);
        let contents = match identify(&shard)? {
            Format::Index => return Err(error(format!("{file} is an index itself"))),
            // One of several sets is chosen in the whole.
            format => read_one(&shard, format, Wanted::Whole, hash)?,
        };
        for (name, tensor) in contents.tensors {
            let shown = short(&name);
            match index.shards.get(&name) {
                Some(said) if said == file => drop(all.tensors.insert(name, tensor)),
                Some(said) if all.tensors.contains_key(&name) => {
                    return Err(error(format!("tensor `{shown}` lies in two shards, {said} and {file}")))
                }
                Some(said) => {
                    return Err(error(format!("tensor `{shown}` lies in {file}, and the index says {said}")))
                }
                None => return Err(error(format!("tensor `{shown}` of {file} is not in the index"))),
            }
        }
        all.bytes += contents.bytes;
        all.facts.extend(contents.facts);
        all.warnings.extend(contents.warnings);
    }
    if let Some((name, file)) = index.shards.iter().find(|(name, _)| !all.tensors.contains_key(*name)) {
        let name = short(name);
        return Err(error(format!("tensor `{name}` is not in {file}, where the index says that it is")));
    }
    // Every tensor is there and whole: a wrong sum, which some programs write, costs nothing.
    if let Some(size) = index.total_size.filter(|size| *size != all.bytes) {
        let found = all.bytes;
        warnings.push(format!(
            "the index promises tensors of {size} bytes in all, and the shards hold {found}: one may be of \
             another version"
        ));
    }
    let whole = Set {
        key: String::new(),
        has_matrices: true,
        tensors: all.tensors.keys().map(|name| (name.clone(), name.clone())).collect(),
    };
    let (set, choice) = sets::choose(path, vec![whole], wanted)?;
    let mut tensors = std::mem::take(&mut all.tensors);
    let chosen = set.tensors.into_iter().filter_map(|(name, stored)| Some((name, tensors.remove(&stored)?)));
    Ok(Contents { tensors: chosen.collect(), choice, ..all })
}

/// The first of warnings that are alike, and how many there are.
fn several(warnings: Vec<String>) -> Option<String> {
    let count = warnings.len();
    let first = warnings.into_iter().next()?;
    Some(if count == 1 { first } else { format!("{first}; so it is with {count} tensors") })
}
