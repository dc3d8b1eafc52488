//! The tensors that a pickle describes: views of storages.
use super::super::archive::Elements;
use super::super::CheckpointError;
use super::pickle::{Id, Pickle, Value};
use safetensors::Dtype;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where a checkpoint of a training may keep the weights among other things.
const STATE_KEYS: [&str; 7] =
    ["state_dict", "model_state_dict", "model", "net", "params_ema", "params", "weights"];

/// Most axes of a tensor; PyTorch's own limit.
const MAX_AXES: usize = 64;
/// Longest name of a tensor or storage, in bytes.
const MAX_NAME: usize = 1024;

/// A run of elements in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    pub key: String,
    pub elements_of: Elements,
    /// Number of elements.
    pub elements: usize,
}

impl Storage {
    /// Length in bytes.
    pub fn bytes(&self) -> Option<usize> {
        let (Elements::Float(dtype) | Elements::Integer(dtype)) = self.elements_of;
        self.elements.checked_mul(dtype.bitsize() / 8)
    }
}

/// A tensor: part of a storage.
pub(super) struct View {
    pub name: String,
    pub shape: Vec<usize>,
    /// In elements.
    stride: Vec<usize>,
    /// In elements.
    offset: usize,
}

impl View {
    /// The elements in row-major order, `width` bytes each. The view lies within `storage`.
    pub fn gather<'a>(&self, storage: &'a [u8], width: usize) -> Cow<'a, [u8]> {
        let count: usize = self.shape.iter().product();
        let mut step = 1;
        let mut is_contiguous = true;
        for (size, stride) in self.shape.iter().zip(&self.stride).rev() {
            is_contiguous &= *size == 1 || *stride == step;
            step *= size;
        }
        if is_contiguous || count == 0 {
            return Cow::Borrowed(&storage[self.offset * width..][..count * width]);
        }
        let mut out = Vec::with_capacity(count * width);
        for index in 0..count {
            let (mut rest, mut at) = (index, self.offset);
            for (size, stride) in self.shape.iter().zip(&self.stride).rev() {
                at += rest % size * stride;
                rest /= size;
            }
            out.extend_from_slice(&storage[at * width..][..width]);
        }
        Cow::Owned(out)
    }

    /// The highest element that it touches lies within a storage of that many; `None` on overflow.
    fn fits(&self, elements: usize) -> Option<bool> {
        let count = self.shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size))?;
        if count == 0 {
            return Some(self.offset <= elements);
        }
        let steps = self.shape.iter().zip(&self.stride);
        let last = steps
            .map(|(size, stride)| (size - 1).checked_mul(*stride))
            .try_fold(self.offset, |at, step| at.checked_add(step?))?;
        // Fewer elements than the shape has: a tensor that repeats itself by strides of 0, which no weights do.
        Some(last < elements && count <= elements)
    }
}

/// Every tensor of a file, by storage.
pub(super) struct Views {
    storages: BTreeMap<String, (Storage, Vec<View>)>,
}

impl Views {
    /// Finds the tensors in the pickle of a file with that many bytes.
    pub fn new(path: &Path, length: u64, pickle: &Pickle) -> Result<Self, CheckpointError> {
        let error = |reason: String| CheckpointError::NotTorch { path: path.to_path_buf(), reason };
        let Some(items) = state_dict(pickle) else {
            return Err(error(what_it_is(pickle)));
        };
        let mut views = Self { storages: BTreeMap::new() };
        let (mut total, mut names): (u64, _) = (0, BTreeSet::new());
        for (key, value) in items {
            let (Some(name), Some(call)) = (pickle.text(*key), tensor_call(pickle, *value)) else { continue };
            // By references a pickle can name one tensor over and over.
            if name.len() > MAX_NAME || !names.insert(name) {
                return Err(error(format!("tensor `{:.40}` is there twice, or its name is too long", name)));
            }
            let (storage, view) = describe(path, pickle, name, call)?;
            if view.fits(storage.elements) != Some(true) {
                return Err(error(format!("tensor `{name}` reaches beyond its storage")));
            }
            // Tensors may share a storage, but not so that a small file becomes a large model.
            total = total.saturating_add(view.shape.iter().product::<usize>() as u64);
            if total > length {
                return Err(error("its tensors hold more elements than it has bytes".into()));
            }
            let (known, list) =
                views.storages.entry(storage.key.clone()).or_insert_with(|| (storage.clone(), vec![]));
            if *known != storage {
                return Err(error(format!(
                    "tensor `{name}` contradicts others about storage {}",
                    storage.key
                )));
            }
            list.push(view);
        }
        Ok(views)
    }

    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.storages.values().map(|(storage, _)| storage)
    }

    pub fn of(&self, storage: &Storage) -> &[View] {
        self.storages.get(&storage.key).map_or(&[], |(_, views)| views)
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.storages.values().flat_map(|(_, views)| views.iter().map(|view| &view.name))
    }
}

