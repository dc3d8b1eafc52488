//! What a pickled checkpoint holds: the dicts of tensors in it, wherever they lie, and what it says of itself
//! in scalars.
use super::pickle::{Id, Pickle, Value};
use super::tensors::{tensor, Tensor, MAX_NAME};
use crate::checkpoint::archive::contents::bounded;
use crate::checkpoint::archive::sets::Set;
use crate::text::short;
use std::collections::{BTreeMap, VecDeque};

/// Deepest nesting of dicts that is looked into.
const MAX_DEPTH: usize = 12;
/// Keys of what an optimizer keeps for each weight.
const OPTIMIZER_NAMES: [&str; 9] = [
    "step",
    "exp_avg",
    "exp_avg_sq",
    "exp_inf",
    "max_exp_avg_sq",
    "momentum_buffer",
    "square_avg",
    "grad_avg",
    "sum",
];
/// Longest list that counts as a fact, such as an image's size.
const MAX_LIST: usize = 8;

/// What was found.
#[derive(Default)]
pub(super) struct Tree {
    /// Dicts of tensors; a tensor is the value that describes it.
    pub sets: Vec<Set<Id>>,
    /// Modules that were pickled as objects: their key and class.
    pub modules: Vec<(String, String)>,
    /// Tensors without names, in lists.
    pub unnamed: usize,
    /// Those of them that are not read: their path, and what they are. Quantized layers keep theirs in a
    /// list.
    pub packed: Vec<(String, String)>,
    /// Dict entries that are NumPy arrays.
    pub arrays: usize,
    pub facts: BTreeMap<String, String>,
}

/// Looks through dicts, lists and objects' attributes from the top.
///
/// # Errors
/// A dict with a name twice or one too long; a pickle that refers to itself without end.
pub(super) fn look_through(pickle: &Pickle) -> Result<Tree, String> {
    let mut tree = Tree::default();
    let mut facts = vec![];
    // References may lead to a value on many ways: more steps than twice the values are no data.
    let mut steps = 2 * pickle.values.len() + 1000;
    let mut queue = VecDeque::from([(pickle.root, String::new(), 0)]);
    while let Some((id, key, depth)) = queue.pop_front() {
        let Some(entries) = entries(pickle, id) else { continue };
        if let Some(class) = module_class(pickle, id) {
            tree.modules.push((key, class));
            continue;
        }
        steps = steps.checked_sub(entries.len()).ok_or("it refers to itself without end")?;
        let is_list = matches!(pickle.get(id), Value::Sequence(_));
        let mut set = Set { key: key.clone(), tensors: BTreeMap::new(), has_matrices: false };
        for (name, value) in entries {
            let Some(name) = name else { continue };
            if let Some(found) = tensor(pickle, value) {
                if is_list {
                    tree.unnamed += 1;
                    if let Tensor::Other(words) = found {
                        tree.packed.push((key.clone(), words));
                    }
                    continue;
                }
                set.has_matrices |= is_matrix(pickle, &found);
                let is_long = name.len() > MAX_NAME;
                if is_long || set.tensors.insert(name.clone(), value).is_some() {
                    return Err(format!(
                        "tensor `{:.40}` is there twice, or its name is too long",
                        short(&name)
                    ));
                }
                continue;
            }
            tree.arrays += usize::from(is_array(pickle, value));
            let path = if key.is_empty() { name } else { format!("{key}.{name}") };
            // A list's scalars are a log of something.
            if let Some(fact) = fact(pickle, value) {
                facts.extend((!is_list).then_some((path, fact)));
            } else if depth < MAX_DEPTH && path.len() <= MAX_NAME && !is_of_optimizer(&path) {
                queue.push_back((value, path, depth + 1));
            }
        }
        let is_state = set.tensors.keys().all(|name| OPTIMIZER_NAMES.contains(&name.as_str()));
        if !is_state {
            tree.sets.push(set);
        }
    }
    tree.facts = bounded(facts);
    Ok(tree)
}

/// Names and values of a dict, of an object's attributes or of a list, whose names are positions. A dict's
/// keys that are no strings (those of an optimizer's state are numbers) have no names.
fn entries(pickle: &Pickle, id: Id) -> Option<Vec<(Option<String>, Id)>> {
    if let Some(items) = pickle.dict(id).or_else(|| pickle.attributes(id)) {
        // OmegaConf's containers keep what they hold in one attribute.
        if let Some(content) = wrapped(pickle, id, "_content") {
            return entries(pickle, content);
        }
        let named = items.iter().map(|(key, value)| (pickle.text(*key).map(str::to_string), *value));
        return Some(named.collect());
    }
    let items = pickle.sequence(id)?;
    Some(items.iter().enumerate().map(|(at, value)| (Some(at.to_string()), *value)).collect())
}

