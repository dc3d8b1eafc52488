//! The neighbours of an IPT.

use anyhow::Result;
use vitreous::models::ipt::{IptConfig, HEAD_BLOCKS};

use super::attention::Attention;
use super::mlp::balance_mlp;
use super::norm::{balance_norms, Extent, Norm};
use super::{balance_outputs, balance_outputs_with, put, put_layer, take, take_layer, Layer, Tensors};

/// Balances all that may be: the encoder's norms with what reads them; the decoder's, to whose outputs the
/// queries are added, all together; the norms before MLPs; queries with keys, values with projections; both
/// layers around each ReLU.
///
/// What the residual stream itself carries to the cross-attentions, the MLP behind the decoder and the
/// convolutions has no norm that could be scaled.
///
/// # Errors
/// A tensor is not there.
pub fn balance_ipt(tensors: &mut Tensors, config: &IptConfig) -> Result<()> {
    for layer in 0..config.encoder_layers {
        let name = format!("body.encoder.layers.{layer}");
        balance_encoder_attention(tensors, &name)?;
        balance_layer_mlp(tensors, config, &name, "norm2")?;
    }
    balance_decoder_attentions(tensors, config)?;
    for layer in 0..config.decoder_layers {
        let name = format!("body.decoder.layers.{layer}");
        balance_layer_mlp(tensors, config, &name, "norm3")?;
    }
    let mut first = take_layer(tensors, "body.mlp_head.0")?;
    let carried = first.relative_amplitude();
    balance_outputs(&mut first, &carried, super::values(tensors, "body.mlp_head.3.weight")?);
    put_layer(tensors, "body.mlp_head.0", first)?;
    for task in 0..config.tasks.len() {
        for block in 1..=HEAD_BLOCKS {
            balance_convolutions(tensors, &format!("head.{task}.{block}.body"), config.features)?;
        }
    }
    Ok(())
}

/// An attention without biases; what is made of them is none either.
fn take_attention(tensors: &mut Tensors, name: &str) -> Result<Attention> {
    let without_bias = |weights: Vec<f32>, outputs: usize| Layer { weights, bias: vec![0.0; outputs] };
    let packed = take(tensors, &format!("{name}.in_proj_weight"))?;
    let projection = take(tensors, &format!("{name}.out_proj.weight"))?;
    let dim = (projection.len() as f64).sqrt() as usize;
    Ok(Attention::new(&without_bias(packed, 3 * dim), without_bias(projection, dim)))
}

fn put_attention(tensors: &mut Tensors, name: &str, (packed, projection): (Layer, Layer)) -> Result<()> {
    put(tensors, &format!("{name}.in_proj_weight"), packed.weights)?;
    put(tensors, &format!("{name}.out_proj.weight"), projection.weights)
}

fn balance_encoder_attention(tensors: &mut Tensors, name: &str) -> Result<()> {
    let (norm_name, attention_name) = (format!("{name}.norm1"), format!("{name}.self_attn"));
    let mut norm = Norm::take(tensors, &norm_name)?;
    let extent = Extent::unknown(norm.gamma.len());
    let attention = take_attention(tensors, &attention_name)?;
    put_attention(tensors, &attention_name, attention.balanced_with(&mut norm, &extent))?;
    norm.put(tensors, &norm_name)
}

/// One share for each channel of all norms before the decoder's attentions, since the same queries are added
/// to all of them.
fn balance_decoder_attentions(tensors: &mut Tensors, config: &IptConfig) -> Result<()> {
    let (dim, extent) = (config.dim(), Extent::unknown(config.dim()));
    let layers: Vec<String> =
        (0..config.decoder_layers).map(|layer| format!("body.decoder.layers.{layer}")).collect();
    let norm_names: Vec<String> =
        layers.iter().flat_map(|name| ["norm1", "norm2"].map(|norm| format!("{name}.{norm}"))).collect();
    let mut norms: Vec<Norm> =
        norm_names.iter().map(|name| Norm::take(tensors, name)).collect::<Result<_>>()?;
    let mut queries = take(tensors, "body.query_embed.weight")?;
    let added = super::column_rms(&queries, dim);
    let alike = vec![1.0; dim];
    // What the norms' shares are to be: all that reads them, balanced already.
    let mut packed: Vec<(String, Vec<f32>)> = Vec::new();
    for (name, pair) in layers.iter().zip(norms.chunks_exact(2)) {
        let asked = |norm: &Norm| -> Vec<f64> {
            norm.amplitude(&extent).iter().zip(&added).map(|(norm, query)| norm + query).collect()
        };
        let (own, cross) = (asked(&pair[0]), asked(&pair[1]));
        // Keys and values of a cross-attention read the encoder's output instead.
        let inputs = [[&own, &own, &pair[0].amplitude(&extent)], [&cross, &alike, &alike]];
        for (part, inputs) in ["self_attn", "multihead_attn"].into_iter().zip(inputs) {
            let name = format!("{name}.{part}");
            let mut attention = take_attention(tensors, &name)?;
            attention.balance(inputs.map(Vec::as_slice));
            put_attention(tensors, &name, attention.into_packed())?;
            let name = format!("{name}.in_proj_weight");
            packed.push((name.clone(), take(tensors, &name)?));
        }
    }
    let is_cross = |index: usize| index % 2 == 1;
    let mut readers: Vec<&mut [f32]> = packed
        .iter_mut()
        .enumerate()
        .map(
            |(index, (_, weights))| {
                if is_cross(index) {
                    &mut weights[..dim * dim]
                } else {
                    &mut weights[..]
                }
            },
        )
        .collect();
    balance_norms(&mut norms, &extent, &mut queries, &mut readers);
    put(tensors, "body.query_embed.weight", queries)?;
    packed.into_iter().try_for_each(|(name, weights)| put(tensors, &name, weights))?;
    norm_names.iter().zip(norms).try_for_each(|(name, norm)| norm.put(tensors, name))
}

fn balance_layer_mlp(tensors: &mut Tensors, config: &IptConfig, name: &str, norm: &str) -> Result<()> {
    let layers = [format!("{name}.linear1"), format!("{name}.linear2")];
    let extent = Extent::unknown(config.dim());
    balance_mlp(tensors, &format!("{name}.{norm}"), layers.each_ref().map(String::as_str), &extent, true)
}

/// Both convolutions `(features, features, k, k)` of a residual block, with their ReLU.
fn balance_convolutions(tensors: &mut Tensors, name: &str, features: usize) -> Result<()> {
    let mut first = take_layer(tensors, &format!("{name}.0"))?;
    let second = super::values(tensors, &format!("{name}.2.weight"))?;
    let area = second.len() / (features * features);
    let mut by_feature = transposed(second, features, area);
    let carried = first.relative_amplitude();
    let read = super::column_rms(&by_feature, features);
    balance_outputs_with(&mut first, &carried, &read, &mut by_feature);
    *second = transposed(&by_feature, area, features);
    put_layer(tensors, &format!("{name}.0"), first)
}

/// `(n, rows, columns)` to `(n, columns, rows)`.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let matrices = values.chunks_exact(rows * columns);
    matrices
        .flat_map(|matrix| (0..rows * columns).map(move |i| matrix[i % rows * columns + i / rows]))
        .collect()
}
