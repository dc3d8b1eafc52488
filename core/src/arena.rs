//! The arena: one piece of memory for all activations, planned to the byte, the same on host and target.

use heapless::Vec;

use crate::error::Error;
use crate::tensor::ALIGN;

/// Most regions that a plan can hold.
pub const MAX_REGIONS: usize = 42;

/// Most regions that a stage can ask for at a time.
const MAX_VIEWS: usize = 24;

/// Memory for activations, aligned as every plan needs it. Put it into a `static` or on the heap of a host.
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

/// A named piece of the arena, alive from one phase of a forward pass to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Region {
    /// What it holds.
    pub name: &'static str,
    /// Start in the arena.
    pub offset: usize,
    /// Length in bytes, a multiple of the alignment that the kernel table likes best.
    pub bytes: usize,
    /// First phase in which it is alive.
    pub first_phase: u8,
    /// Last phase in which it is alive.
    pub last_phase: u8,
}

impl Region {
    fn alive_with(&self, other: &Region) -> bool {
        self.first_phase <= other.last_phase && other.first_phase <= self.last_phase
    }

    fn range(&self) -> core::ops::Range<usize> {
        self.offset..self.offset + self.bytes
    }
}

/// Where each region lies. Regions that are never alive together may share memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    regions: Vec<Region, MAX_REGIONS>,
    /// A power of two, [`ALIGN`] at least, of which each region's offset and length are multiples.
    align: usize,
    arena_bytes: usize,
    /// A region found no room.
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
    /// Nothing yet; `align` is the [`TableSpec::region_align`] of the kernels.
    ///
    /// [`TableSpec::region_align`]: crate::kernels::TableSpec::region_align
    pub(crate) fn new(align: usize) -> Self {
        Self { regions: Vec::new(), align, arena_bytes: 0, too_large: false }
    }

    /// Bytes of arena that the plan needs.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// All regions, in the order in which the architecture numbers them.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Places a region of `count` elements of `size` bytes each at the lowest address that is free in all of
    /// its phases (first fit; architectures name long-lived regions first, so nothing is ever moved).
    /// [`Plan::checked`] tells whether there was room for all.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        count: usize,
        size: usize,
        phases: core::ops::RangeInclusive<u8>,
    ) {
        self.too_large |= self.place(name, count, size, phases).is_none();
    }

    /// The plan, if no region exceeded the address space.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        if self.too_large {
            return Err(Error::PlanTooLarge);
        }
        Ok(self)
    }

    #[inline(never)]
    fn place(
        &mut self,
        name: &'static str,
        count: usize,
        size: usize,
        phases: core::ops::RangeInclusive<u8>,
    ) -> Option<()> {
        // A quarter of the address space leaves room for every sum below.
        let bytes = count.checked_mul(size).filter(|b| *b < usize::MAX / 4)?;
        let mut region = Region {
            name,
            offset: 0,
            bytes: (bytes + (self.align - 1)) & !(self.align - 1),
            first_phase: *phases.start(),
            last_phase: *phases.end(),
        };
        // Whatever overlaps a place overlaps all places up to its end, so the region may move there, in
        // whichever order obstacles are met. Each pass but the last moves it behind at least one; there are
        // at most as many obstacles as regions.
        for _ in 0..=MAX_REGIONS {
            let before = region.offset;
            for other in &self.regions {
                let end = other.offset + other.bytes;
                let overlaps = other.offset < region.offset + region.bytes && region.offset < end;
                if overlaps && other.alive_with(&region) {
                    region.offset = end;
                }
            }
            if region.offset == before {
                break;
            }
        }
        let end = region.offset.checked_add(region.bytes).filter(|e| *e < usize::MAX / 4)?;
        self.arena_bytes = self.arena_bytes.max(end);
        self.regions.push(region).ok()
    }

    /// The memory of several regions that are alive together, in the order asked for.
    pub(crate) fn views<'a, const N: usize>(
        &self,
        arena: &'a mut [u8],
        ids: [usize; N],
    ) -> Result<[&'a mut [u8]; N], Error> {
        let mut views = core::array::from_fn(|_| [].as_mut_slice());
        self.carve(arena, &ids, &mut views)?;
        Ok(views)
    }

    /// Cuts regions off the front of the arena, from the lowest to the highest. One function for any number
    /// of them: a model's stages all ask for another.
    fn carve<'a>(&self, arena: &'a mut [u8], ids: &[usize], views: &mut [&'a mut [u8]]) -> Result<(), Error> {
        if !self.is_ascending(ids)? {
            return self.carve_in_any_order(arena, ids, views);
        }
        let mut rest = Rest { bytes: arena, base: 0 };
        for (id, view) in ids.iter().zip(views) {
            *view = rest.cut(self.regions.get(*id).ok_or(Error::Internal(2))?)?;
        }
        Ok(())
    }

    #[inline(never)]
    fn carve_in_any_order<'a>(
        &self,
        arena: &'a mut [u8],
        ids: &[usize],
        views: &mut [&'a mut [u8]],
    ) -> Result<(), Error> {
        let mut rest = Rest { bytes: arena, base: 0 };
        let mut order = [(0, 0); MAX_VIEWS];
        self.sort(ids, &mut order)?;
        for &(_, number) in order.iter().take(ids.len()) {
            let region = ids.get(number).and_then(|id| self.regions.get(*id)).ok_or(Error::Internal(2))?;
            *views.get_mut(number).ok_or(Error::Internal(3))? = rest.cut(region)?;
        }
        Ok(())
    }

    /// Whether regions are asked for in the order in which they lie. Most stages do; then there is nothing to
    /// sort.
    fn is_ascending(&self, ids: &[usize]) -> Result<bool, Error> {
        let mut base = 0;
        for id in ids {
            let region = self.regions.get(*id).ok_or(Error::Internal(2))?;
            if region.bytes > 0 {
                if region.offset < base {
                    return Ok(false);
                }
                base = region.offset + region.bytes;
            }
        }
        Ok(true)
    }

    /// Offsets of the regions asked for, and their numbers, by offset. They are nearly in order: each finds
    /// its place within a few steps.
    fn sort(&self, ids: &[usize], order: &mut [(usize, usize)]) -> Result<(), Error> {
        for (number, id) in ids.iter().enumerate() {
            let offset = self.regions.get(*id).ok_or(Error::Internal(2))?.offset;
            let mut at = number;
            while let Some(before) = at.checked_sub(1) {
                let Some(lower) = order.get(before).copied().filter(|(lower, _)| *lower > offset) else {
                    break;
                };
                *order.get_mut(at).ok_or(Error::Internal(3))? = lower;
                at = before;
            }
            *order.get_mut(at).ok_or(Error::Internal(3))? = (offset, number);
        }
        Ok(())
    }

    /// One region, to read.
    pub(crate) fn view<'a>(&self, arena: &'a [u8], id: usize) -> Result<&'a [u8], Error> {
        let region = self.regions.get(id).ok_or(Error::Internal(4))?;
        arena.get(region.range()).ok_or(Error::Internal(5))
    }

    /// Checks size and alignment of the memory given, and cuts it to the plan's size.
    pub(crate) fn check<'a>(&self, arena: &'a mut [u8]) -> Result<&'a mut [u8], Error> {
        if !(arena.as_ptr() as usize).is_multiple_of(ALIGN) {
            return Err(Error::ArenaMisaligned { required: ALIGN });
        }
        let found = arena.len();
        arena.get_mut(..self.arena_bytes).ok_or(Error::ArenaTooSmall { needed: self.arena_bytes, found })
    }
}

