//! An MLP with the norm before it.

use anyhow::Result;

use super::norm::{balance_norm, fold_constants, Extent, Norm};
use super::{balance_outputs, put_layer, take_layer, values, Tensors};

/// Balances a norm with the first layer of the MLP that reads it and, where the activation between them is
/// ReLU, the first layer with the second.
///
/// # Errors
/// A tensor is not there.
pub(super) fn balance_mlp(
    tensors: &mut Tensors,
    norm_name: &str,
    [first_name, second_name]: [&str; 2],
    extent: &Extent,
    is_relu: bool,
) -> Result<()> {
    let mut norm = Norm::take(tensors, norm_name)?;
    let mut first = take_layer(tensors, first_name)?;
    fold_constants(&mut norm, &mut [&mut first]);
    if is_relu {
        let second = values(tensors, &format!("{second_name}.weight"))?;
        let carried = first.amplitude(&norm.amplitude(extent));
        balance_outputs(&mut first, &carried, second);
    }
    balance_norm(&mut norm, extent, &mut [&mut first]);
    norm.put(tensors, norm_name)?;
    put_layer(tensors, first_name, first)
}
