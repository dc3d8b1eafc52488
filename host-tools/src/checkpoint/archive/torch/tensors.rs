//! The tensors that a pickle describes: views of storages.
use super::pickle::{Id, Pickle, Value};
use crate::checkpoint::archive::elements::{self, Elements};
use crate::checkpoint::archive::sets::Set;
use crate::checkpoint::error::CheckpointError;
use crate::text::short;
use safetensors::Dtype;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Most axes of a tensor; PyTorch's own limit.
const MAX_AXES: usize = 64;
/// Longest name of a tensor or storage, in bytes.
pub(super) const MAX_NAME: usize = 1024;

/// A value that is a tensor in Python.
pub(super) enum Tensor<'a> {
    /// The arguments of `torch._utils._rebuild_tensor_v2`.
    Dense(&'a [Id]),
    /// One that is not read, in words.
    Other(String),
}

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
        match self.elements_of {
            Elements::Float(dtype) | Elements::Integer(dtype) => {
                self.elements.checked_mul(dtype.bitsize() / 8)
            }
            Elements::Other(_) => None,
        }
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
        // Fewer elements than the shape has: a tensor that repeats itself by strides of 0, which no weights
        // do.
        Some(last < elements && count <= elements)
    }
}

/// Every tensor of a set, by storage.
pub(super) struct Views {
    storages: BTreeMap<String, (Storage, Vec<View>)>,
}

impl Views {
    /// Describes the tensors of a set in the pickle of a file with that many bytes.
    pub fn new(path: &Path, length: u64, pickle: &Pickle, set: &Set<Id>) -> Result<Self, CheckpointError> {
        let error = |reason: String| CheckpointError::NotTorch { path: path.to_path_buf(), reason };
        let mut views = Self { storages: BTreeMap::new() };
        let mut total: u64 = 0;
        for (name, id) in &set.tensors {
            let names = set.tensors.keys().map(String::as_str);
            let check = |shape: &[usize], elements: &Elements| {
                elements::check(path, name, shape, elements, names.clone())
            };
            let (storage, view) = match tensor(pickle, *id) {
                Some(Tensor::Dense(arguments)) => describe(pickle, name, arguments)
                    .map_err(|what| error(format!("tensor `{}` {what}", short(name))))?,
                Some(Tensor::Other(words)) => {
                    check(&[], &Elements::Other(words))?;
                    continue;
                }
                None => continue,
            };
            check(&view.shape, &storage.elements_of)?;
            if view.fits(storage.elements) != Some(true) {
                return Err(error(format!(
                    "tensor `{}` reaches beyond its storage or repeats it",
                    short(name)
                )));
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
                    "tensor `{}` contradicts others about storage {}",
                    short(name),
                    short(&storage.key)
                )));
            }
            list.push(view);
        }
        Ok(views)
    }

    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.storages.values().map(|(storage, _)| storage)
    }

    pub fn get(&self, key: &str) -> Option<&Storage> {
        self.storages.get(key).map(|(storage, _)| storage)
    }

    pub fn of(&self, storage: &Storage) -> &[View] {
        self.storages.get(&storage.key).map_or(&[], |(_, views)| views)
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.storages.values().flat_map(|(_, views)| views.iter().map(|view| &view.name))
    }
}

/// The tensor that a value is, also one that is wrapped as a parameter or a subclass.
pub(super) fn tensor(pickle: &Pickle, id: Id) -> Option<Tensor<'_>> {
    let (module, name, arguments) = pickle.call(id)?;
    match (module, name, arguments) {
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", [tensor, ..]) => {
            // One level alone: what is wrapped is a tensor, not a parameter again.
            let (module, name, arguments) = pickle.call(*tensor)?;
            plain_or_typed(pickle, module, name, arguments)
        }
        _ => plain_or_typed(pickle, module, name, arguments),
    }
}

/// Subclasses keep the function that makes the plain tensor, and its arguments.
fn plain_or_typed<'a>(
    pickle: &'a Pickle,
    module: &str,
    name: &str,
    arguments: &'a [Id],
) -> Option<Tensor<'a>> {
    match (module, name, arguments) {
        ("torch._tensor", "_rebuild_from_type_v2", [function, _, inner, ..]) => {
            let (module, name) = pickle.global(*function)?;
            plain(pickle, module, name, pickle.sequence(*inner)?)
        }
        _ => plain(pickle, module, name, arguments),
    }
}

