//! Step 3: the tensors under canonical names, whatever library and wrapper they come from.

pub(super) mod canonical;
pub(super) mod features;
pub(super) mod head;
pub(super) mod naming;
pub(super) mod wrappers;
