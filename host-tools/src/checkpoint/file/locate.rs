//! Which file or files hold the weights that a path stands for.
use crate::checkpoint::error::CheckpointError;
use crate::text::short;
use crate::text::{read_bounded, MAX_TEXT};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What an index of shards is called: `NAME.safetensors.index.json`.
pub(crate) const INDEX: &str = ".index.json";

/// The file of a folder is the first of these that is there. transformers writes one of them; where a
/// repository has weights for several versions of it, they are the same.
const USUAL_FILES: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];
/// Endings of files that weights may lie in.
const ENDINGS: [&str; 6] = [".safetensors", ".pt", ".pth", ".bin", ".ckpt", INDEX];
/// Beginnings of what trainings save beside the weights.
const NO_WEIGHTS: [&str; 8] = [
    "optimizer",
    "optim",
    "scheduler",
    "scaler",
    "training_args",
    "rng_state",
    "random_states",
    "trainer_state",
];

/// State of a training of this tool that is not complete.
pub const STATE_FILE: &str = "checkpoint.safetensors";
/// The state before it.
pub const PREVIOUS_STATE_FILE: &str = "checkpoint-previous.safetensors";

/// Where the weights are.
#[derive(Debug)]
pub(crate) struct Located {
    /// Their file, which may be an index of shards.
    pub file: PathBuf,
    /// The folder with the files beside it.
    pub folder: PathBuf,
    /// What the user should know of other files there.
    pub warnings: Vec<String>,
}

/// The weights that a path stands for.
pub(crate) fn locate(path: &Path) -> Result<Located, CheckpointError> {
    let located = |file: PathBuf, folder: PathBuf| Located { file, folder, warnings: vec![] };
    if !path.is_dir() {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        refuse_one_shard(path, &folder)?;
        return Ok(located(path.to_path_buf(), folder));
    }
    let names = names_in(path)?;
    let error = |hint: String| CheckpointError::NoModelFile { path: path.to_path_buf(), hint };
    let usual: Vec<&str> = USUAL_FILES.into_iter().filter(|usual| names.contains(*usual)).collect();
    for [file, index] in USUAL_FILES.as_chunks::<2>().0 {
        if usual.contains(file) && usual.contains(index) {
            return Err(error(format!(
                "holds both {file} and {index}, which may be different weights; pass the one that is meant"
            )));
        }
    }
    if let Some((file, others)) = usual.split_first() {
        let mut found = located(path.join(file), path.to_path_buf());
        found.warnings.extend(others.first().map(|other| {
            format!(
                "{file} is taken; {other} lies beside it and may hold other weights: pass the file that is \
                 meant"
            )
        }));
        if names.iter().any(|name| is_state(name)) {
            found
                .warnings
                .push(format!("the training of {file} is not complete: --resume would go on with it"));
        }
        return Ok(found);
    }
    let candidates: Vec<&String> = names.iter().filter(|name| may_be_weights(name)).collect();
    let (shards, files): (Vec<&String>, Vec<&String>) =
        candidates.into_iter().partition(|name| shard_of(name).is_some());
    match files.as_slice() {
        states if !states.is_empty() && states.iter().all(|name| is_state(name)) => Err(error(
            "holds a training that is not complete; the command that began it goes on with --resume".into(),
        )),
        [file] => Ok(located(path.join(file), path.to_path_buf())),
        [] => Err(error(match shards.first() {
            Some(shard) => format!(
                "holds shards such as {shard}, but no index of them; add the file {}{INDEX} that belongs to \
                 them",
                whole_name(shard)
            ),
            None => instead(&names),
        })),
        several => Err(error(format!(
            "holds several files of weights, {}; pass the one that is meant",
            list(several)
        ))),
    }
}

/// `vit_tiny.safetensors` is called vit_tiny, `vit_tiny/model.safetensors` as well, in one piece or in
/// shards.
pub(crate) fn file_label(file: &Path, folder: &Path, fallback: &str) -> String {
    let name = file.file_name().and_then(|s| s.to_str()).unwrap_or(fallback);
    let whole = Path::new(name.strip_suffix(INDEX).unwrap_or(name));
    let stem = whole.file_stem().and_then(|s| s.to_str()).unwrap_or(fallback);
    let folder = folder.file_name().and_then(|s| s.to_str());
    if stem == "model" || stem == "pytorch_model" {
        folder.unwrap_or(fallback).to_string()
    } else {
        stem.to_string()
    }
}

