//! What config.json, preprocessor_config.json and label files beside the weights say.
use super::exact::Exact;
use super::CheckpointError;
use serde_json::Value;
use std::path::{Path, PathBuf};
use vitreous::models::vit::{Activation, Output, Pool};

/// A JSON object with the file that it came from, for messages.
#[derive(Clone)]
pub(super) struct Json {
    pub path: PathBuf,
    value: Value,
}

impl Json {
    /// `None` where there is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(CheckpointError::io(path, e)),
        };
        let value: Value = serde_json::from_str(&text).map_err(|e| CheckpointError::Json {
            path: path.into(),
            reason: format!("not valid JSON: {e}"),
        })?;
        if !value.is_object() {
            return Err(CheckpointError::Json { path: path.into(), reason: "not a JSON object".into() });
        }
        Ok(Some(Self { path: path.to_path_buf(), value }))
    }

    /// Any value but null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|v| !v.is_null())
    }

    /// A nested object.
    pub fn object(&self, key: &str) -> Option<Self> {
        let value = self.get(key)?.clone();
        value.is_object().then(|| Self { path: self.path.clone(), value })
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error(format!("`{key}` is {value}, expected {expected}"))),
        }
    }

    pub fn error(&self, reason: String) -> CheckpointError {
        CheckpointError::Json { path: self.path.clone(), reason }
    }

    pub fn string(&self, key: &str) -> Result<Option<String>, CheckpointError> {
        self.typed(key, "a string", |v| v.as_str().map(str::to_string))
    }

    pub fn number(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub fn integer(&self, key: &str) -> Result<Option<usize>, CheckpointError> {
        self.typed(key, "a whole number", |v| usize::try_from(v.as_u64()?).ok())
    }

    pub fn boolean(&self, key: &str) -> Result<Option<bool>, CheckpointError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, CheckpointError> {
        self.typed(key, "a list of numbers", |v| v.as_array()?.iter().map(Value::as_f64).collect())
    }

    pub fn strings(&self, key: &str) -> Result<Option<Vec<String>>, CheckpointError> {
        self.typed(key, "a list of strings", |v| {
            v.as_array()?.iter().map(|s| s.as_str().map(str::to_string)).collect()
        })
    }

    /// `224`, `[224, 224]` or `{"height": 224, "width": 224}` as (height, width).
    pub fn height_width(&self, key: &str) -> Result<Option<(usize, usize)>, CheckpointError> {
        let size = |v: &Value| usize::try_from(v.as_u64()?).ok();
        self.typed(key, "a side, [height, width] or {height, width}", |v| match v {
            Value::Array(sides) if sides.len() == 2 => Some((size(&sides[0])?, size(&sides[1])?)),
            Value::Object(sides) => Some((size(sides.get("height")?)?, size(sides.get("width")?)?)),
            side => size(side).map(|s| (s, s)),
        })
    }
}

/// The hyperparameters that config.json gives; each may be absent.
#[derive(Default)]
pub(super) struct Metadata {
    pub exact: Option<Exact>,
    pub name: Option<String>,
    pub heads: Option<usize>,
    pub activation: Option<Activation>,
    pub norm_eps: Option<f32>,
    pub image: Option<(usize, usize)>,
    pub pool: Option<Pool>,
    pub output: Option<Output>,
    pub labels: Vec<String>,
}

impl Metadata {
    pub fn read(config: Option<&Json>) -> Result<Self, CheckpointError> {
        let Some(config) = config else { return Ok(Self::default()) };
        let mut metadata = Self { name: config.string("architecture")?, ..Self::default() };
        if let Some(value) = config.get("vitreous") {
            let exact = serde_json::from_value(value.clone());
            metadata.exact = Some(exact.map_err(|e| config.error(format!("`vitreous`: {e}")))?);
            return Ok(metadata);
        }
        if metadata.name.is_none() {
            metadata.name = config.string("_name_or_path")?.filter(|n| !n.is_empty());
            metadata.name = metadata.name.or(config.string("model_type")?);
        }
        metadata.output = output(config)?;
        metadata.read_timm(config)?;
        metadata.read_hugging_face(config)?;
        Ok(metadata)
    }

