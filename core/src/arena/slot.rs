//! Slots: typed places in the arena. A slot knows where it lies, its element type and its shape.

use core::marker::PhantomData;

use bytemuck::{must_cast_slice, must_cast_slice_mut, AnyBitPattern, NoUninit};

use super::Area;
use crate::error::Fault;
use crate::fork::{Share, Split};

/// A type whose values can lie in the arena: every bit pattern is valid, and no value is larger than a word.
pub(crate) trait Element: AnyBitPattern + NoUninit {
    fn of_words(words: &[u32]) -> &[Self];
    fn of_words_mut(words: &mut [u32]) -> &mut [Self];
}

macro_rules! elements {
    ($($element:ty),+) => {$(
        impl Element for $element {
            #[inline(always)]
            fn of_words(words: &[u32]) -> &[Self] {
                must_cast_slice(words)
            }

            #[inline(always)]
            fn of_words_mut(words: &mut [u32]) -> &mut [Self] {
                must_cast_slice_mut(words)
            }
        }
    )+};
}
elements!(u8, i8, i16, i32, f32, half::f16);

/// A range of the arena, in words of 32 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(super) offset: usize,
    pub(super) words: usize,
}

impl Extent {
    /// No words.
    pub const EMPTY: Self = Self { offset: 0, words: 0 };

    /// Its first `words` words, and the others.
    pub fn split(self, words: usize) -> (Self, Self) {
        let words = words.min(self.words);
        let others = Self { offset: self.offset + words, words: self.words - words };
        (Self { words, ..self }, others)
    }

    /// Both are multiples of the alignment of regions, and so of a word.
    pub(super) const fn of_bytes(offset: usize, bytes: usize) -> Self {
        Self { offset: offset / size_of::<u32>(), words: bytes / size_of::<u32>() }
    }
}

/// A place in the arena for `rows × width` elements. The plan returns it where the slot is declared, so that
/// type and shape are stated once.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    place: Extent,
    rows: usize,
    width: usize,
    element: PhantomData<fn() -> T>,
}

// Derived, these would ask for `T: Clone`.
impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slot<T> {}

impl<T> Slot<T> {
    /// A slot without memory.
    pub const EMPTY: Self = Self::new(Extent::EMPTY, 0, 0);

    /// `rows × width` elements at a place that has room for them.
    pub(super) const fn new(place: Extent, rows: usize, width: usize) -> Self {
        Self { place, rows, width, element: PhantomData }
    }

    /// Where it lies.
    #[inline(always)]
    pub fn extent(&self) -> Extent {
        self.place
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Which row of this ring buffer holds row `row` of an image.
    pub fn ring_row(&self, row: usize) -> usize {
        row.checked_rem(self.rows).unwrap_or(0)
    }
}

impl<T: Element> Slot<T> {
    /// Its words as rows. A few unused elements may follow them, since regions are rounded up.
    #[inline(always)]
    pub fn view<'a>(&self, words: &'a mut [u32]) -> Result<Rows<'a, T>, Fault> {
        Ok(Rows { data: T::of_words_mut(words), width: self.width })
    }

    /// All `rows × width` elements, to be read.
    pub fn read<'a>(&self, arena: &'a [u32]) -> Result<&'a [T], Fault> {
        let Extent { offset, words } = self.place;
        part(T::of_words(part(arena, offset, words)?), 0, self.rows * self.width)
    }
}

/// A slot of an area. It lies behind the slots that are declared before it, so it has no offset of its own.
#[derive(Debug)]
pub(crate) struct Piece<T> {
    words: usize,
    width: usize,
    element: PhantomData<fn() -> T>,
}

// Derived, these would ask for `T: Clone`.
impl<T> Clone for Piece<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Piece<T> {}

impl<T> Piece<T> {
    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of its words.
    pub fn words(&self) -> usize {
        self.words
    }
}

impl<T: Element> Piece<T> {
    /// Takes its rows off the front of the area, which keeps the rest. A few unused elements may follow the
    /// rows, as in [`Slot::view`].
    #[inline(always)]
    pub fn take<'a>(&self, area: &mut &'a mut [u32]) -> Result<Rows<'a, T>, Fault> {
        let words = area.split_off_mut(..self.words).ok_or(Fault::Slot)?;
        Ok(Rows { data: T::of_words_mut(words), width: self.width })
    }
}

