//! Graph nodes of candle, for operators with any number of operands.

use candle_core::{
    bail, CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor,
};

/// An operand of a forward pass.
pub struct Operand<'a> {
    storage: &'a CpuStorage,
    layout: &'a Layout,
}

impl<'a> Operand<'a> {
    /// Its dimensions.
    pub fn dims(&self) -> &'a [usize] {
        self.layout.dims()
    }

    /// Its two dimensions.
    pub fn dims2(&self) -> Result<(usize, usize)> {
        self.layout.shape().dims2()
    }

    /// Its shape.
    pub fn shape(&self) -> &'a Shape {
        self.layout.shape()
    }

    /// Its elements, which must be contiguous and f32.
    pub fn elements(&self) -> Result<&'a [f32]> {
        elements(self.storage, self.layout)
    }

    /// As candle has it.
    pub fn parts(&self) -> (&'a CpuStorage, &'a Layout) {
        (self.storage, self.layout)
    }
}

/// A function of `N` tensors with its derivative.
pub trait Operator<const N: usize>: Send + Sync + 'static {
    /// Its name in candle's messages.
    const NAME: &'static str;

    /// The result's elements and shape.
    fn forward(&self, operands: [Operand; N]) -> Result<(Vec<f32>, Shape)>;

    /// Gradients of the operands from the result and its gradient, which is contiguous. `None` is one that
    /// nobody needs.
    fn backward(&self, operands: [&Tensor; N], result: &Tensor, grad: &Tensor)
        -> Result<[Option<Tensor>; N]>;
}

/// An operator as a node.
pub struct Node<O>(pub O);

impl<O: Operator<1>> CustomOp1 for Node<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (elements, shape) = self.0.forward([Operand { storage, layout }])?;
        Ok((CpuStorage::F32(elements), shape))
    }

    fn bwd(&self, x: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [grad] = self.0.backward([x], result, &grad.contiguous()?)?;
        Ok(grad)
    }
}

impl<O: Operator<2>> CustomOp2 for Node<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let operands = [(a, a_layout), (b, b_layout)].map(|(storage, layout)| Operand { storage, layout });
        let (elements, shape) = self.0.forward(operands)?;
        Ok((CpuStorage::F32(elements), shape))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok(self.0.backward([a, b], result, &grad.contiguous()?)?.into())
    }
}

impl<O: Operator<3>> CustomOp3 for Node<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
        c: &CpuStorage,
        c_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let operands = [(a, a_layout), (b, b_layout), (c, c_layout)];
        let operands = operands.map(|(storage, layout)| Operand { storage, layout });
        let (elements, shape) = self.0.forward(operands)?;
        Ok((CpuStorage::F32(elements), shape))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Ok(self.0.backward([a, b, c], result, &grad.contiguous()?)?.into())
    }
}

/// The elements of a contiguous f32 operand.
fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let all = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&all[start..end]),
        None => bail!("a fused operator needs contiguous operands, got strides {:?}", layout.stride()),
    }
}

/// Calls `body` with the elements of contiguous f32 tensors on the CPU, without copying them.
pub fn with_elements<const N: usize, R>(
    tensors: [&Tensor; N],
    body: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R> {
    let stored = tensors.map(Tensor::storage_and_layout);
    let mut all: [&[f32]; N] = [&[]; N];
    for ((storage, layout), slice) in stored.iter().zip(&mut all) {
        let Storage::Cpu(cpu) = &**storage else { bail!("the fused operators run on the CPU only") };
        *slice = elements(cpu, layout)?;
    }
    Ok(body(all))
}

/// A new tensor that owns `data`.
pub fn tensor_like(data: Vec<f32>, shape: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(data, shape.shape(), &Device::Cpu)
}
