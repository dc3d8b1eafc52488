//! The arena: one block of memory for all activations. Its plan is exact to the byte, and the same on host
//! and target.

mod slot;

pub(crate) use slot::{
    carve, cut, halves, part, part_mut, slots, Element, Extent, Given, PerWorker, Piece, Rows, Slot,
};

use heapless::Vec;

use crate::error::Error;
use crate::tensor::ALIGN;

/// The phases of a forward pass in which a region is alive: from `first` to `last`, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    first: u8,
    last: u8,
}

impl Phases {
    /// One phase alone.
    pub const fn only(phase: u8) -> Self {
        Self { first: phase, last: phase }
    }

    /// All phases from `first` to `last`.
    pub const fn through(first: u8, last: u8) -> Self {
        Self { first, last }
    }
}

/// The most regions that a plan can hold.
pub const MAX_REGIONS: usize = 40;

/// Memory for the activations of a run, aligned as every plan requires. Put it into a `static`, or on the
/// heap of a host.
///
/// ```
/// static mut ARENA: vitreous::Arena<4096> = vitreous::Arena::new();
/// ```
#[repr(C, align(16))]
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Arena<const BYTES: usize> {
    bytes: [u8; BYTES],
}

impl<const BYTES: usize> Arena<BYTES> {
    /// An arena of zeros.
    pub const fn new() -> Self {
        Self { bytes: [0; BYTES] }
    }

    /// The memory itself.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl<const BYTES: usize> Default for Arena<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

/// A named part of the arena, alive from one phase of a forward pass to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Region {
    /// What it holds.
    pub name: &'static str,
    /// Start in the arena, in bytes.
    pub offset: usize,
    /// Length in bytes, a multiple of the alignment that the kernel table prefers.
    pub bytes: usize,
    /// First phase in which it is alive.
    pub first_phase: u8,
    /// Last phase in which it is alive.
    pub last_phase: u8,
}

impl Region {
    fn alive_in(&self, phases: Phases) -> bool {
        self.first_phase <= phases.last && phases.first <= self.last_phase
    }
}

/// Where each region lies. Regions that are never alive together may share memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    regions: Vec<Region, MAX_REGIONS>,
    /// Alignment in bytes: a power of two, at least [`ALIGN`]. Offset and length of a region are multiples.
    align: usize,
    arena_bytes: usize,
    /// A region did not fit into the address space, or there are more than [`MAX_REGIONS`].
    too_large: bool,
}

#[cfg(feature = "defmt")]
impl defmt::Format for Plan {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Plan {{ arena_bytes: {=usize}, regions: {=[?]} }}",
            self.arena_bytes,
            self.regions.as_slice()
        );
    }
}

impl Plan {
    /// An empty plan. `align` is the [`TableSpec::region_align`] of the kernels.
    ///
    /// [`TableSpec::region_align`]: crate::kernels::TableSpec::region_align
    pub(crate) fn new(align: usize) -> Self {
        Self { regions: Vec::new(), align, arena_bytes: 0, too_large: false }
    }

    /// Bytes of arena that the plan needs.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// All regions, in the order in which the architecture declares them.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Places `rows × width` elements at the lowest address that is free in all of their phases (first fit).
    /// Nothing is moved later, so architectures declare long-lived slots first. [`Plan::check_size`] tells
    /// whether there was room for all slots.
    #[inline(always)]
    pub(crate) fn slot<T: Element>(
        &mut self,
        name: &'static str,
        rows: usize,
        width: usize,
        phases: Phases,
    ) -> Slot<T> {
        Slot::new(self.single(name, rows, width, size_of::<T>(), phases), rows, width)
    }

    /// An area of one slot. `size` is that of an element in bytes, so that one function serves all types.
    #[inline(never)]
    fn single(
        &mut self,
        name: &'static str,
        rows: usize,
        width: usize,
        size: usize,
        phases: Phases,
    ) -> Extent {
        let mut area = self.area(phases);
        area.add(name, rows, width, size);
        area.place()
    }

    /// Begins an area: several slots that lie one behind the other and are alive in the same phases.
    pub(crate) fn area(&mut self, phases: Phases) -> Area<'_> {
        Area { first: self.regions.len(), plan: self, phases, bytes: 0 }
    }

    /// Succeeds if every region found room.
    pub(crate) fn check_size(&self) -> Result<(), Error> {
        if self.too_large {
            return Err(Error::PlanTooLarge);
        }
        Ok(())
    }

    /// The lowest offset at which `bytes` bytes are free in all of these phases. It considers only the first
    /// `count` regions, since those behind them are not placed yet.
    fn find_room(&self, bytes: usize, phases: Phases, count: usize) -> usize {
        let mut offset = 0;
        // A region that overlaps this place also overlaps every later place up to the region's end. So the
        // place can move to that end, whichever of the regions in its way comes first. Each pass but the last
        // moves it behind at least one of them, and there are no more of them than regions.
        for _ in 0..=MAX_REGIONS {
            let before = offset;
            for other in self.regions.iter().take(count) {
                let end = other.offset + other.bytes;
                let overlaps = other.offset < offset + bytes && offset < end;
                if overlaps && other.alive_in(phases) {
                    offset = end;
                }
            }
            if offset == before {
                break;
            }
        }
        offset
    }

    /// Checks size and alignment of `arena`. Returns as much of it as the plan needs, in words.
    pub(crate) fn check<'a>(&self, arena: &'a mut [u8]) -> Result<&'a mut [u32], Error> {
        self.check_size()?;
        if !(arena.as_ptr() as usize).is_multiple_of(ALIGN) {
            return Err(Error::ArenaMisaligned { required: ALIGN });
        }
        let found = arena.len();
        let arena = arena.get_mut(..self.arena_bytes);
        let arena = arena.ok_or(Error::ArenaTooSmall { needed: self.arena_bytes, found })?;
        bytemuck::try_cast_slice_mut(arena).map_err(|_| Error::ArenaMisaligned { required: ALIGN })
    }
}