fn names_in(folder: &Path) -> Result<BTreeSet<String>, CheckpointError> {
    let io = |e| CheckpointError::io(folder, e);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        if let Ok(name) = entry.map_err(io)?.file_name().into_string() {
            names.insert(name);
        }
    }
    Ok(names)
}

fn is_state(name: &str) -> bool {
    [STATE_FILE, PREVIOUS_STATE_FILE].contains(&name)
}

fn may_be_weights(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    !name.starts_with('.')
        && ENDINGS.iter().any(|ending| lower.ends_with(ending))
        && !NO_WEIGHTS.iter().any(|start| lower.starts_with(start))
}

fn list(names: &[&String]) -> String {
    let mut words = names.iter().take(12).map(|name| short(name)).collect::<Vec<_>>();
    if names.len() > words.len() {
        words.push(format!("{} more", names.len() - words.len()));
    }
    words.join(", ")
}

/// What to do about what a folder holds instead of weights.
fn instead(names: &BTreeSet<String>) -> String {
    let any = |wanted: &dyn Fn(&str) -> bool| names.iter().find(|name| wanted(name));
    let none = "holds no file of weights";
    if any(&|n| n == "data.pkl").is_some() {
        return format!(
            "{none} but the unpacked parts of one by PyTorch; download it again without unpacking, which \
             some browsers do"
        );
    }
    if any(&|n| n == "saved_model.pb").is_some() {
        return format!("{none} that can be read but a SavedModel of TensorFlow; {FROM_TENSORFLOW}");
    }
    if let Some(name) = any(&|n| n.ends_with(".h5") || n.ends_with(".keras") || n.contains(".ckpt.")) {
        return format!("{none} that can be read but {name} of TensorFlow; {FROM_TENSORFLOW}");
    }
    if let Some(name) = any(&|n| n.ends_with(".msgpack")) {
        return format!("{none} that can be read but {name} of Flax; {FROM_FLAX}");
    }
    if let Some(name) = any(&|n| n.ends_with(".distcp")) {
        return format!(
            "{none} that can be read but parts of a distributed checkpoint such as {name}; join them in \
             Python with `torch.distributed.checkpoint.format_utils.dcp_to_torch_save(folder, \"model.pt\")`"
        );
    }
    if let Some(name) = any(&|n| n.ends_with(".vtr")) {
        return format!("{none} to convert; {name} in it is a converted model, pass that to `vitreous run`");
    }
    format!("{none}; pass a .safetensors, .pt or .pth file, or a folder with model.safetensors")
}

/// The way from TensorFlow's formats.
pub(crate) const FROM_TENSORFLOW: &str = "load it with transformers (`from_pretrained(folder, \
                                          from_tf=True)`) or convert it to PyTorch, and save safetensors \
                                          there";
/// The way from Flax's format.
pub(crate) const FROM_FLAX: &str = "load it with transformers (`from_pretrained(folder, from_flax=True)`), \
                                    and save it with `save_pretrained`";

/// Number and count of a shard's name, as in `model-00002-of-00005.safetensors`.
fn shard_of(name: &str) -> Option<(usize, usize)> {
    let (stem, _) = name.rsplit_once('.')?;
    let (before, count) = stem.rsplit_once("-of-")?;
    let (_, number) = before.rsplit_once(['-', '_'])?;
    let digits = |text: &str| text.len() >= 2 && text.bytes().all(|b| b.is_ascii_digit());
    (digits(number) && digits(count)).then(|| Some((number.parse().ok()?, count.parse().ok()?)))?
}

/// The name that a sharded file would have in one piece.
fn whole_name(shard: &str) -> String {
    let ending = shard.rsplit_once('.').map_or("", |(_, ending)| ending);
    let before = shard.rsplit_once("-of-").and_then(|(before, _)| before.rsplit_once(['-', '_']));
    format!("{}.{ending}", before.map_or(shard, |(stem, _)| stem))
}

