//! Which of a file's sets of weights is meant.
//!
//! A checkpoint of a training often holds the model twice: as it is trained and as an average (EMA) of it, or
//! as student and teacher; under keys of a dict, or under prefixes of the tensors' names. What is wanted is
//! said by the caller, or follows from rules that the documentation states, or is asked for; it is never a
//! matter of order.
use super::signatures;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::settings::{Said, Settings};
use crate::text::short;
use std::collections::BTreeMap;
use std::path::Path;

/// Keys under which trainings keep the weights that are trained.
const USUAL_KEYS: [&str; 13] = [
    "state_dict",
    "model_state_dict",
    "net_state_dict",
    "model_state",
    "model_weights",
    "model",
    "net",
    "network",
    "module",
    "params",
    "weights",
    "state",
    "checkpoint",
];

/// Words in a key that mark a copy of the trained weights: averages of them, and what they are compared with.
const COPIES: [&str; 8] = ["ema", "averaged", "average", "swa", "shadow", "momentum", "teacher", "target"];

/// The name by which the caller chooses a file's own, outermost set.
const TOP: &str = ".";

/// What was decided about a file that holds several sets of weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightsChoice {
    /// Key or prefix of the set that was taken; `None` if it is the file as a whole.
    pub taken: Option<String>,
    /// The other sets, each with its number of tensors, in words.
    pub others: Vec<String>,
    /// Whether the caller chose it.
    pub chosen: bool,
}

impl WeightsChoice {
    /// Which set was taken, where there are others.
    pub(crate) fn decide(&self, settings: &mut Settings) {
        if self.others.is_empty() {
            return;
        }
        let (taken, others) = (short(self.taken.as_deref().unwrap_or(TOP)), self.others.join(", "));
        let said = match self.chosen {
            true => Said::by_option(taken),
            false => Said::assumed(
                taken,
                format!("the plainest of several sets of weights; beside it are {others}"),
            ),
        };
        settings.decide("weights", "--weights", said, String::clone);
    }
}

/// What is asked for of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// All that it holds, as one set: it is part of something larger.
    Whole,
    /// One set of weights: this, or the only one, or the one that is plainly meant.
    One(Option<&'a str>),
}

/// Tensors that belong together. `T` describes one.
#[derive(Clone, Debug)]
pub(crate) struct Set<T> {
    /// Keys from the file's top down to the dict, joined by dots; empty for the file's own.
    pub key: String,
    pub tensors: BTreeMap<String, T>,
    /// Whether it has matrices: what has none is a statistic, not a model.
    pub has_matrices: bool,
}

impl<T> Set<T> {
    fn in_words(&self) -> String {
        let count = self.tensors.len();
        let key = if self.key.is_empty() { TOP } else { &self.key };
        format!("`{}` ({count} {})", short(key), if count == 1 { "tensor" } else { "tensors" })
    }
}

/// The set that is meant.
///
/// # Errors
/// No set that `wanted` names, or several that nothing tells apart.
pub(crate) fn choose<T: Clone + PartialEq>(
    path: &Path,
    mut sets: Vec<Set<T>>,
    wanted: Wanted,
) -> Result<(Set<T>, WeightsChoice), CheckpointError> {
    let wanted = match wanted {
        Wanted::One(wanted) => wanted,
        Wanted::Whole if sets.len() == 1 && sets[0].key.is_empty() => {
            return Ok((sets.remove(0), WeightsChoice::default()))
        }
        Wanted::Whole => {
            let sets = listed(sets.iter().map(Set::in_words).collect());
            let what = format!("a shard must hold tensors alone, without keys around them; it holds {sets}");
            return Err(CheckpointError::Shards { path: path.to_path_buf(), what });
        }
    };
    let all: Vec<Set<T>> = sets.iter().flat_map(leaves).collect();
    let narrowed = match wanted {
        None => sets,
        Some(wanted) => narrow(&sets, wanted).ok_or_else(|| CheckpointError::NoSuchWeights {
            path: path.to_path_buf(),
            wanted: short(wanted),
            sets: listed(all.iter().map(Set::in_words).collect()),
        })?,
    };
    let mut set = preferred(path, narrowed)?;
    // Prefixes inside of prefixes, as in `model.student.` beside `model_ema.student.`.
    loop {
        let inside = split(&set);
        if inside.len() < 2 {
            break;
        }
        let own = inside.iter().find(|own| wanted == Some(TOP) && own.key == set.key);
        set = match own {
            Some(own) => own.clone(),
            None => preferred(path, inside)?,
        };
    }
    // What has no matrices could not have been meant.
    let others = all.iter().filter(|other| other.key != set.key && other.has_matrices);
    let others = others.map(Set::in_words).collect();
    let taken = (!set.key.is_empty()).then(|| set.key.clone());
    Ok((set, WeightsChoice { taken, others, chosen: wanted.is_some() }))
}

