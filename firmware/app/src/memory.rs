//! The model and the arena: the two big pieces of memory outside of the linker's sections.

use vitreous_protocol::{Failure, Phase};

use crate::{failure, BOARD};

#[allow(dead_code, reason = "only used when a model is linked in")]
#[repr(C, align(64))]
struct Aligned<Bytes: ?Sized>(Bytes);

include!(concat!(env!("OUT_DIR"), "/linked.rs"));

/// The model: `bytes` long in the board's model region, or the one that is linked in if that is zero.
pub fn model(bytes: u32) -> Result<&'static [u8], Failure> {
    if bytes == 0 {
        return linked().ok_or(failure(Phase::Load, Failure::NO_MODEL, [0, 0]));
    }
    if bytes > BOARD.model.bytes {
        return Err(failure(Phase::Load, Failure::MODEL_BYTES, [bytes, BOARD.model.bytes]));
    }
    // SAFETY: the region is RAM that nothing else uses (the board table's test shows that regions are
    // disjoint), it is long enough, and the loader filled it before the processor started.
    Ok(unsafe { core::slice::from_raw_parts(BOARD.model.start as *const u8, bytes as usize) })
}

/// The memory that arenas are cut from. There is one such token.
pub struct ArenaRegion(());

impl ArenaRegion {
    /// The region itself.
    ///
    /// # Safety
    /// Call once: two tokens would hand out the same memory twice.
    pub const unsafe fn take() -> Self {
        Self(())
    }

    /// The first `bytes` bytes, if the region has that many. They begin at a multiple of 64.
    pub fn cut(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let start = BOARD.arena.start as *mut u8;
        // SAFETY: the region is RAM that nothing else uses, it is long enough, and `self` is borrowed for as
        // long.
        (bytes <= BOARD.arena.bytes as usize)
            .then(|| unsafe { core::slice::from_raw_parts_mut(start, bytes) })
    }
}
