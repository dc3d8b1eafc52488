//! What a file is, by its first bytes: one of the formats that are read, or another thing, which its error
//! names.
use super::locate::{FROM_FLAX, FROM_TENSORFLOW, INDEX};
use crate::checkpoint::error::CheckpointError;
use crate::text::short;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Safetensors,
    /// PyTorch's since 1.6.
    Zip,
    /// PyTorch's before that, which is a row of pickles.
    Pickle,
    /// An index of shards.
    Index,
}

/// Bytes at a file's start that are looked at.
const START: u64 = 1024;
/// Where the end mark of a zip archive may lie, counted from the file's end.
const ZIP_END: u64 = (1 << 16) + 22;
/// `torch.serialization.MAGIC_NUMBER` as pickle's protocols 0 and 1 write it.
const TEXT_MAGIC: &[u8] = b"L119547037146038801333356L\n";

const SAVE_FLOAT: &str =
    "export the float weights to safetensors, or by `torch.save(model.state_dict(), \"model.pt\")`";
const UNPACK: &str = "unpack it and pass the file of weights in it";
const DOWNLOAD: &str = "download it again";

/// Tells what a file is.
///
/// # Errors
/// A file that cannot be read, or that is of no format that is read: the message names what it is.
pub(crate) fn identify(path: &Path) -> Result<Format, CheckpointError> {
    let io = |e| CheckpointError::io(path, e);
    let mut file = std::fs::File::open(path).map_err(io)?;
    let length = file.seek(SeekFrom::End(0)).map_err(io)?;
    file.rewind().map_err(io)?;
    let mut start = Vec::new();
    file.by_ref().take(START).read_to_end(&mut start).map_err(io)?;
    let error = |(what, way_out): (String, &str)| CheckpointError::NotWeights {
        path: path.to_path_buf(),
        what,
        way_out: way_out.to_string(),
    };
    if start.is_empty() {
        return Err(error(("is empty (0 bytes)".into(), DOWNLOAD)));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(INDEX) {
        return Ok(Format::Index);
    }
    if is_safetensors(&start) {
        return Ok(Format::Safetensors);
    }
    let is_pickle = start[0] == 0x80 && start.get(1).is_some_and(|protocol| *protocol <= 5);
    if is_pickle || start.starts_with(TEXT_MAGIC) || is_text_pickle(&start) {
        return Ok(Format::Pickle);
    }
    let zip = zip_end(&mut file, length).map_err(io)?;
    if start.starts_with(b"PK\x03\x04") && zip.as_ref().is_none_or(|zip| zip.before == 0) {
        return match zip {
            Some(_) => Ok(Format::Zip),
            None => Err(CheckpointError::Truncated {
                path: path.to_path_buf(),
                what: format!(
                    "a zip archive, as PyTorch writes them, of which the directory at the end is missing; \
                     it has {length} bytes"
                ),
            }),
        };
    }
    let described = by_magic(&start).map(|(what, way_out)| (what.to_string(), way_out));
    let described = described.or_else(|| text(&start, length));
    let described = described.or_else(|| {
        let way_out = "remove what is before it, or download it again";
        let before = zip?.before;
        Some((format!("is a zip archive with something else before it ({before} bytes)"), way_out))
    });
    let described = described.or_else(|| by_structure(name, &start));
    Err(error(described.unwrap_or_else(|| {
        let shown: Vec<String> = start.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let what = format!(
            "is neither safetensors nor a file by `torch.save` (it has {length} bytes and begins with {})",
            shown.join(" ")
        );
        (what, SAVE_FLOAT)
    })))
}

/// Eight bytes of length, then JSON. No text has the zero bytes that a length below 2⁴⁸ ends with.
fn is_safetensors(start: &[u8]) -> bool {
    start.get(6..9) == Some(&[0, 0, b'{'])
}

/// Pickle's protocol 0 has no mark: these are what containers and objects begin with.
fn is_text_pickle(start: &[u8]) -> bool {
    [&b"(dp"[..], b"(lp", b"ccollections\n", b"ccopy_reg\n", b"cnumpy", b"ctorch"]
        .iter()
        .any(|mark| start.starts_with(mark))
}

/// The end of a zip archive.
struct ZipEnd {
    /// Bytes before the archive's own start, from which the places in it count.
    before: u64,
}

/// Reads a zip archive's end mark: the archive's directory ends there, or at the records of zip64 before it.
fn zip_end(file: &mut std::fs::File, length: u64) -> std::io::Result<Option<ZipEnd>> {
    const ZIP64_RECORDS: usize = 56 + 20;
    let from = length.saturating_sub(ZIP_END + ZIP64_RECORDS as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(ZIP_END + ZIP64_RECORDS as u64).read_to_end(&mut tail)?;
    let Some(at) = tail.windows(4).rposition(|bytes| bytes == b"PK\x05\x06") else { return Ok(None) };
    let number = |bytes: &[u8], at: usize, width: usize| {
        let bytes = bytes.get(at..at + width).unwrap_or_default();
        bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let records = at.checked_sub(ZIP64_RECORDS).map(|start| &tail[start..at]);
    let records = records.filter(|records| records.starts_with(b"PK\x06\x06"));
    let (size, start, end) = match records {
        Some(records) => (number(records, 40, 8), number(records, 48, 8), at - ZIP64_RECORDS),
        None => (number(&tail, at + 12, 4), number(&tail, at + 16, 4), at),
    };
    let before = (from + end as u64).saturating_sub(size.saturating_add(start));
    Ok(Some(ZipEnd { before }))
}

/// What begins in a way of its own.
fn by_magic(start: &[u8]) -> Option<(&'static str, &'static str)> {
    const IS_CONVERTED: &str =
        "pass the weights that it was made of, or give it to `vitreous run` or `inspect`";
    const FROM_GGUF: &str = "its weights may be quantized; take the model's safetensors or .pth instead";
    const MAGICS: [(usize, &[u8], &str, &str); 23] = [
        (0, &vitreous::format::MAGIC, "is a converted model (.vtr)", IS_CONVERTED),
        (0, b"\x93NUMPY", "is a NumPy array (.npy)", SAVE_FLOAT),
        (0, b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes (.h5)", FROM_TENSORFLOW),
        (0, b"GGUF", "is a GGUF file of llama.cpp", FROM_GGUF),
        (0, b"lmgg", "is a GGML file", FROM_GGUF),
        (0, b"tjgg", "is a GGML file", FROM_GGUF),
        (4, b"TFL3", "is a TensorFlow Lite model (.tflite)", FROM_TENSORFLOW),
        (4, b"ET12", "is an ExecuTorch program (.pte)", SAVE_FLOAT),
        (257, b"ustar", "is a tar archive", UNPACK),
        (0, b"\x1f\x8b", "is compressed by gzip", UNPACK),
        (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive", UNPACK),
        (0, b"\xfd7zXZ\0", "is compressed by xz", UNPACK),
        (0, b"BZh", "is compressed by bzip2", UNPACK),
        (0, b"\x28\xb5\x2f\xfd", "is compressed by zstd", UNPACK),
        (0, b"\x04\x22\x4d\x18", "is compressed by lz4", UNPACK),
        (0, b"Rar!", "is a rar archive", UNPACK),
        (0, b"PK\x05\x06", "is an empty zip archive", DOWNLOAD),
        (0, b"\x89PNG", "is a PNG image", "pass the model's weights"),
        (0, b"\xff\xd8\xff", "is a JPEG image", "pass the model's weights"),
        (0, b"%PDF", "is a PDF document", "pass the model's weights"),
        (0, b"\x7fELF", "is a program", "pass the model's weights"),
        (0, b"MZ", "is a program for Windows", "pass the model's weights"),
        (0, b"SQLite format 3", "is an SQLite database", "pass the model's weights"),
    ];
    let found =
        MAGICS.iter().find(|(at, magic, ..)| start.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    found.map(|(_, _, what, way_out)| (*what, *way_out))
}

/// Text where weights should be: mostly an answer of a server that was saved under the weights' name.
fn text(start: &[u8], length: u64) -> Option<(String, &'static str)> {
    // The last character may be cut.
    let cut = match std::str::from_utf8(start) {
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&start[..e.valid_up_to()]).ok()?,
        whole => whole.ok()?,
    };
    if cut.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let text = cut.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_ascii_lowercase();
    if text.starts_with("version https://git-lfs") {
        let size = text.lines().find_map(|line| line.strip_prefix("size ")).unwrap_or("?");
        let what =
            format!("is a Git LFS pointer of {length} bytes in place of the file of {} bytes", short(size));
        return Some((what, "fetch the file with `git lfs pull`, or download it from its web page"));
    }
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") || lower.contains("<head") {
        let way_out =
            "open the link in a browser (it may ask for a login or a click), and save the file itself";
        return Some(("is a web page (HTML)".into(), way_out));
    }
    let line: String = text.lines().next().unwrap_or_default().chars().take(60).collect();
    let line = short(line.trim_end());
    if text.starts_with('<') {
        return Some((format!("is XML text that begins with `{line}`, perhaps a server's error"), DOWNLOAD));
    }
    if text.starts_with(['{', '[']) {
        let way_out =
            "pass the file of weights that it belongs to, or download that again if this is a server's error";
        return Some((format!("is JSON text that begins with `{line}`"), way_out));
    }
    Some((format!("is text that begins with `{line}`"), "pass the model's weights, or download them again"))
}

/// Formats without a mark, by what their first fields must be and by their names.
fn by_structure(name: &str, start: &[u8]) -> Option<(String, &'static str)> {
    let lower = name.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    let text_at = |at: usize, count: usize| {
        start.get(at..at + count).is_some_and(|text| text.iter().all(|byte| (0x20..0x7f).contains(byte)))
    };
    // Protocol buffers: ONNX begins with its IR version and the producer's name, or another field of its own.
    let is_onnx = start.starts_with(&[0x08])
        && start.get(1).is_some_and(|version| (3..=20).contains(version))
        && (start.get(2) == Some(&0x12)
            && text_at(4, usize::from(start.get(3).copied().unwrap_or(0)).min(6)));
    if is_onnx || ends(&[".onnx"]) {
        return Some(("is an ONNX model".into(), "take the PyTorch weights that it was exported from"));
    }
    if ends(&[".pb", ".pbtxt"]) {
        return Some(("is a graph or SavedModel of TensorFlow".into(), FROM_TENSORFLOW));
    }
    if ends(&[".index", ".meta"]) || lower.contains(".data-0") {
        return Some(("is part of a checkpoint of TensorFlow".into(), FROM_TENSORFLOW));
    }
    // A map of up to 15 entries, or of 16 or 32 bits of count, whose first key is a string.
    let key = match start.first() {
        Some(0x81..=0x8f) => start.get(1),
        Some(0xde) => start.get(3),
        Some(0xdf) => start.get(5),
        _ => None,
    };
    if ends(&[".msgpack"]) || matches!(key, Some(0xa1..=0xbf | 0xd9 | 0xda)) {
        return Some(("is a MessagePack file, as Flax writes".into(), FROM_FLAX));
    }
    if ends(&[".ckpt"]) {
        let way_out = "if it is of MindSpore or TensorFlow, export the weights to safetensors there";
        return Some(("is no .ckpt file of PyTorch".into(), way_out));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identified(name: &str, bytes: &[u8]) -> Result<Format, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        identify(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_no_file_of_weights_is_named() {
        let mut tar = vec![0; 600];
        tar[257..262].copy_from_slice(b"ustar");
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 22900000\n";
        for (name, bytes, words) in [
            ("m.safetensors", &b""[..], "is empty"),
            ("m.safetensors", lfs, "Git LFS pointer of 71 bytes in place of the file of 22900000 bytes"),
            ("m.pth", b"\n<!DOCTYPE html><html>", "web page"),
            ("m.pth", b"\xef\xbb\xbf<html>", "web page"),
            ("m.pth", b"<?xml version=\"1.0\"?><Error>", "XML text"),
            ("m.bin", b"{\"error\": \"Repository not found\"}", "JSON text that begins with `{\\\"error"),
            ("m.bin", b"Entry not found", "is text that begins with `Entry not found`"),
            ("m.vtr", b"\x89VTR\r\n\x1a\n\0\0", "converted model (.vtr)"),
            ("m.npy", b"\x93NUMPY\x01\0v\0{'descr'", "NumPy array"),
            ("m.h5", b"\x89HDF\r\n\x1a\n\0", "HDF5"),
            ("m.gguf", b"GGUF\x03\0\0\0", "GGUF"),
            ("m.tflite", b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            ("m.onnx", b"\x08\x08\x12\x07pytorch\x1a\x05", "ONNX"),
            ("m.bin", b"\x08\x0a\x12\x07pytorch\x1a\x05", "ONNX"),
            ("saved_model.pb", b"\x08\x01\x12\x80", "SavedModel"),
            ("model.ckpt.index", b"\0\0\x01\x02\xff", "checkpoint of TensorFlow"),
            ("m.bin", b"\x81\xa6params\x82\xff", "MessagePack"),
            ("m.tar", &tar, "tar archive"),
            ("m.pth.gz", b"\x1f\x8b\x08\0", "gzip"),
            ("m.7z", b"7z\xbc\xaf\x27\x1c\0", "7z"),
            ("m.pth", b"junkPK\x05\x06\0\0\xff", "zip archive with something else before it"),
            ("m.pth", b"PK\x03\x04\0\0", "incomplete"),
            ("m.bin", b"\xfe\xfe\xfe", "begins with fe fe fe"),
        ] {
            let error = identified(name, bytes).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("too large"), "{error}");
        }
    }

    #[test]
    fn what_is_read_is_known_whatever_its_name() {
        assert_eq!(identified("m.pth", b"\x02\0\0\0\0\0\0\0{}"), Ok(Format::Safetensors));
        assert_eq!(identified("m.safetensors", b"\x80\x05\x95\x0d\0"), Ok(Format::Pickle));
        assert_eq!(identified("m.pth", TEXT_MAGIC), Ok(Format::Pickle));
        assert_eq!(identified("m.index.json", b"{}"), Ok(Format::Index));
        assert_eq!(
            identified("m.zip", b"PK\x03\x04 PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\0\0"),
            Ok(Format::Zip)
        );
    }
}