fn plain<'a>(pickle: &'a Pickle, module: &str, name: &str, arguments: &'a [Id]) -> Option<Tensor<'a>> {
    if module != "torch._utils" {
        return None;
    }
    let class = |at: usize| arguments.get(at).and_then(|id| pickle.global(*id));
    Some(match name {
        "_rebuild_tensor" | "_rebuild_tensor_v2" => Tensor::Dense(arguments),
        // Of types that have no class of storages.
        "_rebuild_tensor_v3" => {
            Tensor::Other(class(6).map_or("an unknown type".into(), |(_, dtype)| short(dtype)))
        }
        "_rebuild_qtensor" => Tensor::Other("quantized integers of torch.ao".into()),
        "_rebuild_meta_tensor_no_storage" => Tensor::Other("no data (it was on the meta device)".into()),
        "_rebuild_wrapper_subclass" => Tensor::Other(match class(0) {
            Some((module, name)) => format!("a tensor of class {}.{}", short(module), short(name)),
            None => "a tensor of an unknown class".into(),
        }),
        other if other.starts_with("_rebuild_sparse") => Tensor::Other("sparse elements".into()),
        other if other.starts_with("_rebuild_") && other.contains("tensor") => {
            Tensor::Other(format!("a tensor of an unknown kind ({})", short(other)))
        }
        _ => return None,
    })
}

/// The arguments are (storage, offset, shape, strides, requires_grad, hooks, metadata); a storage is
/// ("storage", its class, key, device, elements, …).
fn describe(pickle: &Pickle, name: &str, arguments: &[Id]) -> Result<(Storage, View), &'static str> {
    const UNKNOWN: &str = "is described in an unknown way";
    let [storage, offset, shape, stride, more @ ..] = arguments else { return Err(UNKNOWN) };
    let Value::Persistent(storage) = pickle.get(*storage) else { return Err(UNKNOWN) };
    if pickle.text(*storage).is_some() {
        return Err("was written by pickle protocol 0, which PyTorch cannot read either");
    }
    let Some([_, class, key, _, elements, view @ ..]) = pickle.sequence(*storage) else {
        return Err(UNKNOWN);
    };
    let Some((_, class)) = pickle.global(*class) else { return Err(UNKNOWN) };
    // The sequential format could keep a storage that is part of another one (before PyTorch 1.0).
    if view.iter().any(|id| *pickle.get(*id) != Value::Other) {
        return Err(
            "lies in part of a storage, as PyTorch wrote before 1.0; load and save it with a newer one",
        );
    }
    // Conjugated and negative views differ from their storage by a flag.
    let flags = more.get(2).and_then(|id| pickle.dict(*id)).unwrap_or_default();
    if flags.iter().any(|(_, value)| *pickle.get(*value) == Value::Bool(true)) {
        return Err("is a negated or conjugated view; save `tensor.resolve_neg().resolve_conj()`");
    }
    let (Some(key), Some(elements)) = (pickle.text(*key), pickle.size(*elements)) else {
        return Err(UNKNOWN);
    };
    let sizes = |id| match pickle.sequence(id) {
        Some(sizes) if sizes.len() <= MAX_AXES => pickle.sizes(id),
        _ => None,
    };
    let (Some(offset), Some(shape), Some(stride)) = (pickle.size(*offset), sizes(*shape), sizes(*stride))
    else {
        return Err(UNKNOWN);
    };
    if shape.len() != stride.len() || key.len() > MAX_NAME {
        return Err(UNKNOWN);
    }
    let storage = Storage { key: key.to_string(), elements_of: elements_of(class), elements };
    Ok((storage, View { name: name.to_string(), shape, stride, offset }))
}

fn elements_of(class: &str) -> Elements {
    Elements::of(match class {
        "FloatStorage" => Dtype::F32,
        "DoubleStorage" => Dtype::F64,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        other => return Elements::Other(short(other.strip_suffix("Storage").unwrap_or(other))),
    })
}

/// Bytes of every storage that a pickle refers to, by key.
pub(super) fn all_storages(pickle: &Pickle) -> BTreeMap<&str, Option<u64>> {
    let of_value = |value: &Value| -> Option<(&str, Option<u64>)> {
        let Value::Persistent(storage) = value else { return None };
        let [_, class, key, _, elements, ..] = pickle.sequence(*storage)? else { return None };
        let (key, (_, class)) = (pickle.text(*key)?, pickle.global(*class)?);
        let elements = pickle.size(*elements)? as u64;
        let bytes = width(class).and_then(|width| width.checked_mul(elements));
        Some((key, bytes))
    };
    pickle.values.iter().filter_map(of_value).collect()
}

/// Bytes of an element of a class of storages.
fn width(class: &str) -> Option<u64> {
    Some(match class {
        "UntypedStorage" | "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => 1,
        "QInt32Storage" => 4,
        "ComplexFloatStorage" => 8,
        "ComplexDoubleStorage" => 16,
        other => match elements_of(other) {
            Elements::Float(dtype) | Elements::Integer(dtype) => dtype.bitsize() as u64 / 8,
            Elements::Other(_) => return None,
        },
    })
}
