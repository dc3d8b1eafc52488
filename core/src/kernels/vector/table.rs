//! Macro that makes a kernel table of this module's functions for one instruction set.

/// `vector_table!(spec, features, floats, dot, rows, panels)` defines a module-level `TABLE`.
///
/// Each function of the table calls one that enables the instruction set's features. Everything else is
/// inlined into the latter.
macro_rules! vector_table {
    ($spec:expr, $features:literal, $floats:ty, $dot:ty, rows $mr:expr, panels $nv:literal) => {
        use $crate::kernels::vector::{self, table::vector_functions};
        use $crate::kernels::{self, Attention, AttentionScratch, Kernels, RowShape};
        use $crate::tensor::{LinearF16, LinearI8, NormWeights, RowsI8};

        vector_functions! { $features;
            fn linear_i8(x: &RowsI8, w: &LinearI8, f: kernels::Epilogue, out: &mut [f32],
                _scratch: &mut [i32])
                = vector::linear_i8::<$dot, { $mr }, $nv>(x, w, f, out);
            fn linear_i8_residual(x: &RowsI8, w: &LinearI8, residual: &mut [f16], _scratch: &mut [i32])
                = vector::linear_i8_residual::<$dot, { $mr }, $nv>(x, w, residual);
            fn linear_f16(x: &[f32], w: &LinearF16, f: kernels::Epilogue, out: &mut [f32])
                = vector::linear_f16::<$floats>(x, w, f, out);
            fn linear_f16_residual(x: &[f32], w: &LinearF16, residual: &mut [f16])
                = vector::linear_f16_residual::<$floats>(x, w, residual);
            fn quantize_rows(x: &[f32], shape: RowShape, codes: &mut [i8], scales: &mut [f32]) -> usize
                = vector::quantize_rows::<$floats, { <$dot as vector::Dot>::INPUT_FLIP }>(x, shape, codes,
                    scales);
            fn quantize_rows_above(x: &[f32], shape: RowShape, floor: f32, codes: &mut [i8],
                scales: &mut [f32], zero_points: &mut [i32]) -> usize
                = vector::quantize_rows_above::<$floats, { <$dot as vector::Dot>::INPUT_FLIP }>(x, shape,
                    floor, codes, scales, zero_points);
            fn layer_norm(x: &[f16], w: &NormWeights, out: &mut [f32])
                = vector::layer_norm::<$floats>(x, w, out);
            fn widen(x: &[f16], out: &mut [f32]) = vector::widen::<$floats>(x, out);
            fn narrow(x: &[f32], out: &mut [f16]) = vector::narrow::<$floats>(x, out);
            fn store_keys(x: &[f32], head_dim: usize, first: usize, keys: &mut [i8], scales: &mut [f32])
                = vector::store_keys::<$floats>(x, head_dim, first, keys, scales);
            fn store_values(x: &[f32], head_dim: usize, first: usize, values: &mut [i8], scales: &mut [f32])
                = vector::store_values::<$floats>(x, head_dim, first, values, scales);
            fn peak(iterations: usize) -> i32
                = vector::peak::<$dot, { $mr }, $nv>(iterations);
            fn initial_sums(a: &Attention, initial_sums: &mut [i32])
                = vector::initial_sums::<$dot>(a, initial_sums);
            fn scores(a: &Attention, first: usize, initial_sums: &[i32], scores: &mut [f32],
                maxima: &mut vector::Maxima)
                = vector::scores::<$dot, { $mr }, $nv>(a, first, initial_sums, scores, maxima);
            fn softmax(a: &Attention, scores: &[f32], maxima: &vector::Maxima, weights: &mut [i16],
                factors: &mut [f32])
                = vector::softmax::<$floats, { $mr }>(a, scores, maxima, weights, factors);
            fn weighted_sums(a: &Attention, weights: &[i16], factors: &[f32], out: &mut [f32])
                = vector::weighted_sums::<$dot, { $mr }, $nv>(a, weights, factors, out);
        }

        fn attend(a: &Attention, scratch: &mut AttentionScratch, out: &mut [f32]) {
            vector::attend(
                a,
                scratch,
                out,
                &vector::Steps { rows: $mr, initial_sums, scores, softmax, weighted_sums },
            );
        }

        /// The table.
        pub(in $crate::kernels) static TABLE: Kernels = Kernels {
            spec: &$spec,
            linear_i8,
            linear_i8_residual,
            linear_f16,
            linear_f16_residual,
            quantize_rows,
            quantize_rows_above,
            layer_norm,
            widen,
            narrow,
            peak: Some(kernels::Peak { macs: vector::peak_macs::<$dot>($mr, $nv), run: peak }),
            store_keys,
            store_values,
            attend,
        };
    };
}

/// Defines functions that enable instructions for their body.
macro_rules! vector_functions {
    (
        $features:literal;
        $(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? = $body:expr;)*
    ) => {
        $(fn $name($($argument: $type),*) $(-> $result)? {
            #[target_feature(enable = $features)]
            fn enabled($($argument: $type),*) $(-> $result)? {
                $body
            }
            // SAFETY: the table is handed out only where the features are there.
            unsafe { enabled($($argument),*) }
        })*
    };
}

pub(in crate::kernels) use {vector_functions, vector_table};
