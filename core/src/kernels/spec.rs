//! What a memory plan and a converter must know of a kernel table. Known on every machine, also where the
//! table's instructions are not: a host plans and packs for a target.

use crate::tensor::{padded, PanelLayout, ALIGN};

/// Name, weight layout and memory of a kernel table.
#[derive(Debug)]
pub struct TableSpec {
    /// Name as users give it: `portable`, `avx2`, `avx512-vnni`, …
    pub name: &'static str,
    /// The weight layout that the int8 kernels are fastest with.
    pub layout: PanelLayout,
    /// Whether they can read every other layout, too.
    pub reads_every_layout: bool,
    /// Where regions of the arena had best begin: multiples of this, so that no load of a whole register
    /// meets two cache lines. A power of two, [`ALIGN`] at least.
    pub region_align: usize,
    /// What int8 activations are XORed with where they are kept ([`RowsI8`]): 0, or −128 for instructions
    /// that want them unsigned, 128 being their zero (offset binary).
    ///
    /// [`RowsI8`]: crate::tensor::RowsI8
    pub input_flip: i8,
    /// Whether its machines have memory to spare: with several workers, keys and values of many heads exist
    /// at a time, and no memory serves two purposes.
    pub has_room: bool,
    /// Rows that the layer norm is fastest with.
    pub norm_rows: usize,
    /// Memory that attention over `(tokens, head_dim)` takes in one head.
    pub attention_memory: fn(usize, usize) -> AttentionMemory,
    /// i32 that an int8 linear layer works in, for rows of a pitch.
    pub linear_scratch: fn(usize) -> usize,
}

/// Bytes for attention in one head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AttentionMemory {
    /// All keys.
    pub keys: usize,
    /// All values.
    pub values: usize,
    /// Scores of the queries at work (f32).
    pub scores: usize,
    /// Their softmax weights (i16).
    pub weights: usize,
    /// Their weighted sums (i32).
    pub sums: usize,
}

impl TableSpec {
    /// Whether the int8 kernels can read a weight layout.
    pub fn reads(&self, layout: PanelLayout) -> bool {
        layout == self.layout || (self.reads_every_layout && layout.is_valid())
    }

    /// The table that a file of a layout is planned for where nothing else is said: the one without operating
    /// system with that layout, else `portable`. (A host plans for the table that it runs.)
    pub fn of_layout(layout: PanelLayout) -> &'static TableSpec {
        ON_TARGETS.into_iter().find(|spec| spec.layout == layout).unwrap_or(&PORTABLE)
    }

    /// The table of a name, of any machine.
    pub fn find(name: &str) -> Option<&'static TableSpec> {
        [&PORTABLE, &AVX2, &AVX512_VNNI, &NEON].into_iter().chain(ON_TARGETS).find(|spec| spec.name == name)
    }
}

/// Tables that are picked at compile time; of those of one layout the one that takes the most memory.
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
    attention_memory: |tokens, head_dim| vector_memory(tokens, head_dim, AVX512_ROWS, AVX512_BEGIN),
    linear_scratch: |_| 0,
};

/// AArch64, of which all have NEON.
pub static NEON: TableSpec = TableSpec {
    name: "neon",
    layout: PanelLayout::VECTOR,
    reads_every_layout: false,
    region_align: ALIGN,
    input_flip: 0,
    has_room: true,
    norm_rows: VECTOR_NORM_ROWS,
    attention_memory: |tokens, head_dim| vector_memory(tokens, head_dim, NEON_ROWS, NEON_BEGIN),
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

/// Cortex-M4, -M7 and -M33: two multiplications of 16 bits at a time (SMLAD). Panels of two outputs, whose
/// weights are paired: one load and one instruction to unpack feed both.
pub static CORTEX_M_DSP: TableSpec = TableSpec {
    name: "cortex-m-dsp",
    layout: PanelLayout::PAIRED,
    reads_every_layout: false,
    region_align: ALIGN,
    input_flip: 0,
    has_room: false,
    norm_rows: 1,
    attention_memory: dsp_memory,
    // Four rows of pairs of 16 bits.
    linear_scratch: |pitch| pitch.saturating_mul(2),
};

/// Cortex-M55 and -M85: sixteen multiplications of 8 bits at a time (VMLADAVA). Panels of two outputs,
/// sixteen weights of each in turn.
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

/// RV32IM, and Cortex-M without FPU: plain Rust without floats. Panels of four outputs, two weights of each
/// in turn.
pub static SOFT_FLOAT: TableSpec = TableSpec {
    name: "soft-float",
    layout: PanelLayout { nr: 4, kr: 2 },
    reads_every_layout: false,
    region_align: ALIGN,
    input_flip: 0,
    has_room: false,
    norm_rows: 1,
    attention_memory: soft_float_memory,
    // Four rows, two of them in a word.
    linear_scratch: |pitch| pitch.saturating_mul(2),
};

/// Rows that the vector tables' layer norm takes together: sums of one row wait for each other, those of
/// several don't.
pub(super) const VECTOR_NORM_ROWS: usize = 16;
/// Rows of a block of a table's matrix product, and queries at a time.
pub(super) const AVX2_ROWS: usize = 3;
pub(super) const AVX512_ROWS: usize = 6;
pub(super) const NEON_ROWS: usize = 2;
pub(super) const NEON_DOTPROD_ROWS: usize = 4;
/// Integers that hold what the sums of sixteen outputs start at, where the table's instructions need such a
/// start.
pub(super) const AVX512_BEGIN: usize = 16;
pub(super) const NEON_BEGIN: usize = 32;
/// VPDPBUSD takes unsigned bytes times signed ones.
pub(super) const AVX512_FLIP: i8 = -128;

/// Keys and values as rows, `queries` at work at a time.
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

/// Keys in pairs of tokens, values in blocks of sixteen; four queries at a time. The queries' pairs of 16
/// bits, then their weighted sums take turns.
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

/// Keys in panels of four tokens, values in blocks of 16; four queries at a time, which are packed where
/// weighted sums would be, as those stay in registers.
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

/// Keys in panels, values in pairs of tokens, widened to i16; `rows` queries at a time; instead of weighted
/// sums, which stay in registers, what the sums of each panel of keys start at.
fn vector_memory(tokens: usize, head_dim: usize, rows: usize, begin: usize) -> AttentionMemory {
    let (tokens, pitch) = (padded(tokens), padded(head_dim));
    AttentionMemory {
        keys: tokens.saturating_mul(pitch),
        values: tokens.saturating_mul(pitch).saturating_mul(2),
        scores: tokens.saturating_mul(4 * rows),
        weights: tokens.saturating_mul(2 * rows),
        sums: (tokens / 16).saturating_mul(4 * begin),
    }
}

/// Keys in pairs of tokens, values in blocks of 16; scores and weights of four queries, which take turns, in
/// whole rounds of 8 and 16 tokens; the four queries themselves instead of weighted sums, which stay in
/// registers.
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
