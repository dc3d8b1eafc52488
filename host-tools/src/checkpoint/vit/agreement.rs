//! Whether the tensors are those that files and well-known names state.

use vitreous::models::vit::VitConfig;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::metadata::claims::{
    Claim, Stated, CLASS_TOKEN, FC_NORM, FINAL_NORM, HEAD_WIDTH, QKV_BIAS,
};
use crate::checkpoint::metadata::Metadata;
use crate::checkpoint::names::canonical::Canonical;

/// Refuses a model whose tensors are not those that the files beside them, or a well-known name, say.
pub(crate) fn check(
    model: &Canonical,
    config: &VitConfig,
    metadata: &Metadata,
) -> Result<(), CheckpointError> {
    let size = |what: &str| match what {
        "blocks" => Some(config.depth),
        "dim" => Some(config.dim),
        "hidden" => Some(config.hidden),
        "channels" => Some(config.channels),
        "register tokens" => Some(0),
        // A model without classifier may keep the number of the one that it had.
        "classes" => (config.classes > 0).then_some(config.classes),
        _ => None,
    };
    let is_there = |what: &str| match what {
        CLASS_TOKEN => config.class_token,
        QKV_BIAS => model.tensors.contains_key("blocks.0.attn.qkv.bias"),
        FC_NORM => config.norm_after_pool,
        FINAL_NORM => config.norm_before_pool || config.norm_after_pool,
        _ => model.has_layer_scale,
    };
    let fail = |what: String| Err(mismatch(model, what));
    for Claim { what, stated, place } in &metadata.claims {
        match *stated {
            Stated::Size(value) => {
                if let Some(found) = size(what).filter(|found| *found != value) {
                    return fail(format!("{place} says {value} {what}, the tensors have {found}"));
                }
            }
            Stated::Patch((height, width))
                if (height, width) != (config.patch_height, config.patch_width) =>
            {
                let (found_height, found_width) = (config.patch_height, config.patch_width);
                return fail(format!(
                    "{place} says {height}×{width} {what}, the tensors have {found_height}×{found_width}"
                ));
            }
            Stated::Ratio(ratio) if (config.dim as f64 * ratio - config.hidden as f64).abs() >= 1.0 => {
                let (dim, hidden) = (config.dim, config.hidden);
                return fail(format!("{place} says {ratio}, the tensors have {hidden} hidden for {dim} dim"));
            }
            Stated::There(true) if !is_there(what) => {
                return fail(format!("{place} says that the model has {what}, and the tensors have none"));
            }
            Stated::There(false) if is_there(what) => {
                return fail(format!(
                    "{place} says that the model is without {what}, and the tensors have it"
                ));
            }
            _ => {}
        }
    }
    let Some(known) = metadata.identity.timm.filter(|_| !metadata.identity.is_file_name) else {
        return Ok(());
    };
    let says_depth = metadata.claims.iter().any(|claim| claim.what == "blocks");
    match known.depth.filter(|depth| known.dim == Some(config.dim) && config.depth < *depth && !says_depth) {
        Some(depth) => {
            let name = metadata.identity.name.as_deref().unwrap_or_default();
            fail(format!("{name} has {depth} blocks, the tensors have {}", config.depth))
        }
        None => Ok(()),
    }
}

/// The same for what depends on the number of heads, which no tensor shows.
pub(crate) fn check_heads(
    model: &Canonical,
    config: &VitConfig,
    metadata: &Metadata,
) -> Result<(), CheckpointError> {
    for Claim { what, stated, place } in &metadata.claims {
        let Stated::Size(width) = *stated else { continue };
        if *what == HEAD_WIDTH && width.saturating_mul(config.heads) != config.dim {
            let (heads, dim) = (config.heads, config.dim);
            return Err(mismatch(
                model,
                format!("{place} says {width} {what}, and {heads} heads of them are not {dim} dim"),
            ));
        }
    }
    Ok(())
}

fn mismatch(model: &Canonical, what: String) -> CheckpointError {
    CheckpointError::Config {
        path: model.path.clone(),
        what,
        way_out: "are the weights whole (one shard of several?), and config.json of the same model?".into(),
    }
}
