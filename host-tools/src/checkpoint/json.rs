//! JSON files beside the weights, read field by field with errors that name file and field.
use super::error::CheckpointError;
use crate::text::{self, MAX_TEXT};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A JSON object with the file that it came from, for messages.
#[derive(Clone)]
pub(super) struct Json {
    pub path: PathBuf,
    value: Value,
    /// Where the values of a record stand in truth, by the keys that they have here.
    places: Rc<BTreeMap<String, String>>,
}

impl Json {
    /// `None` where there is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let bytes = match text::read_bounded(path, MAX_TEXT) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(CheckpointError::io(path, e)),
        };
        let text = decoded(&bytes).map_err(|reason| CheckpointError::Json { path: path.into(), reason })?;
        let value: Value = serde_json::from_str(&text).map_err(|e| CheckpointError::Json {
            path: path.into(),
            reason: format!("not valid JSON: {e}"),
        })?;
        if !value.is_object() {
            return Err(CheckpointError::Json { path: path.into(), reason: "not a JSON object".into() });
        }
        Ok(Some(Self { path: path.to_path_buf(), value, places: Rc::default() }))
    }

    /// An object that says nothing.
    pub fn empty(path: &Path) -> Self {
        Self::of_record(path, Value::Object(serde_json::Map::new()), BTreeMap::new())
    }

    /// What a weights' file says of its training, in the form of a JSON object; `places` are the keys that
    /// the file has.
    pub fn of_record(path: &Path, value: Value, places: BTreeMap<String, String>) -> Self {
        Self { path: path.to_path_buf(), value, places: Rc::new(places) }
    }

    /// The file and a field of it, for people.
    pub fn place(&self, key: &str) -> String {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{file} `{}`", self.places.get(key).map_or(key, String::as_str))
    }

    /// Any value but null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|v| !v.is_null())
    }

    /// A nested object.
    pub fn object(&self, key: &str) -> Option<Self> {
        let value = self.get(key)?.clone();
        value.is_object().then(|| Self { path: self.path.clone(), value, places: self.places.clone() })
    }

    /// Names of its fields.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.value.as_object().into_iter().flat_map(|fields| fields.keys().map(String::as_str))
    }

    /// Number of its fields.
    pub fn len(&self) -> usize {
        self.value.as_object().map_or(0, |fields| fields.len())
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

    /// `0.5` or `[0.485, 0.456, 0.406]`.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, CheckpointError> {
        self.typed(key, "a number or a list of numbers", |v| match v {
            Value::Array(values) => values.iter().map(Value::as_f64).collect(),
            value => value.as_f64().map(|value| vec![value]),
        })
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

/// Text in UTF-8 or UTF-16, with or without a byte order mark.
pub(crate) fn decoded(bytes: &[u8]) -> Result<String, String> {
    let utf16 = |bytes: &[u8], word: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let words = pairs.iter().map(|pair| word(*pair));
        let text: Result<String, _> = char::decode_utf16(words).collect();
        text.ok()
            .filter(|_| rest.is_empty())
            .ok_or_else(|| "damaged UTF-16 text; save it as UTF-8".to_string())
    };
    match bytes {
        // As UTF-16 it would begin with a zero character, which no text does.
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => Err("is UTF-32 text; save it as UTF-8".into()),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest),
        bytes => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        format!("not UTF-8 text: byte {} is in another encoding; save it as UTF-8", e.valid_up_to())
    })?;
    if text.contains('\0') {
        return Err("holds zero bytes: no text, or UTF-16 without a byte order mark; save it as UTF-8".into());
    }
    Ok(text.to_string())
}
