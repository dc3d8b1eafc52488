//! Prefixes of tensors' names that say nothing of the model.

use std::collections::BTreeMap;

use crate::checkpoint::tensor::FloatTensor;

/// Prefixes that wrappers (DataParallel, torch.compile, Lightning) put before every name.
pub(crate) const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// The tensors without the prefixes of [`WRAPPERS`].
pub(crate) fn unwrapped(mut tensors: BTreeMap<String, FloatTensor>) -> BTreeMap<String, FloatTensor> {
    let wraps = |tensors: &BTreeMap<String, FloatTensor>, wrapper: &str| {
        !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(wrapper))
    };
    // More than a few around each other are no wrappers.
    for _ in 0..2 * WRAPPERS.len() {
        let Some(wrapper) = WRAPPERS.into_iter().find(|wrapper| wraps(&tensors, wrapper)) else { break };
        tensors = tensors.into_iter().map(|(name, t)| (name[wrapper.len()..].to_string(), t)).collect();
    }
    tensors
}