/// The sets under a key, or the names under a prefix, which they lose; `None` if there are none.
fn narrow<T: Clone>(sets: &[Set<T>], wanted: &str) -> Option<Vec<Set<T>>> {
    let wanted = if wanted == TOP { "" } else { wanted.trim_end_matches('.') };
    let exact: Vec<_> = sets.iter().filter(|set| set.key == wanted).cloned().collect();
    if !exact.is_empty() || wanted.is_empty() {
        return Some(exact).filter(|sets| !sets.is_empty());
    }
    let below = sets.iter().filter(|set| inside(&set.key, wanted).is_some()).cloned();
    let within = sets.iter().filter_map(|set| {
        let prefix = if set.key.is_empty() { wanted } else { inside(wanted, &set.key)? };
        under_prefix(set, prefix, wanted)
    });
    let found: Vec<_> = below.chain(within).collect();
    if !found.is_empty() {
        return Some(found);
    }
    // A prefix alone, where the dict that it stands in is clear.
    let mut anywhere =
        sets.iter().filter_map(|set| under_prefix(set, wanted, &format!("{}.{wanted}", set.key)));
    let found = anywhere.next()?;
    anywhere.next().is_none().then(|| vec![found])
}

/// What comes after `prefix` and a dot.
fn inside<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix)?.strip_prefix('.')
}

/// One prefix is taken from all names, so that no two become one.
fn under_prefix<T: Clone>(set: &Set<T>, prefix: &str, key: &str) -> Option<Set<T>> {
    let tensors = set.tensors.iter();
    let tensors: BTreeMap<_, _> =
        tensors.filter_map(|(name, t)| Some((inside(name, prefix)?.to_string(), t.clone()))).collect();
    (!tensors.is_empty()).then(|| Set { key: key.to_string(), tensors, has_matrices: set.has_matrices })
}

/// The one set, or the one that is plainly the model that was trained.
fn preferred<T: Clone + PartialEq>(path: &Path, mut sets: Vec<Set<T>>) -> Result<Set<T>, CheckpointError> {
    if sets.iter().any(|set| set.has_matrices) {
        sets.retain(|set| set.has_matrices);
    }
    // A few tensors that lie loose beside dicts of tensors, such as a table of results.
    let most = sets.iter().map(|set| set.tensors.len()).max().unwrap_or(0);
    if sets.len() > 1 {
        sets.retain(|set| !set.key.is_empty() || set.tensors.len() > most / 2);
    }
    // One dict under two keys.
    let mut distinct: Vec<Set<T>> = Vec::new();
    for set in sets {
        if !distinct.iter().any(|other| other.tensors == set.tensors) {
            distinct.push(set);
        }
    }
    let mut trained = distinct.iter().filter(|set| !is_copy(&set.key));
    let mut usual = trained.clone().filter(|set| is_usual(&set.key));
    let chosen = match (distinct.as_slice(), trained.next(), trained.next(), usual.next(), usual.next()) {
        ([only], ..) => Some(only),
        (_, _, _, Some(usual), None) => Some(usual),
        (all, Some(one), None, ..) if all.iter().all(|set| original(&set.key) == one.key) => Some(one),
        _ => None,
    };
    chosen.cloned().ok_or_else(|| CheckpointError::SeveralWeights {
        path: path.to_path_buf(),
        sets: listed(distinct.iter().map(Set::in_words).collect()),
    })
}

fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split(['.', '_', '-', '/']).filter(|word| !word.is_empty())
}

fn is_copy(key: &str) -> bool {
    words(key).any(|word| COPIES.contains(&word.to_ascii_lowercase().as_str()))
}

/// A file's own tensors are usual too: what has no key is nobody's copy.
fn is_usual(key: &str) -> bool {
    key.is_empty() || key.split('.').all(|segment| USUAL_KEYS.contains(&segment))
}

/// A copy's key without the words that make it one: `backbone` for `backbone_ema`.
fn original(key: &str) -> String {
    if !is_copy(key) {
        return key.to_string();
    }
    let segments = key.split('.').map(|segment| {
        let kept = words(segment).filter(|word| !is_copy(word));
        kept.collect::<Vec<_>>().join("_")
    });
    segments.filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join(".")
}

/// The sets of a set, down to those that hold one model each.
fn leaves<T: Clone>(set: &Set<T>) -> Vec<Set<T>> {
    let inside = split(set);
    if inside.len() < 2 {
        return inside;
    }
    inside.iter().flat_map(leaves).collect()
}

/// The prefix before the tensor by which a model is recognised.
fn signature_prefix(name: &str) -> Option<&str> {
    let mut prefixes = signatures::ALL.iter().filter_map(|signature| name.strip_suffix(signature));
    prefixes.find(|prefix| prefix.is_empty() || prefix.ends_with('.'))
}

/// The sets that one dict holds under prefixes: a model's first layer tells each. Names outside of all
/// prefixes belong to the set without a prefix, or else to every set, so that nothing of a model is lost. The
/// tensors keep their names.
fn split<T: Clone>(set: &Set<T>) -> Vec<Set<T>> {
    let prefixes: Vec<&str> = set.tensors.keys().filter_map(|name| signature_prefix(name)).collect();
    let Some((first, rest)) = prefixes.split_first() else { return vec![set.clone()] };
    // The prefix that all of them share, which ends with a dot.
    let shared = rest.iter().fold(*first, |shared, prefix| {
        let same = shared.bytes().zip(prefix.bytes()).take_while(|(a, b)| a == b).count();
        let end = shared.as_bytes()[..same].iter().rposition(|byte| *byte == b'.');
        &shared[..end.map_or(0, |dot| dot + 1)]
    });
    let segment = |name: &str| {
        let (segment, _) = name.strip_prefix(shared)?.split_once('.')?;
        Some(segment.to_string())
    };
    let mut keys: Vec<Option<String>> = prefixes.iter().map(|prefix| segment(prefix)).collect();
    keys.sort();
    keys.dedup();
    if keys.len() < 2 {
        return vec![set.clone()];
    }
    let of_key = |key: &Option<String>| {
        let outer = [set.key.as_str(), shared.trim_end_matches('.'), key.as_deref().unwrap_or_default()];
        let outer: Vec<_> = outer.into_iter().filter(|part| !part.is_empty()).collect();
        let belongs = |name: &String| {
            let own = segment(name);
            own == *key || (!keys.contains(&own) && (key.is_none() || !keys.contains(&None)))
        };
        let tensors = set.tensors.iter().filter(|(name, _)| belongs(name));
        Set {
            key: outer.join("."),
            tensors: tensors.map(|(name, tensor)| (name.clone(), tensor.clone())).collect(),
            has_matrices: true,
        }
    };
    keys.iter().map(of_key).collect()
}

/// At most a screen of names.
fn listed(mut words: Vec<String>) -> String {
    let more = words.len().saturating_sub(12);
    words.truncate(12);
    let mut list = words.join(", ");
    if more > 0 {
        list.push_str(&format!(" and {more} more"));
    }
    list
}
