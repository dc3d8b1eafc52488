//! Files as `torch.save` writes them are among the goldens of the crate `tests`; here are those that nobody should write.
use super::*;
use std::io::Write;

/// A string as pickled.
fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn number(number: usize) -> Vec<u8> {
    [b"J".as_slice(), &(number as i32).to_le_bytes()].concat()
}

/// Name and tensor, with the storage's class, key and element count, and the tensor's offset, shape and strides.
fn entry(
    name: &str,
    class: &str,
    key: &str,
    counts: [usize; 2],
    shape: &[usize],
    stride: &[usize],
) -> Vec<u8> {
    let tuple = |numbers: &[usize]| {
        let numbers: Vec<u8> = numbers.iter().flat_map(|n| number(*n)).collect();
        [b"(".as_slice(), &numbers, b"t"].concat()
    };
    let [elements, offset] = counts;
    let parts: [Vec<u8>; 11] = [
        text(name),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        format!("ctorch\n{class}\n").into_bytes(),
        text(key),
        text("cpu"),
        number(elements),
        b"tQ".to_vec(),
        [number(offset), tuple(shape), tuple(stride)].concat(),
        // requires_grad
        vec![0x89],
        b"tR".to_vec(),
    ];
    parts.concat()
}

/// A protocol 2 pickle of a dict of entries.
fn dict(entries: &[Vec<u8>]) -> Vec<u8> {
    [b"\x80\x02}(".as_slice(), &entries.concat(), b"u."].concat()
}

fn pickle(class: &str, elements: usize, offset: usize, shape: &[usize], stride: &[usize]) -> Vec<u8> {
    dict(&[entry("w", class, "0", [elements, offset], shape, stride)])
}

/// The tensors as `torch.save` writes a model's state dict.
pub(in super::super) fn torch_file(tensors: &BTreeMap<String, FloatTensor>) -> tempfile::NamedTempFile {
    let (mut entries, mut storages) = (vec![], vec![]);
    for (index, (name, tensor)) in tensors.iter().enumerate() {
        let mut stride = vec![1; tensor.shape.len()];
        for axis in (1..stride.len()).rev() {
            stride[axis - 1] = stride[axis] * tensor.shape[axis];
        }
        let count = tensor.data.len();
        entries.push(entry(name, "FloatStorage", &index.to_string(), [count, 0], &tensor.shape, &stride));
        storages.push((format!("model/data/{index}"), bytemuck::cast_slice(&tensor.data)));
    }
    let pickle = dict(&entries);
    let mut files: Vec<(&str, &[u8])> = vec![("model/data.pkl", &pickle)];
    files.extend(storages.iter().map(|(name, bytes)| (name.as_str(), *bytes)));
    zip_file(&files)
}

fn zip_file(entries: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut zip = zip::ZipWriter::new(file.reopen().unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(*name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    file
}

fn tensor(pickle: &[u8], data: &[u8]) -> Result<FloatTensor, String> {
    let file = zip_file(&[("archive/data.pkl", pickle), ("archive/data/0", data)]);
    let mut archive = Archive::read(file.path()).map_err(|e| e.to_string())?;
    Ok(archive.tensors.remove("w").unwrap())
}

#[test]
fn views_of_a_storage_are_gathered_by_their_strides() {
    let data: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let transposed = tensor(&pickle("FloatStorage", 8, 1, &[3, 2], &[1, 3]), &data).unwrap();
    assert_eq!(transposed, FloatTensor { shape: vec![3, 2], data: vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0] });
    let whole = tensor(&pickle("FloatStorage", 8, 0, &[2, 1, 4], &[4, 9, 1]), &data).unwrap();
    assert_eq!(whole.data, (0..8).map(|i| i as f32).collect::<Vec<_>>());
    let half = tensor(&pickle("HalfStorage", 2, 0, &[2], &[1]), &[0, 0x3c, 0, 0xc0]).unwrap();
    assert_eq!(half.data, [1.0, -2.0]);
    let counter = tensor(&pickle("LongStorage", 1, 0, &[1], &[1]), &[0; 8]).unwrap();
    assert_eq!(counter, FloatTensor { shape: vec![1], data: vec![] });
}

#[test]
fn hostile_descriptions_are_refused() {
    let data = [0; 32];
    // The dict's last items again: a name and a tensor, by the memo.
    let mut twice = pickle("FloatStorage", 8, 0, &[8], &[1]);
    let name = twice.windows(6).position(|bytes| bytes == b"X\x01\x00\x00\x00w").unwrap() + 6;
    twice.splice(name..name, *b"q\x07");
    let end = twice.len() - 2;
    twice.splice(end..end, *b"q\x08h\x07h\x08");
    for (pickle, reason) in [
        (pickle("FloatStorage", 8, 1, &[8], &[1]), "`w` reaches beyond its storage"),
        (pickle("FloatStorage", 8, 0, &[3, 3], &[0, 0]), "`w` reaches beyond its storage"),
        (pickle("FloatStorage", 9, 0, &[9], &[1]), "storage 0 has 32 bytes, expected 36"),
        (pickle("QInt8Storage", 8, 0, &[8], &[1]), "`w` has element type QInt8Storage"),
        (pickle("FloatStorage", 8, 0, &[8], &[1, 1]), "`w` is described in an unknown way"),
        (
            b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.".to_vec(),
            "class posix.system, not a dict of tensors",
        ),
        (b"\x80\x02}X\x05\x00\x00\x00epochK\x03s.".to_vec(), "a dict without tensors, whose keys are epoch"),
        (b"\x80\x02".to_vec(), "the pickle breaks off"),
        (twice, "`w` is there twice"),
        (pickle("FloatStorage", 1, 0, &[1; 65], &[1; 65]), "`w` is described in an unknown way"),
    ] {
        let error = tensor(&pickle, &data).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn other_zip_files_are_refused() {
    let file = zip_file(&[("readme.txt", b"hello")]);
    let error = Archive::read(file.path()).err().unwrap().to_string();
    assert!(
        error.contains("holds no data.pkl") && error.contains("torch.save(model.state_dict()"),
        "{error}"
    );
    let pickle = pickle("FloatStorage", 1, 0, &[1], &[1]);
    let file = zip_file(&[("a/data.pkl", &pickle), ("a/byteorder", b"big"), ("a/data/0", &[0; 4])]);
    assert!(Archive::read(file.path()).err().unwrap().to_string().contains("byte order is \"big\""));
    let mut cut = tempfile::NamedTempFile::new().unwrap();
    cut.write_all(b"PK\x03\x04 and nothing more").unwrap();
    assert!(Archive::read(cut.path()).err().unwrap().to_string().contains("not a readable PyTorch file"));
}