/// What is left of the arena, from address `base` on.
struct Rest<'a> {
    bytes: &'a mut [u8],
    base: usize,
}

impl<'a> Rest<'a> {
    #[inline(always)]
    fn cut(&mut self, region: &Region) -> Result<&'a mut [u8], Error> {
        // An empty region may lie anywhere, but must be as aligned as the others: it gets the place where the
        // last one ended.
        let start = if region.bytes == 0 { self.base } else { region.offset };
        // A region that overlaps the one before it begins below the base.
        let gap = start.checked_sub(self.base).ok_or(Error::Internal(3))?;
        let (found, tail) = core::mem::take(&mut self.bytes)
            .get_mut(gap..)
            .and_then(|rest| rest.split_at_mut_checked(region.bytes))
            .ok_or(Error::Internal(3))?;
        (self.bytes, self.base) = (tail, start + region.bytes);
        Ok(found)
    }
}

/// Bytes as elements of another plain type.
pub(crate) fn cast<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Result<&[T], Error> {
    bytemuck::try_cast_slice(bytes).map_err(|_| Error::Internal(6))
}

/// Bytes as elements of another plain type, to write.
pub(crate) fn cast_mut<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
    bytes: &mut [u8],
) -> Result<&mut [T], Error> {
    bytemuck::try_cast_slice_mut(bytes).map_err(|_| Error::Internal(7))
}

