//! What one file of weights gives.

use std::collections::BTreeMap;

use super::sets::WeightsChoice;
use crate::checkpoint::tensor::FloatTensor;

/// Most facts that a file may say of itself.
const MAX_FACTS: usize = 1000;
/// Longest fact, in bytes; longer ones are left out.
const MAX_FACT: usize = 1000;

/// What one file gives.
#[derive(Default)]
pub(crate) struct Contents {
    pub tensors: BTreeMap<String, FloatTensor>,
    pub choice: WeightsChoice,
    pub facts: BTreeMap<String, String>,
    /// Of the tensors' elements, as stored.
    pub bytes: u64,
    /// What the user should know about the tensors.
    pub warnings: Vec<String>,
}

/// Facts of a bounded number and length.
pub(crate) fn bounded(facts: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let short = facts.into_iter().filter(|(key, value)| key.len() <= MAX_FACT && value.len() <= MAX_FACT);
    short.take(MAX_FACTS).collect()
}
