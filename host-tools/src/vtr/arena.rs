//! The arena that a file states.

use anyhow::{Context, Result};
use vitreous::models::ipt::Ipt;
use vitreous::models::vit::Vit;
use vitreous::Model;

use super::Family;

/// The bytes of a model's plan, or of that of its task which needs the most.
///
/// # Errors
/// A file that the engine refuses; a plan of over 4 GiB.
pub(super) fn arena_of(bytes: &[u8]) -> Result<u32> {
    let model = Model::parse_without_checksums(bytes)?;
    let arena = match Family::of(&model) {
        Family::Vit => Vit::new(&model)?.plan().arena_bytes(),
        Family::Ipt => {
            let ipt = Ipt::new(&model)?;
            let mut largest = 0;
            for task in 0..ipt.config().tasks.len() {
                largest = largest.max(ipt.plan(task)?.arena_bytes());
            }
            largest
        }
    };
    u32::try_from(arena).context("the memory plan is over 4 GiB")
}
