//! Names of the classes: from label files, or from config.json.
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{decoded, Json};
use crate::text::{read_bounded, shown, MAX_TEXT};
use std::path::{Path, PathBuf};
use vitreous::models::vit::VitConfig;

/// Files that are looked for beside the weights.
const LABEL_FILES: [&str; 2] = ["labels.txt", "classes.txt"];

/// Longest label, in bytes: a longer line is no name.
const MAX_LABEL: usize = 1024;

/// The label files that lie beside the weights.
fn beside(folder: &Path) -> Vec<PathBuf> {
    LABEL_FILES.map(|name| folder.join(name)).into_iter().filter(|path| path.is_file()).collect()
}

/// The labels of a model: of the file given, else of a file beside the weights, else those that config.json
/// has. Which of several was taken is added to `warnings`, where they differ.
pub(crate) fn find(
    folder: &Path,
    given: Option<&Path>,
    of_config: &[String],
    config: &VitConfig,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, CheckpointError> {
    // A headless model's config.json may still hold the labels of a head that was left out.
    if config.classes == 0 && given.is_none() {
        return Ok(vec![]);
    }
    if let Some(path) = given {
        let labels = read(path)?;
        if labels.is_empty() {
            let reason = "holds no labels; write one per line, line number = class index".into();
            return Err(CheckpointError::LabelText { path: path.to_path_buf(), reason });
        }
        check(path, &labels, config)?;
        return Ok(labels);
    }
    let mut found = vec![];
    for path in beside(folder) {
        let labels = read(&path)?;
        match labels.is_empty() {
            true => warnings.push(format!("{} holds no labels, and is passed over", shown(&path))),
            false => found.push((path, labels)),
        }
    }
    if !of_config.is_empty() {
        found.push((folder.join("config.json"), of_config.to_vec()));
    }
    let Some((path, labels)) = found.first() else { return Ok(vec![]) };
    check(path, labels, config)?;
    if let Some((other, _)) = found.iter().find(|(_, others)| others != labels) {
        let [path, other] = [path, other].map(|path| shown(path));
        warnings.push(format!("the labels of {path} are taken, and those of {other} differ from them"));
    }
    Ok(labels.clone())
}

/// Checks that there is one label per class, or none at all.
pub(crate) fn check(path: &Path, labels: &[String], config: &VitConfig) -> Result<(), CheckpointError> {
    if labels.is_empty() || labels.len() == config.classes {
        return Ok(());
    }
    Err(CheckpointError::Labels { path: path.to_path_buf(), found: labels.len(), expected: config.classes })
}

/// One label per line; blank lines at the end do not count.
fn read(path: &Path) -> Result<Vec<String>, CheckpointError> {
    let error = |reason: String| CheckpointError::LabelText { path: path.to_path_buf(), reason };
    let bytes = read_bounded(path, MAX_TEXT).map_err(|e| CheckpointError::io(path, e))?;
    let text = decoded(&bytes).map_err(error)?;
    let labels: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_string()).collect();
    match labels.iter().position(|label| label.len() > MAX_LABEL) {
        Some(line) => Err(error(format!(
            "line {} has {} bytes, and a label has at most {MAX_LABEL}; write one label per line",
            line + 1,
            labels[line].len()
        ))),
        None => Ok(labels),
    }
}

/// `{"0": "tench", "1": …}`: every index from 0 on must be there.
pub(crate) fn of_map(map: &Json) -> Result<Vec<String>, CheckpointError> {
    let count = map.len();
    (0..count)
        .map(|i| match map.string(&i.to_string())? {
            Some(label) => Ok(label),
            None => Err(map.error(format!("`id2label` has {count} entries, but none for class {i}"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_every_usual_encoding_is_read() {
        let utf16 = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
            [mark.to_vec(), "Käse\r\nBrot\r\n".encode_utf16().flat_map(bytes).collect()].concat()
        };
        for bytes in [
            "Käse\nBrot\n\n".as_bytes().to_vec(),
            "\u{feff}Käse\r\nBrot".as_bytes().to_vec(),
            utf16([0xFF, 0xFE], u16::to_le_bytes),
            utf16([0xFE, 0xFF], u16::to_be_bytes),
        ] {
            let text = decoded(&bytes).unwrap();
            assert_eq!(text.trim_end().lines().map(str::trim).collect::<Vec<_>>(), ["Käse", "Brot"]);
        }
    }

    #[test]
    fn other_encodings_are_named() {
        assert!(decoded(b"K\xe4se").unwrap_err().contains("byte 1 is in another encoding"));
        for utf32 in [&b"\xff\xfe\0\0K\0\0\0"[..], b"\0\0\xfe\xff\0\0\0K"] {
            assert!(decoded(utf32).unwrap_err().contains("UTF-32"));
        }
        assert!(decoded(b"K\0s\0").unwrap_err().contains("UTF-16 without"));
        assert!(decoded(b"\xff\xfeK\0s").unwrap_err().contains("damaged UTF-16"));
    }
}