/// Declares the slots of one block, which lie one behind the other. The first struct holds the slots, which
/// [`Plan::area`](super::Plan::area) places. The second struct holds their views, which [`carve`] makes of
/// the arena. Each view is [`Rows`] or [`PerWorker`].
///
/// With `tile` in front of the names, the views can be cut to the rows of a tile (method `tile`) and divided
/// between workers ([`Split`]).
macro_rules! slots {
    (
        $(#[$doc:meta])* tile $name:ident => $views:ident {
            $($(#[$field_doc:meta])* $field:ident: $view:ident<$element:ty>,)+
        }
    ) => {
        $crate::arena::slots! {
            $(#[$doc])* $name => $views { $($(#[$field_doc])* $field: $view<$element>,)+ }
        }

        impl $views<'_> {
            /// The memory of a tile of `count` rows.
            #[inline(always)]
            pub fn tile(self, count: usize) -> Result<Self, $crate::Fault> {
                Ok(Self { $($field: self.$field.tile(0, count)?),+ })
            }
        }

        $crate::fork::split_fields!($views { $($field),+ });
    };
    (
        $(#[$doc:meta])* $name:ident => $views:ident {
            $($(#[$field_doc:meta])* $field:ident: $view:ident<$element:ty>,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name {
            pub area: $crate::arena::Extent,
            $($(#[$field_doc])* pub $field: $crate::arena::Piece<$element>,)+
        }

        #[doc = concat!("Views of [`", stringify!($name), "`].")]
        pub(crate) struct $views<'a> {
            $(pub $field: $crate::arena::$view<'a, $element>,)+
        }

        impl $name {
            /// Where the slots lie.
            #[inline(always)]
            pub fn extent(&self) -> $crate::arena::Extent {
                self.area
            }

            /// Divides the words of the area into the views of its slots.
            #[inline]
            pub fn view<'a>(&self, words: &'a mut [u32]) -> Result<$views<'a>, $crate::Fault> {
                let mut rest = words;
                $(let $field = self.$field.take(&mut rest)?.into();)+
                Ok($views { $($field),+ })
            }
        }
    };
}
pub(crate) use slots;

/// Rows of `width` elements, one behind the other.
#[derive(Debug)]
pub(crate) struct Rows<'a, T> {
    pub data: &'a mut [T],
    pub width: usize,
}

impl<'a, T> Rows<'a, T> {
    /// `count` rows from row `first` on.
    #[inline]
    pub fn tile(self, first: usize, count: usize) -> Result<Self, Fault> {
        let width = self.width;
        Ok(Rows { data: part_mut(self.data, first * width, count * width)?, width })
    }

    /// The same memory as `count` rows of another width. The slot has room for the widest.
    #[inline]
    pub fn of_width(self, count: usize, width: usize) -> Result<Self, Fault> {
        Ok(Rows { data: part_mut(self.data, 0, count * width)?, width })
    }

    /// The rows before row `at`, and the others.
    #[inline]
    pub fn cut(self, at: usize) -> Result<(Self, Self), Fault> {
        let width = self.width;
        let (left, right) = halves(self.data, at.saturating_mul(width))?;
        Ok((Rows { data: left, width }, Rows { data: right, width }))
    }
}

impl<T: Send> Split for Rows<'_, T> {
    fn split(self, at: usize, _: Share) -> Result<(Self, Self), Fault> {
        self.cut(at)
    }
}

/// Scratch memory: one row of `width` elements for each worker.
#[derive(Debug)]
pub(crate) struct PerWorker<'a, T> {
    pub data: &'a mut [T],
    width: usize,
}

impl<'a, T> From<Rows<'a, T>> for PerWorker<'a, T> {
    #[inline(always)]
    fn from(Rows { data, width }: Rows<'a, T>) -> Self {
        Self { data, width }
    }
}

