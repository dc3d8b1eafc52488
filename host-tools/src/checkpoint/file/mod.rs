//! Step 1: the files that hold the weights, and their formats.

pub(super) mod identify;
pub(super) mod locate;
