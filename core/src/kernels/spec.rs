//! What a memory plan and a converter must know of a kernel table. These facts are available on every
//! machine, even on one that lacks the table's instructions: a host plans and packs for a target.

use super::choice::Processor;
use crate::tensor::{padded, PanelLayout, ALIGN};

/// Name, weight layout and memory of a kernel table.
#[derive(Debug)]
pub struct TableSpec {
    /// Name, as users type it: `portable`, `avx2`, `avx512-vnni`, …
    pub name: &'static str,
    /// The weight layout that the int8 kernels are fastest with.
    pub layout: PanelLayout,
    /// Whether the int8 kernels can read every other layout as well.
    pub reads_every_layout: bool,
    /// Alignment of the arena's regions, in bytes, that keeps a load of a whole register within one cache
    /// line. A power of two, at least [`ALIGN`].
    pub region_align: usize,
    /// The byte that int8 activations are XORed with in memory ([`RowsI8`]): 0, or −128 for instructions that
    /// take unsigned bytes, where 128 stands for zero (offset binary).
    ///
    /// [`RowsI8`]: crate::tensor::RowsI8
    pub input_flip: i8,
    /// Whether the table's machines have memory to spare. If so, a run with several workers holds keys and
    /// values of many heads at a time, and no piece of memory serves two purposes.
    pub has_room: bool,
    /// Number of rows at a time with which the layer norm is fastest.
    pub norm_rows: usize,
    /// Memory that attention takes in one head: a function of the number of tokens and of head_dim.
    pub attention_memory: fn(usize, usize) -> AttentionMemory,
    /// Number of i32 of scratch that an int8 linear layer needs: a function of the rows' pitch.
    pub linear_scratch: fn(usize) -> usize,
}

/// Bytes that attention takes in one head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AttentionMemory {
    /// All keys.
    pub keys: usize,
    /// All values.
    pub values: usize,
    /// Scores of the queries that are computed at a time (f32).
    pub scores: usize,
    /// Their softmax weights (i16).
    pub weights: usize,
    /// Their weighted sums (i32).
    pub sums: usize,
}

impl TableSpec {
    /// Whether the int8 kernels can read a weight layout.
    pub const fn reads(&self, layout: PanelLayout) -> bool {
        let is_own = layout.nr == self.layout.nr && layout.kr == self.layout.kr;
        is_own || (self.reads_every_layout && layout.is_valid())
    }

    /// The table for which a file of this layout is planned by default: the table of bare-metal targets with
    /// this layout, or `portable` if there is none. (A host plans for the table that it runs.)
    pub fn of_layout(layout: PanelLayout) -> &'static TableSpec {
        ON_TARGETS.into_iter().find(|spec| spec.layout == layout).unwrap_or(&PORTABLE)
    }

    /// The table that a build for a target has: a triple such as `thumbv7em-none-eabihf`, the core that
    /// `-C target-cpu` names, and features as `-C target-feature` takes them (`+dotprod,-neon`; empty if it
    /// is not given). Targets that this crate does not know have [`PORTABLE`]. So has x86-64, whose tables
    /// are picked at run time.
    pub fn of_target(target: &str, cpu: Option<&str>, features: &str) -> &'static TableSpec {
        Processor { target, cpu, features }.table().and_then(Self::find).unwrap_or(&PORTABLE)
    }

    /// What `vitreous convert --for` takes to write a file in this table's layout.
    pub fn convert_for(&self) -> &'static str {
        match self.name {
            "cortex-m-dsp" => "cortex-m4",
            "cortex-m-helium" => "cortex-m55",
            "soft-float" => "cortex-m0",
            "neon" | "neon-dotprod" => "aarch64",
            "avx2" | "avx512-vnni" => "x86-64",
            _ => "portable",
        }
    }

    /// The table of this name, of any machine.
    pub fn find(name: &str) -> Option<&'static TableSpec> {
        [&PORTABLE, &AVX2, &AVX512_VNNI, &NEON].into_iter().chain(ON_TARGETS).find(|spec| spec.name == name)
    }
}

/// Tables that are picked at compile time. Of several with one layout, this lists the one that takes the most
/// memory.
const ON_TARGETS: [&TableSpec; 4] = [&CORTEX_M_DSP, &CORTEX_M_HELIUM, &SOFT_FLOAT, &NEON_DOTPROD];

