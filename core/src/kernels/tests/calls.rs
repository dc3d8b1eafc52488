//! Calls a table's functions with wrong shapes that safe code can state: numbers too large for any memory,
//! numbers whose product wraps to the right one, and views of other lengths than the shape says.
//!
//! The check of the emulated boards' tables (`firmware/app/src/kernels`) shares this file. So it needs no
//! allocator, and takes its names from the module around it.

use half::f16;

use super::{
    padded, Activation, Attention, AttentionScratch, Epilogue, Kernels, LinearF16, LinearI8, NormWeights,
    PanelLayout, RowShape, RowsI8,
};

/// The largest number of slices of a call.
pub const AREAS: usize = 10;
/// Bytes of memory for each slice. The memory begins at a multiple of that, or of a page.
pub const AREA: usize = 8192;

/// The byte that is painted before and behind each slice; the test checks that it is still there.
const PAINT: u8 = 0x5a;
const PAINTED: usize = 32;

const EPILOGUES: [Epilogue; 4] = [
    Epilogue::None,
    Epilogue::Activation(Activation::GeluErf),
    Epilogue::Activation(Activation::GeluTanh),
    Epilogue::Activation(Activation::Relu),
];

/// A call of one function.
type Function = fn(&Kernels, &mut Views);

/// Calls one function, in memory with any contents. Returns its name if it wrote beside a slice.
pub fn call(
    table: &Kernels,
    areas: [&mut [u8]; AREAS],
    bits: &mut dyn FnMut() -> u64,
) -> Option<&'static str> {
    let mut views = Views { areas: areas.into_iter(), beside: Default::default(), count: 0, bits };
    let functions: [(&str, Function); 8] = [
        ("linear_i8", linear_i8),
        ("linear_f16", linear_f16),
        ("quantize_rows", quantize_rows),
        ("layer_norm", layer_norm),
        ("widen or narrow", convert),
        ("store_keys or store_values", store),
        ("attend", attend),
        ("attend", attend),
    ];
    let (name, function) = views.one_of(&functions);
    function(table, &mut views);
    (!views.are_intact()).then_some(name)
}