/// One of several shards is not a model, whether its name or an index beside it says so.
fn refuse_one_shard(path: &Path, folder: &Path) -> Result<(), CheckpointError> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    if name.ends_with(INDEX) {
        return Ok(());
    }
    let counted = shard_of(name).filter(|(_, count)| *count > 1).map(|(_, count)| count);
    let listed = || {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let names = names_in(folder).ok()?;
        let indices = names.iter().filter(|name| name.ends_with(INDEX));
        let files = indices.filter_map(|index| Some(Index::read(&folder.join(index)).ok()?.files()));
        let mut own = files.filter(|files| files.len() > 1 && files.contains(name));
        own.next().map(|files| files.len())
    };
    let Some(count) = counted.or_else(listed) else { return Ok(()) };
    Err(CheckpointError::OneShard { path: path.to_path_buf(), count })
}

/// What an index of shards says.
pub(crate) struct Index {
    /// The shard's file name by tensor.
    pub shards: BTreeMap<String, String>,
    /// Bytes of all tensors.
    pub total_size: Option<u64>,
}

impl Index {
    /// Reads `NAME.index.json`.
    ///
    /// # Errors
    /// A file that cannot be read, is no such index, or names files outside of its folder.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let json_error = |reason: String| CheckpointError::Json { path: path.to_path_buf(), reason };
        let text = read_bounded(path, MAX_TEXT).map_err(|e| CheckpointError::io(path, e))?;
        let json: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| json_error(format!("not valid JSON: {e}")))?;
        let Some(map) = json.get("weight_map").and_then(|map| map.as_object()) else {
            return Err(json_error("no index of shards: the object `weight_map` is missing".into()));
        };
        let mut shards = BTreeMap::new();
        for (tensor, file) in map {
            let tensor_shown = short(tensor);
            let Some(file) = file.as_str() else {
                return Err(json_error(format!("`weight_map`: the file of `{tensor_shown}` is no string")));
            };
            if Path::new(file).file_name() != Some(file.as_ref()) || file.contains('\\') {
                let file = short(file);
                return Err(json_error(format!(
                    "`weight_map`: `{tensor_shown}` lies in {file}, which is no file of the same folder"
                )));
            }
            shards.insert(tensor.clone(), file.to_string());
        }
        if shards.is_empty() {
            return Err(json_error("the index of shards names no tensors".into()));
        }
        let total_size =
            json.pointer("/metadata/total_size").and_then(|size| size.as_f64()).map(|size| size as u64);
        Ok(Self { shards, total_size })
    }

    /// The shards' file names, in order.
    pub fn files(&self) -> BTreeSet<String> {
        self.shards.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::archive::{write, Archive};
    use crate::checkpoint::tensor::FloatTensor;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_names_of_shards_are_known() {
        assert_eq!(shard_of("model-00002-of-00005.safetensors"), Some((2, 5)));
        assert_eq!(shard_of("pytorch_model-00001-of-00001.bin"), Some((1, 1)));
        assert_eq!(shard_of("vit-1-of-a-kind.pt"), None);
        assert_eq!(shard_of("model.safetensors"), None);
        assert_eq!(whole_name("model-00002-of-00005.safetensors"), "model.safetensors");
    }

    fn shard(path: &Path, names: &[&str]) {
        let tensor = || FloatTensor { shape: vec![2, 2], data: vec![1.0; 4] };
        write(path, &names.iter().map(|name| (name.to_string(), tensor())).collect()).unwrap();
    }

    fn index(folder: &Path, size: usize, map: &[(&str, &str)]) {
        let map: serde_json::Map<_, _> = map.iter().map(|(k, v)| (k.to_string(), (*v).into())).collect();
        let json = serde_json::json!({"metadata": {"total_size": size}, "weight_map": map});
        std::fs::write(folder.join("model.safetensors.index.json"), json.to_string()).unwrap();
    }

    fn read(path: &Path) -> Result<Archive, String> {
        let Located { file, .. } = locate(path).map_err(|e| e.to_string())?;
        Archive::read(&file, None).map_err(|e| e.to_string())
    }

    #[test]
    fn shards_are_read_whole_or_not_at_all() {
        const ONE: &str = "model-00001-of-00002.safetensors";
        const TWO: &str = "model-00002-of-00002.safetensors";
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        shard(&folder.join(ONE), &["a.w", "b.w"]);
        let error = |words: &str| {
            let error = read(folder).err().unwrap();
            assert!(error.contains(words), "{error}");
        };
        error("no index of them; add the file model.safetensors.index.json");
        index(folder, 48, &[("a.w", ONE), ("b.w", ONE), ("c.w", TWO)]);
        error(&format!("1 of its 2 shards are missing: {TWO}"));
        shard(&folder.join(TWO), &["c.w"]);
        for path in [folder, &folder.join("model.safetensors.index.json")] {
            let archive = read(path).unwrap();
            assert_eq!(archive.tensors.keys().collect::<Vec<_>>(), ["a.w", "b.w", "c.w"]);
            assert_eq!(archive.warnings, Vec::<String>::new());
            let bytes = [ONE, TWO].map(|file| std::fs::read(folder.join(file)).unwrap()).concat();
            assert_eq!(archive.sha256, *Sha256::digest(&bytes));
        }
        assert!(read(&folder.join(ONE)).err().unwrap().contains("is one of 2 shards"));
        index(folder, 50, &[("a.w", ONE), ("b.w", ONE), ("c.w", TWO)]);
        assert!(read(folder).unwrap().warnings[0]
            .contains("promises tensors of 50 bytes in all, and the shards hold 48"));
        index(folder, 48, &[("a.w", ONE), ("b.w", ONE), ("c.w", TWO), ("d.w", TWO)]);
        error(&format!("tensor `d.w` is not in {TWO}"));
        index(folder, 48, &[("a.w", ONE), ("c.w", TWO)]);
        error("tensor `b.w` of model-00001-of-00002.safetensors is not in the index");
        index(folder, 48, &[("a.w", ONE), ("b.w", TWO), ("c.w", TWO)]);
        error(&format!("tensor `b.w` lies in {ONE}, and the index says {TWO}"));
        shard(&folder.join(TWO), &["b.w", "c.w"]);
        index(folder, 48, &[("a.w", ONE), ("b.w", ONE), ("c.w", TWO)]);
        error(&format!("tensor `b.w` lies in two shards, {ONE} and {TWO}"));
        index(folder, 48, &[("a.w", "../x.safetensors")]);
        error("no file of the same folder");
        let cut = std::fs::read(folder.join(TWO)).unwrap();
        std::fs::write(folder.join(TWO), &cut[..cut.len() - 1]).unwrap();
        index(folder, 48, &[("a.w", ONE), ("b.w", ONE), ("c.w", TWO)]);
        error("the file is incomplete");
        // An index beside names a file that is called as no shard is.
        std::fs::rename(folder.join(ONE), folder.join("first.safetensors")).unwrap();
        index(folder, 48, &[("a.w", "first.safetensors"), ("c.w", TWO)]);
        assert!(read(&folder.join("first.safetensors")).err().unwrap().contains("is one of 2 shards"));
    }

    #[test]
    fn a_folder_holds_one_file_of_weights_or_says_what_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let error = |words: &str| {
            let error = read(folder).err().unwrap();
            assert!(error.contains(words), "{error}");
        };
        error("no file of weights; pass a .safetensors");
        for (name, words) in [
            ("old.vtr", "old.vtr in it is a converted model"),
            ("__0_0.distcp", "dcp_to_torch_save"),
            ("flax_model.msgpack", "flax_model.msgpack of Flax"),
            ("tf_model.h5", "tf_model.h5 of TensorFlow"),
            ("saved_model.pb", "a SavedModel of TensorFlow"),
            ("data.pkl", "the unpacked parts of one by PyTorch"),
        ] {
            std::fs::write(folder.join(name), b"x").unwrap();
            error(words);
        }
        for name in ["training_args.bin", "optimizer.pt", "rng_state_0.pth", ".hidden.pt"] {
            std::fs::write(folder.join(name), b"x").unwrap();
        }
        shard(&folder.join("vit.pth"), &["a"]);
        assert!(read(folder).unwrap().path.ends_with("vit.pth"));
        shard(&folder.join("ema.safetensors"), &["a"]);
        error("several files of weights, ema.safetensors, vit.pth; pass the one");
        for usual in ["pytorch_model.bin", "model.safetensors"] {
            shard(&folder.join(usual), &["a"]);
            assert!(read(folder).unwrap().path.ends_with(usual));
        }
        index(folder, 4, &[("a", "ema.safetensors")]);
        error("holds both model.safetensors and model.safetensors.index.json");
    }
}