    fn read_timm(&mut self, config: &Json) -> Result<(), CheckpointError> {
        let arguments = config.object("model_args");
        if let Some(arguments) = &arguments {
            self.heads = arguments.integer("num_heads")?;
            self.image = arguments.height_width("img_size")?;
            self.activation = match arguments.string("act_layer")?.as_deref() {
                None => None,
                Some("gelu") => Some(Activation::GeluErf),
                Some("gelu_tanh") => Some(Activation::GeluTanh),
                Some("relu") => Some(Activation::Relu),
                Some(other) => return Err(unsupported_activation(config, other)),
            };
        }
        let pretrained = config.object("pretrained_cfg");
        if let (None, Some(pretrained)) = (self.image, &pretrained) {
            self.image = match pretrained.numbers("input_size")?.as_deref() {
                Some(&[_, height, width]) => Some((height as usize, width as usize)),
                _ => None,
            };
        }
        self.pool = match config.string("global_pool")?.as_deref() {
            None => None,
            Some("token") => Some(Pool::Token),
            Some("avg") => Some(Pool::Mean),
            Some(other) => {
                return Err(CheckpointError::Unsupported {
                    path: config.path.clone(),
                    what: format!("global_pool is {other:?}, supported are \"token\" and \"avg\""),
                    way_out: "fine-tune the model with one of these".into(),
                })
            }
        };
        for source in [Some(config), pretrained.as_ref()].into_iter().flatten() {
            if self.labels.is_empty() {
                self.labels = source.strings("label_names")?.unwrap_or_default();
            }
        }
        let quick = self.name.as_ref().is_some_and(|name| name.contains("quickgelu"));
        if quick {
            Err(unsupported_activation(config, "quick_gelu"))
        } else {
            Ok(())
        }
    }

    fn read_hugging_face(&mut self, config: &Json) -> Result<(), CheckpointError> {
        self.heads = self.heads.or(config.integer("num_attention_heads")?);
        self.image = self.image.or(config.height_width("image_size")?);
        self.norm_eps = config.number("layer_norm_eps")?.map(|eps| eps as f32);
        let activation = match config.string("hidden_act")?.as_deref() {
            None => None,
            Some("gelu" | "gelu_python") => Some(Activation::GeluErf),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate") => {
                Some(Activation::GeluTanh)
            }
            Some("relu") => Some(Activation::Relu),
            Some(other) => return Err(unsupported_activation(config, other)),
        };
        self.activation = self.activation.or(activation);
        if let Some(map) = config.object("id2label") {
            self.labels = labels_of_map(&map)?;
        }
        // What transformers writes when nobody named the classes.
        if self.labels.iter().enumerate().all(|(i, label)| *label == format!("LABEL_{i}")) {
            self.labels.clear();
        }
        Ok(())
    }
}

/// What the outputs mean: transformers' `problem_type`.
fn output(config: &Json) -> Result<Option<Output>, CheckpointError> {
    match config.string("problem_type")?.as_deref() {
        None => Ok(None),
        Some("single_label_classification") => Ok(Some(Output::Softmax)),
        Some("multi_label_classification") => Ok(Some(Output::Sigmoid)),
        Some("regression") => Ok(Some(Output::Values)),
        Some(other) => Err(config.error(format!(
            "`problem_type` is {other:?}, expected \"single_label_classification\", \"multi_label_classification\" or \"regression\""
        ))),
    }
}

fn unsupported_activation(config: &Json, name: &str) -> CheckpointError {
    CheckpointError::Unsupported {
        path: config.path.clone(),
        what: format!("the activation {name:?} is none of gelu (erf), gelu (tanh) and relu"),
        way_out: "pass --activation to run the nearest one, and judge the result by the parity report".into(),
    }
}

/// `{"0": "tench", "1": …}`: every index from 0 on must be there.
fn labels_of_map(map: &Json) -> Result<Vec<String>, CheckpointError> {
    let count = map.value.as_object().map_or(0, |m| m.len());
    (0..count)
        .map(|i| match map.string(&i.to_string())? {
            Some(label) => Ok(label),
            None => Err(map.error(format!("`id2label` has {count} entries, but none for class {i}"))),
        })
        .collect()
}

/// One label per line; blank lines at the end do not count.
pub(super) fn read_labels(path: &Path) -> Result<Vec<String>, CheckpointError> {
    let text = std::fs::read_to_string(path).map_err(|e| CheckpointError::io(path, e))?;
    Ok(text.trim_end().lines().map(|line| line.trim().to_string()).collect())
}