impl<T> PerWorker<'_, T> {
    /// All of the scratch, since it does not depend on the rows of a tile.
    #[inline(always)]
    pub fn tile(self, _: usize, _: usize) -> Result<Self, Fault> {
        Ok(self)
    }
}

impl<T: Send> Split for PerWorker<'_, T> {
    fn split(self, _: usize, share: Share) -> Result<(Self, Self), Fault> {
        let (left, right) = Rows { data: self.data, width: self.width }.cut(share.left)?;
        Ok((left.into(), right.into()))
    }
}

/// Rows outside the arena, to be read. `data` is empty where there are none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a, T> {
    pub data: &'a [T],
    pub width: usize,
}

impl<T: Sync> Split for Given<'_, T> {
    fn split(self, at: usize, _: Share) -> Result<(Self, Self), Fault> {
        let (left, right) = self.data.split_at(self.data.len().min(at * self.width));
        Ok((Self { data: left, ..self }, Self { data: right, ..self }))
    }
}

/// The elements `from..from + count` of a slice that the plan or the loader has sized.
#[inline(always)]
pub(crate) fn part<T>(slice: &[T], from: usize, count: usize) -> Result<&[T], Fault> {
    slice.get(from..from + count).ok_or(Fault::Shape)
}

/// The elements `from..from + count` of such a slice, to be written.
#[inline(always)]
pub(crate) fn part_mut<T>(slice: &mut [T], from: usize, count: usize) -> Result<&mut [T], Fault> {
    slice.get_mut(from..from + count).ok_or(Fault::Shape)
}

/// The elements before element `at`, and the others.
#[inline(always)]
pub(crate) fn halves<T>(slice: &mut [T], at: usize) -> Result<(&mut [T], &mut [T]), Fault> {
    slice.split_at_mut_checked(at).ok_or(Fault::Shape)
}

/// Takes several slots and areas out of the arena at once, and binds the rows of each to a name:
///
/// ```ignore
/// carve!(arena => tokens: slots.tokens, mlp: slots.mlp);
/// ```
macro_rules! carve {
    ($arena:expr => $($name:ident: $slot:expr),+ $(,)?) => {
        let [$($name),+] = $crate::arena::cut($arena, [$($slot.extent()),+])?;
        $(let $name = $slot.view($name)?;)+
    };
}
pub(crate) use carve;

/// The words of several ranges of the arena, in the order of `pieces`. Ranges that overlap are a fault.
#[inline(always)]
pub(crate) fn cut<const N: usize>(arena: &mut [u32], pieces: [Extent; N]) -> Result<[&mut [u32]; N], Fault> {
    let mut views = core::array::from_fn(|_| [].as_mut_slice());
    cut_into(arena, &pieces, &mut views)?;
    Ok(views)
}

/// Cuts pieces off the front of the arena, from the lowest to the highest. It takes slices, so that one
/// function serves any number of pieces: each stage asks for a different number.
#[inline(never)]
fn cut_into<'a>(arena: &'a mut [u32], pieces: &[Extent], views: &mut [&'a mut [u32]]) -> Result<(), Fault> {
    let mut rest = Rest::of(arena);
    if is_ascending(pieces) {
        for (piece, view) in pieces.iter().zip(views) {
            *view = rest.cut(piece)?;
        }
        return Ok(());
    }
    let mut left = pieces.iter().filter(|piece| piece.words > 0).count();
    while left > 0 {
        // The lowest piece that is not cut yet. Such pieces begin where the last one ended, or behind. There
        // are only a few, so the search is short.
        let (mut lowest, mut at) = (usize::MAX, usize::MAX);
        for (number, piece) in pieces.iter().enumerate() {
            if piece.words > 0 && piece.offset >= rest.base && piece.offset < lowest {
                (lowest, at) = (piece.offset, number);
            }
        }
        let (Some(piece), Some(view)) = (pieces.get(at), views.get_mut(at)) else {
            return Err(Fault::Slot);
        };
        *view = rest.cut(piece)?;
        left -= 1;
    }
    Ok(())
}