/// The elements `from..from + count` of a slice that the plan has sized.
pub(crate) fn part<T>(slice: &[T], from: usize, count: usize) -> Result<&[T], Error> {
    slice.get(from..from + count).ok_or(Error::Internal(40))
}

/// The same, to write.
pub(crate) fn part_mut<T>(slice: &mut [T], from: usize, count: usize) -> Result<&mut [T], Error> {
    slice.get_mut(from..from + count).ok_or(Error::Internal(41))
}

/// The elements `from..from + count` of a region that the plan has sized.
#[inline(always)]
pub(crate) fn typed<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
    region: &mut [u8],
    from: usize,
    count: usize,
) -> Result<&mut [T], Error> {
    find(region, from, count).ok_or(Error::Internal(41))
}

/// Not inlined, since there are many, and an `Option` comes back in registers.
#[inline(never)]
fn find<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
    region: &mut [u8],
    from: usize,
    count: usize,
) -> Option<&mut [T]> {
    bytemuck::try_cast_slice_mut(region).ok()?.get_mut(from..from + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_alive_together_never_overlap_and_others_share() {
        let mut plan = Plan::new(ALIGN);
        plan.add("a", 100, 1, 0..=3);
        plan.add("b", 50, 4, 0..=0);
        plan.add("c", 10, 2, 1..=2);
        plan.add("d", 7, 4, 2..=3);
        for (i, x) in plan.regions().iter().enumerate() {
            for y in plan.regions().iter().skip(i + 1) {
                assert!(
                    !x.alive_with(y) || x.offset + x.bytes <= y.offset || y.offset + y.bytes <= x.offset,
                    "{x:?} {y:?}"
                );
            }
        }
        assert_eq!(plan.regions()[2].offset, 112, "c takes over b's memory");
        assert_eq!(plan.arena_bytes(), 112 + 208);
    }

    #[test]
    fn views_are_the_regions_in_any_order_and_empty_ones_are_aligned() {
        let mut plan = Plan::new(ALIGN);
        for (name, count) in [("a", 16), ("empty", 0), ("b", 32), ("c", 4)] {
            plan.add(name, count, 4, 0..=0);
        }
        let mut arena = Arena::<256>::new();
        let [b, empty, c, a] = plan.views(arena.bytes_mut(), [2, 1, 3, 0]).unwrap();
        assert_eq!([a.len(), empty.len(), b.len(), c.len()], [64, 0, 128, 16]);
        assert_eq!(
            (a.as_ptr() as usize + 64, b.as_ptr() as usize + 128),
            (b.as_ptr() as usize, c.as_ptr() as usize)
        );
        assert_eq!(cast_mut::<i32>(empty).unwrap(), []);
        assert_eq!(plan.views(arena.bytes_mut(), [0, 0]).err(), Some(Error::Internal(3)), "twice the same");
    }

    #[test]
    fn sizes_beyond_the_address_space_are_refused() {
        let mut plan = Plan::new(ALIGN);
        plan.add("x", usize::MAX / 2, 4, 0..=0);
        plan.add("y", 1, 4, 0..=0);
        assert_eq!(plan.checked().err(), Some(Error::PlanTooLarge));
    }

    #[test]
    fn one_byte_short_is_refused() {
        let mut plan = Plan::new(ALIGN);
        plan.add("a", 64, 1, 0..=0);
        let mut arena = Arena::<64>::new();
        assert!(plan.check(arena.bytes_mut()).is_ok());
        assert_eq!(
            plan.check(&mut arena.bytes_mut()[..63]),
            Err(Error::ArenaTooSmall { needed: 64, found: 63 })
        );
        assert_eq!(plan.check(&mut arena.bytes_mut()[1..]), Err(Error::ArenaMisaligned { required: 16 }));
    }
}
