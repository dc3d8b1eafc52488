//! What the elements of a tensor in a file are, and what is said of those that are no float weights.
use crate::checkpoint::error::CheckpointError;
use crate::text::short;
use half::{bf16, f16};
use safetensors::Dtype;
use std::path::Path;

/// What a tensor in a file holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Elements {
    /// Weights.
    Float(Dtype),
    /// Counters and index tables (torch buffers such as `position_ids`), which are no weights: kept without
    /// their data.
    Integer(Dtype),
    /// A type that the file's library has, in its own words, and that is not read.
    Other(String),
}

impl Elements {
    pub fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16 => Self::Float(dtype),
            Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 => Self::Integer(dtype),
            Dtype::U64 | Dtype::U32 | Dtype::U16 | Dtype::U8 | Dtype::BOOL => Self::Integer(dtype),
            other => Self::Other(format!("{other:?}")),
        }
    }
}

/// Ends of the names of tensors that count or point: whole numbers are what they should hold.
const INDEX_TABLES: [&str; 14] = [
    "position_ids",
    "relative_position_index",
    "relative_coords_index",
    "num_batches_tracked",
    "num_updates",
    "_index",
    "_indices",
    "_idx",
    "_ids",
    "mask",
    "step",
    "steps",
    "epoch",
    "version",
];

/// Refuses elements that weights cannot be made of. `names` are those of all tensors of the set.
pub(crate) fn check<'a>(
    path: &Path,
    tensor: &str,
    shape: &[usize],
    elements: &Elements,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), CheckpointError> {
    let found = match elements {
        Elements::Float(_) => return Ok(()),
        Elements::Integer(_) if is_index_table(tensor, shape) => return Ok(()),
        Elements::Integer(dtype) => format!("whole numbers ({dtype:?})"),
        Elements::Other(words) => words.clone(),
    };
    Err(CheckpointError::ElementType {
        path: path.to_path_buf(),
        tensor: tensor.to_string(),
        found,
        way_out: way_out(elements, names),
    })
}

/// Whether a tensor of whole numbers is a counter or a table that the model can do without.
fn is_index_table(name: &str, shape: &[usize]) -> bool {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    if INDEX_TABLES.iter().any(|end| leaf.ends_with(end)) || shape.iter().product::<usize>() == 1 {
        return true;
    }
    let is_weight = ["weight", "bias", "qzeros", "packed", "pos_embed", "token"];
    shape.len() <= 2 && !is_weight.iter().any(|word| leaf.contains(word))
}

fn way_out<'a>(elements: &Elements, names: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Elements::Other(words) = elements {
        if words.contains("omplex") || words == "C64" {
            return "complex weights are no part of a vision transformer".into();
        }
        if words.contains("meta device") {
            return "load the weights in Python before they are saved".into();
        }
        if words.contains("sparse") {
            return "make them dense with `tensor.to_dense()` before saving".into();
        }
    }
    // The tensors that each library keeps beside the quantized ones.
    let any = |ends: &[&str]| names.clone().any(|name| ends.iter().any(|end| name.ends_with(end)));
    let library = if any(&[".SCB", ".absmax", ".quant_map", ".weight_format"]) {
        " by bitsandbytes"
    } else if any(&[".qweight"]) {
        " by GPTQ or AWQ"
    } else if any(&[".weight_packed", ".weight_scale"]) {
        " by compressed-tensors"
    } else if any(&[".weight_scale_inv"]) {
        " to 8-bit floats"
    } else {
        ""
    };
    format!(
        "the weights seem to be quantized{library}; export the float weights from before that, for \
         `vitreous convert` quantizes them itself"
    )
}

/// What becomes of doubles that f32 cannot hold: those below its range, which are lost. `None` if there are
/// none.
pub(crate) fn warning_of_lost(tensor: &str, dtype: Dtype, bytes: &[u8]) -> Option<String> {
    let doubles = bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b));
    let lost = match dtype {
        Dtype::F64 => doubles.filter(|x| *x != 0.0 && *x as f32 == 0.0).count(),
        _ => 0,
    };
    let all = bytes.len() / 8;
    (lost > 0).then(|| {
        let tensor = short(tensor);
        format!("{lost} of {all} values of `{tensor}` are below the range of f32 and become 0")
    })
}

/// `None` for a type that is no float.
pub(crate) fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F64 => bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::F16 => bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks::<2>().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_below_the_range_of_f32_are_counted() {
        let bytes = [1e-300, 0.0, 1.0, -1e-60].map(f64::to_le_bytes).concat();
        let warning = warning_of_lost("a", Dtype::F64, &bytes).unwrap();
        assert!(warning.starts_with("2 of 4 values of `a`"), "{warning}");
        assert!(warning_of_lost("a", Dtype::F64, &bytes[8..24]).is_none());
        assert!(warning_of_lost("a", Dtype::F32, &bytes).is_none());
    }

    #[test]
    fn whole_numbers_are_harmless_only_as_tables_and_counters() {
        for (name, shape, harmless) in [
            ("embeddings.position_ids", &[1, 197][..], true),
            ("blocks.0.attn.relative_position_index", &[197, 197], true),
            ("layers.0.blocks.1.attn_mask", &[4, 49, 49], true),
            ("bn.num_batches_tracked", &[], true),
            ("blocks.0.attn.qkv.weight", &[36, 12], false),
            ("blocks.0.attn.qkv.qweight", &[36, 12], false),
            ("pos_embed", &[5, 12], false),
            ("tables", &[2, 2, 2], false),
        ] {
            assert_eq!(is_index_table(name, shape), harmless, "{name}");
        }
    }

    #[test]
    fn the_quantizer_is_known_by_its_companions() {
        let refuse = |companion: &str, elements: Elements| {
            let names = ["a.weight", companion];
            let error = check(Path::new("m"), "a.weight", &[2, 2], &elements, names.into_iter());
            error.unwrap_err().to_string()
        };
        let eight = refuse("a.SCB", Elements::of(Dtype::I8));
        assert!(eight.contains("whole numbers (I8)") && eight.contains("bitsandbytes"), "{eight}");
        assert!(refuse("a.qweight", Elements::of(Dtype::I32)).contains("GPTQ"));
        assert!(refuse("a.weight_scale_inv", Elements::of(Dtype::F8_E4M3)).contains("F8_E4M3"));
        assert!(refuse("a.bias", Elements::of(Dtype::C64)).contains("complex weights"));
    }
}