/// Whether the pieces are in the order in which they lie. Those of most stages are.
fn is_ascending(pieces: &[Extent]) -> bool {
    let mut base = 0;
    pieces.iter().filter(|piece| piece.words > 0).all(|piece| {
        let is_behind = piece.offset >= base;
        base = piece.offset + piece.words;
        is_behind
    })
}

/// The words of the arena that are not cut off yet, from word `base` on.
struct Rest<'a> {
    words: &'a mut [u32],
    base: usize,
}

impl<'a> Rest<'a> {
    fn of(words: &'a mut [u32]) -> Self {
        Self { words, base: 0 }
    }

    #[inline(always)]
    fn cut(&mut self, piece: &Extent) -> Result<&'a mut [u32], Fault> {
        if piece.words == 0 {
            return Ok(&mut []);
        }
        // A piece that overlaps the one before it begins below `base`. The gap then wraps to a huge number,
        // which is beyond the end.
        let gap = piece.offset.wrapping_sub(self.base);
        let (found, tail) = core::mem::take(&mut self.words)
            .get_mut(gap..)
            .and_then(|rest| rest.split_at_mut_checked(piece.words))
            .ok_or(Fault::Slot)?;
        (self.words, self.base) = (tail, piece.offset + piece.words);
        Ok(found)
    }
}

impl Area<'_> {
    /// Adds a slot of `rows × width` elements behind those that were added before.
    #[inline(always)]
    pub fn slot<T: Element>(&mut self, name: &'static str, rows: usize, width: usize) -> Piece<T> {
        Piece { words: self.add(name, rows, width, size_of::<T>()), width, element: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Arena, Phases, Plan};
    use crate::tensor::ALIGN;

    slots! {
        /// Two slots of different element types.
        PairSlots => Pair {
            first: Rows<f32>,
            second: Rows<half::f16>,
        }
    }

    #[test]
    fn slots_come_back_by_name_in_any_order_and_empty_ones_anywhere() -> Result<(), crate::Error> {
        let mut plan = Plan::new(ALIGN);
        let a = plan.slot::<f32>("a", 4, 4, Phases::only(0));
        let empty = plan.slot::<i32>("empty", 0, 9, Phases::only(0));
        let mut area = plan.area(Phases::only(0));
        let (first, second) = (area.slot("first", 2, 3), area.slot("second", 1, 3));
        let pair = PairSlots { first, second, area: area.place() };
        let b = plan.slot::<i8>("b", 3, 7, Phases::only(0));
        let mut arena = Arena::<256>::new();
        let arena = plan.check(arena.bytes_mut())?;
        carve!(arena => pair_view: pair, empty_view: empty, a_view: a, b_view: b);
        assert_eq!([a_view.data.len(), b_view.data.len(), empty_view.data.len()], [16, 32, 0]);
        assert_eq!([pair_view.first.data.len(), pair_view.second.data.len()], [8, 8]);
        a_view.tile(1, 3)?.data.fill(1.0);
        b_view.tile(2, 1)?.data.fill(2);
        pair_view.second.data.fill(half::f16::ONE);
        assert_eq!(a.read(arena)?.iter().sum::<f32>(), 12.0);
        assert_eq!(b.read(arena)?[13..15], [0, 2]);
        carve!(arena => pair_view: pair);
        assert_eq!(pair_view.second.tile(0, 1)?.data, [half::f16::ONE; 3]);
        assert_eq!(cut(arena, [a.extent(), a.extent()]).err(), Some(Fault::Slot));
        Ok(())
    }

    #[test]
    fn rows_beyond_the_slot_are_refused() {
        fn rows(data: &mut [u8]) -> Rows<'_, u8> {
            Rows { data, width: 3 }
        }
        let fault = Some(Fault::Shape);
        let mut data = [0u8; 12];
        assert_eq!(rows(&mut data).tile(2, 3).err(), fault);
        assert_eq!(rows(&mut data).cut(5).err(), fault);
        assert_eq!(rows(&mut data).of_width(2, 7).err(), fault);
        assert_eq!(rows(&mut data).tile(1, 2).map(|rows| rows.data.len()), Ok(6));
        assert_eq!(rows(&mut data).of_width(4, 2).map(|rows| rows.data.len()), Ok(8));
    }
}
