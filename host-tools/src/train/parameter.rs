//! Trained parameters: name, shape, starting values, and whether weight decay pulls on them.

use super::random::{normal, uniform};
use rand::Rng;

/// Deviation of starting tokens and positions (Dosovitskiy et al., arXiv 2010.11929).
pub const TOKEN_DEVIATION: f32 = 0.02;

/// What a parameter is, which decides how it starts and whether weight decay pulls on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Matrix with this many inputs and outputs: Xavier uniform, decayed.
    Matrix(usize, usize),
    /// Learned token or position: normal with [`TOKEN_DEVIATION`], not decayed.
    Token,
    /// Layer norm's gain: 1, not decayed.
    Gain,
    /// Bias: 0, not decayed.
    Bias,
}

impl Role {
    fn of(name: &str, shape: &[usize]) -> Role {
        match shape {
            [_] if name.ends_with(".bias") => Role::Bias,
            [_] => Role::Gain,
            [1, _, _] => Role::Token,
            _ if name.contains("position_encoding") || name.contains("query_embed") => Role::Token,
            _ => Role::Matrix(shape[1..].iter().product(), shape[0]),
        }
    }
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct ParameterSpec {
    /// Name of the tensor, also in checkpoints.
    pub name: String,
    /// Shape as PyTorch has it, for example (outputs, inputs).
    pub shape: Vec<usize>,
    role: Role,
}

impl ParameterSpec {
    /// A parameter whose name and shape say what it is.
    pub fn new(name: String, shape: Vec<usize>) -> Self {
        ParameterSpec { role: Role::of(&name, &shape), name, shape }
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether AdamW's weight decay applies: to matrices only, not to biases, norms, tokens and positions.
    pub fn decays(&self) -> bool {
        matches!(self.role, Role::Matrix(..))
    }

    /// Starting values.
    pub fn initial(&self, rng: &mut impl Rng) -> Vec<f32> {
        match self.role {
            Role::Matrix(inputs, outputs) => {
                uniform(self.elements(), (6.0 / (inputs + outputs) as f32).sqrt(), rng)
            }
            Role::Token => (0..self.elements()).map(|_| TOKEN_DEVIATION * normal(rng)).collect(),
            Role::Gain => vec![1.0; self.elements()],
            Role::Bias => vec![0.0; self.elements()],
        }
    }
}

/// Number of elements of all parameters together.
pub fn elements_of<'a>(specs: impl IntoIterator<Item = &'a ParameterSpec>) -> usize {
    specs.into_iter().map(ParameterSpec::elements).sum()
}
