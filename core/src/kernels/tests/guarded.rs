//! Safe callers can state any shape. Whatever it is, no function of a table may read or write outside of the
//! views that it was given, and none may panic. To find such accesses, each view lies between two pages that
//! nobody may touch.

use std::array::from_fn;
use std::vec;

use rustix::mm::{mmap_anonymous, mprotect, munmap, MapFlags, MprotectFlags, ProtFlags};
use rustix::param::page_size;

use super::calls::{call, AREA, AREAS};
use super::{padded, tables, Attention, AttentionScratch, Kernels, Numbers, RowsI8, PORTABLE};

/// Memory between two pages that nobody may touch.
struct Guarded {
    start: *mut u8,
    length: usize,
}

impl Guarded {
    /// Random bytes, [`AREA`] of them, or a page where pages are larger.
    fn new(numbers: &mut Numbers) -> Self {
        let length = AREA.next_multiple_of(page_size());
        let all = length + 2 * page_size();
        // SAFETY: new memory, at no address of ours.
        let before =
            unsafe { mmap_anonymous(core::ptr::null_mut(), all, ProtFlags::empty(), MapFlags::PRIVATE) };
        let start = before.expect("memory").cast::<u8>().wrapping_add(page_size());
        // SAFETY: whole pages of that memory, to which there are no references yet.
        unsafe { mprotect(start.cast(), length, MprotectFlags::READ | MprotectFlags::WRITE).expect("pages") };
        let mut memory = Self { start, length };
        memory.bytes().fill_with(|| numbers.bits() as u8);
        memory
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: pages that can be read and written, as long as this lives, and reached through it alone.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let before = self.start.wrapping_sub(page_size());
        // SAFETY: all of what `new` has mapped, to which there are no references any more.
        let _ = unsafe { munmap(before.cast(), self.length + 2 * page_size()) };
    }
}

/// Makes `calls` calls of each table's functions.
fn call_all(calls: u64) {
    for table in tables().chain([&PORTABLE]) {
        let mut numbers = Numbers(0);
        let mut memory: [Guarded; AREAS] = from_fn(|_| Guarded::new(&mut numbers));
        for seed in 0..calls {
            let mut numbers = Numbers(seed);
            let areas = memory.each_mut().map(Guarded::bytes);
            let written = call(table, areas, &mut || numbers.bits());
            assert_eq!(written, None, "{} writes outside: call {seed}", table.spec.name);
        }
    }
}

#[test]
fn wrong_shapes_touch_nothing_outside() {
    call_all(60_000);
}

#[test]
#[ignore = "takes minutes: before a release, and under AddressSanitizer"]
fn wrong_shapes_touch_nothing_outside_in_many_calls() {
    call_all(2_000_000);
}

/// The width of such a head times sixteen wraps to a small number, for which there is memory enough.
#[test]
fn a_head_too_wide_for_any_memory_is_not_attended_to() {
    for table in tables().chain([&PORTABLE]) {
        for shift in 1..8 {
            for less in [0, 1, 16] {
                attend_wide(table, (1 << (usize::BITS - shift)) + 16 - less);
            }
        }
        for head_dim in [usize::MAX, isize::MAX as usize, usize::MAX - 15, usize::MAX - 16] {
            attend_wide(table, head_dim);
        }
    }
}

fn attend_wide(table: &Kernels, head_dim: usize) {
    let (queries, keys, values) = (vec![0i8; 256], vec![0i8; 512], vec![0i32; 256]);
    let (scales, mut out) = (vec![1.0; 16], vec![7.0; 64]);
    for pitch in [head_dim, padded(head_dim)] {
        let attention = Attention {
            queries: RowsI8 { data: &queries, scales: &scales[..3], zero_points: &[], pitch },
            head_dim,
            factor: 1.0,
            keys: &keys,
            key_scales: &scales,
            values: bytemuck::cast_slice(&values),
            relative_scales: &scales,
            value_scale: 1.0,
        };
        let (mut scores, mut weights, mut sums) = (vec![0.0; 256], vec![0; 256], vec![0; 256]);
        let mut scratch = AttentionScratch { scores: &mut scores, weights: &mut weights, sums: &mut sums };
        (table.attend)(&attention, &mut scratch, &mut out);
        assert!(out.iter().all(|out| *out == 7.0), "{}: {head_dim:#x}", table.spec.name);
    }
}