/// The slices of a call, each in an area of its own.
struct Views<'a, 'b> {
    areas: core::array::IntoIter<&'a mut [u8], AREAS>,
    /// The painted bytes before and behind each slice.
    beside: [[&'a [u8]; 2]; AREAS],
    count: usize,
    bits: &'b mut dyn FnMut() -> u64,
}

impl<'a> Views<'a, '_> {
    fn below(&mut self, end: usize) -> usize {
        ((self.bits)() >> 33) as usize % end
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A number of a shape, often `right`, sometimes a wrong one.
    fn number(&mut self, right: usize) -> usize {
        const LARGE: usize = 1 << (usize::BITS - 4);
        const HALF: usize = 1 << (usize::BITS - 1);
        match self.below(10) {
            // Times a power of two, this wraps to the product of the right number.
            0 | 1 => right.wrapping_add(1 << (usize::BITS as usize - 1 - self.below(8))),
            2 => self.one_of(&[0, 1, 15, 16, 17, LARGE, LARGE + 16, HALF - 1, HALF, HALF + 1]),
            3 => usize::MAX - self.below(34),
            4 => self.below(100),
            _ => right,
        }
    }

    /// A slice that should have `right` elements and often has. It lies at the end of its area, at the
    /// beginning, or one element behind the beginning.
    fn slice<T: bytemuck::Pod>(&mut self, right: usize) -> &'a mut [T] {
        let count = match self.below(16) {
            0 => 0,
            1 => 1,
            2 => right.saturating_sub(1),
            3 => right + 1,
            4 => right / 2,
            5 => right * 2,
            _ => right,
        };
        let area = self.areas.next().expect("an area for each slice");
        let bytes = count.min(area.len() / size_of::<T>() - 1) * size_of::<T>();
        let start = match self.below(8) {
            0..4 => area.len() - bytes,
            4..7 => 0,
            _ => size_of::<T>(),
        };
        let (before, rest) = area.split_at_mut(start);
        let (slice, behind) = rest.split_at_mut(bytes);
        let (_, before) = before.split_at_mut(start.saturating_sub(PAINTED));
        let (behind, _) = behind.split_at_mut(behind.len().min(PAINTED));
        for painted in [&mut *before, &mut *behind] {
            painted.fill(PAINT);
        }
        self.beside[self.count] = [before, behind];
        self.count += 1;
        bytemuck::cast_slice_mut(slice)
    }

    fn are_intact(&self) -> bool {
        self.beside.as_flattened().iter().all(|painted| painted.iter().all(|byte| *byte == PAINT))
    }
}

fn linear_i8(table: &Kernels, views: &mut Views) {
    let (rows, inputs, outputs) = (views.below(10), views.below(100), views.below(40));
    let right = padded(inputs);
    let pitch = views.number(right);
    let row_pitch = if views.below(8) == 0 { views.number(right) } else { pitch };
    let layout = match views.below(16) {
        0 => PanelLayout { nr: (views.bits)() as u8, kr: (views.bits)() as u8 },
        1 => PanelLayout { nr: 0, kr: 0 },
        _ => table.spec.layout,
    };
    let zero_points = if views.below(2) == 0 { rows } else { 0 };
    let x = RowsI8 {
        data: views.slice(rows * right),
        scales: views.slice(rows),
        zero_points: views.slice(zero_points),
        pitch: row_pitch,
    };
    let weights = LinearI8 {
        panels: views.slice(table.spec.layout.padded_outputs(outputs) * right),
        scales: views.slice(outputs),
        bias: views.slice(outputs),
        sums: views.slice(outputs),
        pitch,
        outputs: views.number(outputs),
        layout,
    };
    let scratch = views.slice((table.spec.linear_scratch)(right));
    if views.below(2) == 0 {
        (table.linear_i8_residual)(&x, &weights, views.slice(rows * outputs), scratch);
    } else {
        let epilogue = views.one_of(&EPILOGUES);
        (table.linear_i8)(&x, &weights, epilogue, views.slice(rows * outputs), scratch);
    }
}

fn linear_f16(table: &Kernels, views: &mut Views) {
    let (rows, inputs, outputs) = (views.below(15), views.below(50), views.below(40));
    let x = views.slice::<f32>(rows * inputs);
    let weights = LinearF16 {
        panels: views.slice(padded(outputs) * inputs),
        bias: views.slice(outputs),
        inputs: views.number(inputs),
        outputs: views.number(outputs),
    };
    if views.below(2) == 0 {
        (table.linear_f16_residual)(x, &weights, views.slice(rows * outputs));
    } else {
        let epilogue = views.one_of(&EPILOGUES);
        (table.linear_f16)(x, &weights, epilogue, views.slice(rows * outputs));
    }
}

fn quantize_rows(table: &Kernels, views: &mut Views) {
    let (rows, width) = (views.below(20), views.below(100));
    let pitch = views.one_of(&[width, padded(width), padded(width) + 16]);
    let shape = RowShape { width: views.number(width), pitch: views.number(pitch) };
    let (x, codes, scales) =
        (views.slice::<f32>(rows * width), views.slice(rows * pitch), views.slice::<f32>(rows));
    if views.below(2) == 0 {
        (table.quantize_rows)(x, shape, codes, scales);
    } else {
        (table.quantize_rows_above)(x, shape, -0.172, codes, scales, views.slice(rows));
    }
}

fn layer_norm(table: &Kernels, views: &mut Views) {
    let (rows, width) = (views.below(18), views.below(100));
    let norm = NormWeights { gamma: views.slice(width), beta: views.slice(width), eps: 1e-6 };
    (table.layer_norm)(views.slice(rows * width), &norm, views.slice(rows * width));
}

fn convert(table: &Kernels, views: &mut Views) {
    let count = views.below(100);
    let (halves, floats) = (views.slice::<f16>(count), views.slice::<f32>(count));
    if views.below(2) == 0 {
        (table.widen)(halves, floats);
    } else {
        (table.narrow)(floats, halves);
    }
}

fn store(table: &Kernels, views: &mut Views) {
    let (rows, tokens, head_dim) = (views.below(12), views.below(40), views.below(40));
    let memory = (table.spec.attention_memory)(tokens, head_dim);
    let x = views.slice::<f32>(rows * head_dim);
    let right = views.below(tokens.saturating_sub(rows) + 1);
    let (first, width) = (views.number(right), views.number(head_dim));
    if views.below(2) == 0 {
        (table.store_keys)(x, width, first, views.slice(memory.keys), views.slice(rows));
    } else {
        (table.store_values)(x, width, first, views.slice(memory.values), views.slice(rows));
    }
}

fn attend(table: &Kernels, views: &mut Views) {
    let (count, tokens, right) = (views.below(15), views.below(40), views.below(40));
    let memory = (table.spec.attention_memory)(tokens, right);
    let head_dim = views.number(right);
    let pitch = if views.below(8) == 0 { views.number(padded(right)) } else { padded(head_dim) };
    // The results are not used; the call must not panic.
    let (tokens_too, head_dim_too) = (views.number(tokens), views.number(right));
    let _ = (table.spec.attention_memory)(tokens_too, head_dim_too);
    let _ = (table.spec.linear_scratch)(pitch);
    let attention = Attention {
        queries: RowsI8 {
            data: views.slice(count * padded(right)),
            scales: views.slice(count),
            zero_points: &[],
            pitch,
        },
        head_dim,
        factor: 0.2,
        keys: views.slice(memory.keys),
        key_scales: views.slice(tokens),
        values: views.slice(memory.values),
        relative_scales: views.slice(tokens),
        value_scale: 1.0,
    };
    let mut scratch = AttentionScratch {
        scores: views.slice(memory.scores / size_of::<f32>()),
        weights: views.slice(memory.weights / size_of::<i16>()),
        sums: views.slice(memory.sums / size_of::<i32>()),
    };
    (table.attend)(&attention, &mut scratch, views.slice(count * right));
}
