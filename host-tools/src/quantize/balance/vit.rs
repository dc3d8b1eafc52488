//! The neighbours of a ViT.

use anyhow::Result;
use vitreous::models::vit::{Activation, VitConfig};

use super::attention::Attention;
use super::norm::{balance_norm, fold_constants, Extent, Extents, Norm};
use super::{balance_outputs, put_layer, take_layer, Layer, Tensors};

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
    let mut attention = Attention::new(&qkv, take_layer(tensors, &name("attn.proj"))?);
    attention.balance([&norm.amplitude(&extent); 3]);
    let (mut qkv, projection) = attention.into_packed();
    balance_norm(&mut norm, &extent, &mut [&mut qkv]);
    norm.put(tensors, &name("norm1"))?;
    put_layer(tensors, &name("attn.qkv"), qkv)?;
    put_layer(tensors, &name("attn.proj"), projection)?;

    let mut norm = Norm::take(tensors, &name("norm2"))?;
    let mut fc1 = take_layer(tensors, &name("mlp.fc1"))?;
    let extent = Extent::of(extents, &name("norm2"), config.dim);
    fold_constants(&mut norm, &mut [&mut fc1]);
    if config.activation == Activation::Relu {
        let fc2 = super::values(tensors, &name("mlp.fc2.weight"))?;
        let carried = fc1.amplitude(&norm.amplitude(&extent));
        balance_outputs(&mut fc1, &carried, fc2);
    }
    balance_norm(&mut norm, &extent, &mut [&mut fc1]);
    norm.put(tensors, &name("norm2"))?;
    put_layer(tensors, &name("mlp.fc1"), fc1)
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