/// What OmegaConf's object keeps in an attribute.
fn wrapped(pickle: &Pickle, id: Id, attribute: &str) -> Option<Id> {
    let (module, _) = pickle.class(id)?;
    let attributes = module.starts_with("omegaconf").then(|| pickle.attributes(id))??;
    let value = pickle.item(attributes, attribute)?;
    (!matches!(pickle.get(value), Value::Object(_))).then_some(value)
}

fn is_of_optimizer(path: &str) -> bool {
    let key = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    ["optim", "opt_state", "scheduler", "scaler"].iter().any(|word| key.contains(word))
}

fn is_matrix(pickle: &Pickle, tensor: &Tensor) -> bool {
    match tensor {
        Tensor::Dense([_, _, shape, ..]) => pickle.sequence(*shape).is_some_and(|axes| axes.len() >= 2),
        _ => true,
    }
}

/// The class of a `torch.nn.Module`, which its attributes tell.
fn module_class(pickle: &Pickle, id: Id) -> Option<String> {
    let attributes = pickle.attributes(id)?;
    pickle.item(attributes, "_parameters")?;
    pickle.item(attributes, "_modules")?;
    let (module, name) = pickle.class(id)?;
    Some(format!("{module}.{name}"))
}

fn is_array(pickle: &Pickle, id: Id) -> bool {
    pickle.call(id).is_some_and(|(module, name, _)| module.starts_with("numpy") && name == "_reconstruct")
}

/// A scalar, or a short list of them, in words.
fn fact(pickle: &Pickle, id: Id) -> Option<String> {
    let id = wrapped(pickle, id, "_val").unwrap_or(id);
    let scalar = |id: Id| match pickle.get(id) {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    match pickle.get(id) {
        Value::Sequence(items) if !items.is_empty() && items.len() <= MAX_LIST => {
            let items: Option<Vec<String>> = items.iter().map(|item| scalar(*item)).collect();
            items.map(|items| format!("[{}]", items.join(", ")))
        }
        _ => scalar(id),
    }
}

/// What a pickle without a dict of tensors is, and what to do about it if that is not what to do about all of
/// them.
pub(super) fn what_it_is(pickle: &Pickle, tree: &Tree) -> (String, Option<String>) {
    if let Some((key, class)) = tree.modules.first() {
        let (found, part) = if key.is_empty() {
            ("is a".to_string(), String::new())
        } else {
            (
                format!("holds under `{}` a", short(key)),
                format!("[\"{}\"]", short(&key.replace('.', "\"][\""))),
            )
        };
        let way_out = format!(
            "save its weights alone, in Python where that class can be imported: \
             `torch.save(torch.load(FILE, weights_only=False){part}.state_dict(), \"model.pt\")`"
        );
        return (format!("{found} whole pickled module of class {}", short(class)), Some(way_out));
    }
    if tree.arrays > 0 || is_array(pickle, pickle.root) {
        let way_out =
            "make tensors of them with `torch.from_numpy`, and save these with `torch.save` or safetensors";
        return (format!("is a pickle of {} NumPy arrays", tree.arrays.max(1)), Some(way_out.into()));
    }
    if tensor(pickle, pickle.root).is_some() {
        return ("is a single tensor without a name".into(), None);
    }
    if tree.unnamed > 0 {
        return (format!("is a list of {} tensors without names", tree.unnamed), None);
    }
    if let Some(items) = pickle.dict(pickle.root) {
        if pickle.item(items, "param_groups").is_some() {
            return (
                "is the state of an optimizer".into(),
                Some("pass the file of weights beside it".into()),
            );
        }
        let keys: Vec<_> = items.iter().filter_map(|(key, _)| pickle.text(*key)).take(8).map(short).collect();
        if !keys.is_empty() {
            return (format!("is a dict without tensors, whose keys are {}", keys.join(", ")), None);
        }
        let numbers: Vec<_> = items.iter().filter_map(|(key, _)| pickle.size(*key)).take(8).collect();
        let Some(first) = numbers.first() else { return ("is an empty dict".into(), None) };
        let keys: Vec<_> = numbers.iter().map(usize::to_string).collect();
        let way_out = format!(
            "save one of its values alone, in Python: `torch.save(torch.load(FILE)[{first}], \"model.pt\")`"
        );
        return (format!("is a dict whose keys are numbers ({})", keys.join(", ")), Some(way_out));
    }
    match pickle.class(pickle.root) {
        Some((module, name)) => {
            (format!("is an object of class {}.{}, not a dict of tensors", short(module), short(name)), None)
        }
        None => ("is not a dict of tensors".into(), None),
    }
}