/// An area that is being added to a plan.
pub(crate) struct Area<'p> {
    plan: &'p mut Plan,
    /// Number of its first region in the plan.
    first: usize,
    phases: Phases,
    /// Bytes of the slots so far.
    bytes: usize,
}

impl Area<'_> {
    /// Adds a slot of `rows × width` elements of `size` bytes. Returns how many words it takes.
    #[inline(never)]
    fn add(&mut self, name: &'static str, rows: usize, width: usize, size: usize) -> usize {
        let align = self.plan.align;
        let bytes = rows.checked_mul(width).and_then(|count| count.checked_mul(size));
        // Sizes below a quarter of the address space can be added up without overflow.
        let bytes =
            bytes.filter(|bytes| *bytes < usize::MAX / 4).map(|bytes| (bytes + (align - 1)) & !(align - 1));
        let end = bytes.and_then(|bytes| self.bytes.checked_add(bytes)).filter(|end| *end < usize::MAX / 4);
        let offset = self.bytes;
        let bytes = if end.is_some() { bytes.unwrap_or(0) } else { 0 };
        let Phases { first: first_phase, last: last_phase } = self.phases;
        let is_full =
            self.plan.regions.push(Region { name, offset, bytes, first_phase, last_phase }).is_err();
        self.plan.too_large |= end.is_none() || is_full;
        self.bytes = offset + bytes;
        bytes / size_of::<u32>()
    }

    /// Words of the slots that were added so far.
    pub(crate) fn words(&self) -> usize {
        self.bytes / size_of::<u32>()
    }

    /// Finds room for the area and moves its regions there.
    #[inline(never)]
    pub(crate) fn place(self) -> Extent {
        let Area { plan, first, phases, bytes } = self;
        let offset = plan.find_room(bytes, phases, first);
        match offset.checked_add(bytes).filter(|end| *end < usize::MAX / 4) {
            Some(end) => plan.arena_bytes = plan.arena_bytes.max(end),
            None => plan.too_large = true,
        }
        for region in plan.regions.iter_mut().skip(first) {
            region.offset = region.offset.saturating_add(offset);
        }
        Extent::of_bytes(offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_alive_together_never_overlap_and_others_share() {
        let mut plan = Plan::new(ALIGN);
        plan.slot::<u8>("a", 100, 1, Phases::through(0, 3));
        plan.slot::<i32>("b", 5, 10, Phases::only(0));
        let mut area = plan.area(Phases::through(1, 2));
        area.slot::<half::f16>("c", 2, 5);
        area.place();
        plan.slot::<f32>("d", 7, 1, Phases::through(2, 3));
        for (i, x) in plan.regions().iter().enumerate() {
            for y in plan.regions().iter().skip(i + 1) {
                assert!(
                    !x.alive_in(Phases::through(y.first_phase, y.last_phase))
                        || x.offset + x.bytes <= y.offset
                        || y.offset + y.bytes <= x.offset,
                    "{x:?} {y:?}"
                );
            }
        }
        assert_eq!(plan.regions()[2].offset, 112, "c takes over b's memory");
        assert_eq!(plan.arena_bytes(), 112 + 208);
    }

    #[test]
    fn sizes_beyond_the_address_space_are_refused() {
        let mut plan = Plan::new(ALIGN);
        plan.slot::<f32>("x", usize::MAX / 2, 4, Phases::only(0));
        plan.slot::<f32>("y", 1, 1, Phases::only(0));
        assert_eq!(plan.check_size(), Err(Error::PlanTooLarge));
    }

    #[test]
    fn one_byte_short_is_refused() {
        let mut plan = Plan::new(ALIGN);
        plan.slot::<u8>("a", 64, 1, Phases::only(0));
        let mut arena = Arena::<64>::new();
        assert!(plan.check(arena.bytes_mut()).is_ok());
        assert_eq!(
            plan.check(&mut arena.bytes_mut()[..63]),
            Err(Error::ArenaTooSmall { needed: 64, found: 63 })
        );
        assert_eq!(plan.check(&mut arena.bytes_mut()[1..]), Err(Error::ArenaMisaligned { required: 16 }));
    }
}