/// The dict of tensors: the file's own, or the one under a usual name.
fn state_dict(pickle: &Pickle) -> Option<&[(Id, Id)]> {
    let root = pickle.dict(pickle.root)?;
    let has_tensors =
        |items: &[(Id, Id)]| items.iter().any(|(_, value)| tensor_call(pickle, *value).is_some());
    let nested = STATE_KEYS.iter().find_map(|wanted| {
        let (_, value) = root.iter().find(|(key, _)| pickle.text(*key) == Some(*wanted))?;
        pickle.dict(*value).filter(|items| has_tensors(items))
    });
    nested.or(Some(root).filter(|items| has_tensors(items)))
}

/// Why there is no dict of tensors.
fn what_it_is(pickle: &Pickle) -> String {
    if let Some(items) = pickle.dict(pickle.root) {
        let keys: Vec<_> = items.iter().filter_map(|(key, _)| pickle.text(*key)).take(8).collect();
        return format!("a dict without tensors, whose keys are {}", keys.join(", "));
    }
    match pickle.call(pickle.root) {
        Some((module, name, _)) => format!("an object of class {module}.{name}, not a dict of tensors"),
        None => "not a dict of tensors".into(),
    }
}

/// The arguments of `torch._utils._rebuild_tensor_v2`, also of one that is wrapped as a parameter or a subclass.
fn tensor_call(pickle: &Pickle, id: Id) -> Option<&[Id]> {
    let (module, name, arguments) = pickle.call(id)?;
    match (module, name, arguments) {
        ("torch._utils", "_rebuild_tensor_v2", arguments) => Some(arguments),
        ("torch._utils", "_rebuild_parameter", [tensor, ..]) => {
            // One level alone: what is wrapped is a tensor, not a parameter again.
            let (module, name, arguments) = pickle.call(*tensor)?;
            (module == "torch._utils" && name == "_rebuild_tensor_v2").then_some(arguments)
        }
        ("torch._tensor", "_rebuild_from_type_v2", [_, _, arguments, ..]) => pickle.sequence(*arguments),
        _ => None,
    }
}

/// The arguments are (storage, offset, shape, strides, …); a storage is ("storage", its class, key, device, elements, …).
fn describe(
    path: &Path,
    pickle: &Pickle,
    name: &str,
    arguments: &[Id],
) -> Result<(Storage, View), CheckpointError> {
    let damaged = || CheckpointError::NotTorch {
        path: path.to_path_buf(),
        reason: format!("tensor `{name}` is described in an unknown way"),
    };
    let [storage, offset, shape, stride, ..] = arguments else { return Err(damaged()) };
    let Value::Persistent(storage) = pickle.get(*storage) else { return Err(damaged()) };
    let Some([_, class, key, _, elements, view @ ..]) = pickle.sequence(*storage) else {
        return Err(damaged());
    };
    let Value::Global(_, class) = pickle.get(*class) else { return Err(damaged()) };
    // The sequential format could keep a storage that is part of another one (before PyTorch 1.0).
    if view.iter().any(|id| *pickle.get(*id) != Value::Other) {
        return Err(damaged());
    }
    let elements_of = elements_of(class).ok_or_else(|| CheckpointError::ElementType {
        path: path.to_path_buf(),
        tensor: name.to_string(),
        found: class.clone(),
    })?;
    let (Some(key), Some(elements)) = (pickle.text(*key), pickle.size(*elements)) else {
        return Err(damaged());
    };
    let sizes = |id| match pickle.sequence(id) {
        Some(sizes) if sizes.len() <= MAX_AXES => pickle.sizes(id),
        _ => None,
    };
    let (Some(offset), Some(shape), Some(stride)) = (pickle.size(*offset), sizes(*shape), sizes(*stride))
    else {
        return Err(damaged());
    };
    if shape.len() != stride.len() || key.len() > MAX_NAME {
        return Err(damaged());
    }
    let storage = Storage { key: key.to_string(), elements_of, elements };
    Ok((storage, View { name: name.to_string(), shape, stride, offset }))
}

fn elements_of(class: &str) -> Option<Elements> {
    Some(match class {
        "FloatStorage" => Elements::Float(Dtype::F32),
        "DoubleStorage" => Elements::Float(Dtype::F64),
        "HalfStorage" => Elements::Float(Dtype::F16),
        "BFloat16Storage" => Elements::Float(Dtype::BF16),
        "LongStorage" => Elements::Integer(Dtype::I64),
        "IntStorage" => Elements::Integer(Dtype::I32),
        "BoolStorage" => Elements::Integer(Dtype::BOOL),
        _ => return None,
    })
}
