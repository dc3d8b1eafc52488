//! Files as `torch.save` writes them are among the goldens of the crate `tests`; here are those that nobody should write.
use super::*;
use std::io::Write;

/// A protocol 2 pickle of `{name: tensor}`, with the storage's class and element count, and the tensor's offset, shape and strides.
fn pickle(class: &str, elements: u8, offset: u8, shape: &[u8], stride: &[u8]) -> Vec<u8> {
    let text = |text: &str| [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let tuple = |numbers: &[u8]| {
        let numbers: Vec<u8> = numbers.iter().flat_map(|n| [b'K', *n]).collect();
        [b"(".as_slice(), &numbers, b"t"].concat()
    };
    let class = format!("ctorch\n{class}\n");
    let storage = [
        b"(".as_slice(),
        &text("storage"),
        class.as_bytes(),
        &text("0"),
        &text("cpu"),
        &[b'K', elements],
        b"tQ",
    ];
    let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n((";
    let mut all =
        vec![b"\x80\x02}(".to_vec(), text("w"), rebuild[..rebuild.len() - 1].to_vec(), storage.concat()];
    all.extend([vec![b'K', offset], tuple(shape), tuple(stride), b"\x89}tRu.".to_vec()]);
    all.concat()
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
