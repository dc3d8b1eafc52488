//! Step 4: what files and names say of a model beside its tensors.

pub(super) mod architectures;
pub(super) mod claims;
pub(super) mod exact;
pub(super) mod labels;
pub(super) mod metadata;
pub(super) mod record;