/// Plain Rust, on every machine.
pub static PORTABLE: TableSpec = TableSpec {
    name: "portable",
    layout: PanelLayout::ROW_MAJOR,
    reads_every_layout: true,
    region_align: ALIGN,
    input_flip: 0,
    has_room: false,
    norm_rows: 1,
    attention_memory: |tokens, head_dim| rows_memory(tokens, head_dim, 1),
    linear_scratch: |_| 0,
};

/// x86-64 with AVX2 and F16C.
pub static AVX2: TableSpec = TableSpec {
    name: "avx2",
    layout: PanelLayout::VECTOR,
    reads_every_layout: false,
    region_align: ALIGN,
    input_flip: 0,
    has_room: true,
    norm_rows: VECTOR_NORM_ROWS,
    attention_memory: |tokens, head_dim| vector_memory(tokens, head_dim, AVX2_ROWS, 0),
    linear_scratch: |_| 0,
};

/// x86-64 with AVX-512 VNNI.
pub static AVX512_VNNI: TableSpec = TableSpec {
    name: "avx512-vnni",
    layout: PanelLayout::VECTOR,
    reads_every_layout: false,
    region_align: 64,
    input_flip: AVX512_FLIP,
    has_room: true,
    norm_rows: VECTOR_NORM_ROWS,
    attention_memory: |tokens, head_dim| vector_memory(tokens, head_dim, AVX512_ROWS, AVX512_INITIAL_INTS),
    linear_scratch: |_| 0,
};

/// AArch64 with NEON, which all of these processors have.
pub static NEON: TableSpec = TableSpec {
    name: "neon",
    layout: PanelLayout::VECTOR,
    reads_every_layout: false,
    region_align: ALIGN,
    input_flip: 0,
    has_room: true,
    norm_rows: VECTOR_NORM_ROWS,
    attention_memory: |tokens, head_dim| vector_memory(tokens, head_dim, NEON_ROWS, NEON_INITIAL_INTS),
    linear_scratch: |_| 0,
};

/// AArch64 with the dot product of bytes (SDOT): Armv8.2-A and later, mostly.
pub static NEON_DOTPROD: TableSpec = TableSpec {
    name: "neon-dotprod",
    layout: PanelLayout::VECTOR,
    reads_every_layout: false,
    region_align: ALIGN,
    input_flip: 0,
    has_room: true,
    norm_rows: VECTOR_NORM_ROWS,
    attention_memory: |tokens, head_dim| vector_memory(tokens, head_dim, NEON_DOTPROD_ROWS, 0),
    linear_scratch: |_| 0,
};

/// Cortex-M4, -M7 and -M33: two 16-bit multiplications at a time (SMLAD). Panels have two outputs, whose
/// weights are paired: one load and one unpacking instruction serve both outputs.
pub static CORTEX_M_DSP: TableSpec = TableSpec {
    name: "cortex-m-dsp",
    layout: PanelLayout::PAIRED,
    reads_every_layout: false,
    region_align: ALIGN,
    input_flip: 0,
    has_room: false,
    norm_rows: 1,
    attention_memory: dsp_memory,
    // Four rows of 16-bit activations.
    linear_scratch: |pitch| pitch.saturating_mul(2),
};

/// Cortex-M55 and -M85: sixteen 8-bit multiplications at a time (VMLADAVA). Panels have two outputs, sixteen
/// weights of each in turn.
pub static CORTEX_M_HELIUM: TableSpec = TableSpec {
    name: "cortex-m-helium",
    layout: PanelLayout { nr: 2, kr: 16 },
    reads_every_layout: false,
    region_align: ALIGN,
    input_flip: 0,
    has_room: false,
    norm_rows: 1,
    attention_memory: helium_memory,
    linear_scratch: |_| 0,
};

/// RV32IM, and Cortex-M without FPU: float arithmetic made of integer operations, in plain Rust. Panels have
/// four outputs, two weights of each in turn.
pub static SOFT_FLOAT: TableSpec = TableSpec {
    name: "soft-float",
    layout: PanelLayout { nr: 4, kr: 2 },
    reads_every_layout: false,
    region_align: ALIGN,
    input_flip: 0,
    has_room: false,
    norm_rows: 1,
    attention_memory: soft_float_memory,
    // Four rows, an input of two rows in each word.
    linear_scratch: |pitch| pitch.saturating_mul(2),
};

