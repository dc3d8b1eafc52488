//! The neighbours of a ViT.

use anyhow::Result;
use vitreous::models::vit::{Activation, VitConfig};

use super::attention::Attention;
use super::mlp::balance_mlp;
use super::norm::{balance_norm, fold_constants, Extent, Extents, Norm};
use super::{put_layer, take_layer, Layer, Tensors};

/// Balances block `layer`: both norms with what reads them, queries with keys, values with the projection; of
/// an MLP with ReLU its two layers too.
///
/// # Errors
/// A tensor of the block is not there.
pub fn balance_block(
    tensors: &mut Tensors,
    config: &VitConfig,
    layer: usize,
    extents: &Extents,
) -> Result<()> {
    let name = |part: &str| format!("blocks.{layer}.{part}");
    let mut norm = Norm::take(tensors, &name("norm1"))?;
    let mut qkv = take_layer(tensors, &name("attn.qkv"))?;
    let extent = Extent::of(extents, &name("norm1"), config.dim);
    fold_constants(&mut norm, &mut [&mut qkv]);
    let attention = Attention::new(&qkv, take_layer(tensors, &name("attn.proj"))?);
    let (qkv, projection) = attention.balanced_with(&mut norm, &extent);
    norm.put(tensors, &name("norm1"))?;
    put_layer(tensors, &name("attn.qkv"), qkv)?;
    put_layer(tensors, &name("attn.proj"), projection)?;

    let extent = Extent::of(extents, &name("norm2"), config.dim);
    let layers = [name("mlp.fc1"), name("mlp.fc2")];
    let is_relu = config.activation == Activation::Relu;
    balance_mlp(tensors, &name("norm2"), layers.each_ref().map(String::as_str), &extent, is_relu)
}

/// Balances the norm before the classifiers with them. Without classifier its output is the model's and stays
/// as it is.
///
/// # Errors
/// A tensor is not there.
pub fn balance_head(tensors: &mut Tensors, config: &VitConfig, extents: &Extents) -> Result<()> {
    // Where there are two norms, the second one makes what is read.
    let last = match () {
        () if config.norm_after_pool => "fc_norm",
        () if config.norm_before_pool => "norm",
        () => return Ok(()),
    };
    let mut heads: Vec<(&str, Layer)> = Vec::new();
    for name in ["head", "head_dist"] {
        if tensors.contains_key(&format!("{name}.weight")) {
            heads.push((name, take_layer(tensors, name)?));
        }
    }
    if !heads.is_empty() {
        let mut norm = Norm::take(tensors, last)?;
        let mut layers: Vec<&mut Layer> = heads.iter_mut().map(|(_, layer)| layer).collect();
        fold_constants(&mut norm, &mut layers);
        balance_norm(&mut norm, &Extent::of(extents, last, config.dim), &mut layers);
        norm.put(tensors, last)?;
    }
    heads.into_iter().try_for_each(|(name, layer)| put_layer(tensors, name, layer))
}