/// Number of rows that the vector tables' layer norm takes at a time. Additions to one row's sum wait for
/// each other; those of different rows do not.
pub(super) const VECTOR_NORM_ROWS: usize = 16;
/// Rows of a block of the matrix product, which is also the number of queries at a time, per table.
pub(super) const AVX2_ROWS: usize = 3;
pub(super) const AVX512_ROWS: usize = 6;
pub(super) const NEON_ROWS: usize = 2;
pub(super) const NEON_DOTPROD_ROWS: usize = 4;
/// Number of i32 that hold the initial sums of a panel of sixteen outputs, for tables whose instructions need
/// initial sums other than zero.
pub(super) const AVX512_INITIAL_INTS: usize = 16;
pub(super) const NEON_INITIAL_INTS: usize = 32;
/// VPDPBUSD multiplies unsigned bytes by signed ones.
pub(super) const AVX512_FLIP: i8 = -128;

/// Keys and values as rows; `queries` queries at a time.
pub(super) fn rows_memory(tokens: usize, head_dim: usize, queries: usize) -> AttentionMemory {
    let pitch = padded(head_dim);
    let cache = tokens.saturating_mul(pitch);
    AttentionMemory {
        keys: cache,
        values: cache,
        scores: tokens.saturating_mul(4 * queries),
        weights: tokens.saturating_mul(2 * queries),
        sums: pitch.saturating_mul(4 * queries),
    }
}

/// Keys in pairs of tokens, values in blocks of sixteen tokens; four queries at a time. `sums` first holds
/// the queries as 16-bit pairs, then their weighted sums.
fn dsp_memory(tokens: usize, head_dim: usize) -> AttentionMemory {
    const QUERIES: usize = 4;
    let pitch = padded(head_dim);
    let even = tokens.saturating_add(tokens % 2);
    AttentionMemory {
        keys: even.saturating_mul(pitch),
        values: padded(tokens).saturating_mul(pitch),
        scores: even.saturating_mul(4 * QUERIES),
        weights: padded(tokens).saturating_mul(2 * QUERIES),
        sums: pitch.saturating_mul(4 * QUERIES),
    }
}

/// Keys in panels of four tokens, values in blocks of sixteen tokens; four queries at a time. `sums` holds
/// the packed queries, since the weighted sums stay in registers.
fn soft_float_memory(tokens: usize, head_dim: usize) -> AttentionMemory {
    const QUERIES: usize = 4;
    let pitch = padded(head_dim);
    let fours = tokens.div_ceil(4).saturating_mul(4);
    AttentionMemory {
        keys: fours.saturating_mul(pitch),
        values: padded(tokens).saturating_mul(pitch),
        scores: fours.saturating_mul(4 * QUERIES),
        weights: tokens.saturating_mul(2 * QUERIES),
        sums: pitch.saturating_mul(2 * 4),
    }
}

/// Keys in panels of sixteen tokens, values in pairs of tokens, widened to i16; `rows` queries at a time.
/// `sums` holds the initial sums of each panel of keys, since the weighted sums stay in registers.
fn vector_memory(tokens: usize, head_dim: usize, rows: usize, initial_ints: usize) -> AttentionMemory {
    let (tokens, pitch) = (padded(tokens), padded(head_dim));
    AttentionMemory {
        keys: tokens.saturating_mul(pitch),
        values: tokens.saturating_mul(pitch).saturating_mul(2),
        scores: tokens.saturating_mul(4 * rows),
        weights: tokens.saturating_mul(2 * rows),
        sums: (tokens / 16).saturating_mul(4 * initial_ints),
    }
}

/// Keys in pairs of tokens, values in blocks of sixteen tokens. Scores and weights of four queries are
/// interleaved, in whole rounds of 8 and of 16 tokens. `sums` holds the four queries, since the weighted sums
/// stay in registers.
fn helium_memory(tokens: usize, head_dim: usize) -> AttentionMemory {
    const QUERIES: usize = 4;
    let pitch = padded(head_dim);
    let up_to = |tokens_of: usize| tokens.div_ceil(tokens_of).saturating_mul(tokens_of);
    AttentionMemory {
        keys: up_to(2).saturating_mul(pitch),
        values: up_to(16).saturating_mul(pitch),
        scores: up_to(8).saturating_mul(4 * QUERIES),
        weights: up_to(16).saturating_mul(2 * QUERIES),
        sums: pitch.saturating_mul(QUERIES),
    }
}
