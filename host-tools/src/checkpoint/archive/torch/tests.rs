//! Files as `torch.save` writes them are among the goldens of the crate `tests`; here are those that nobody
//! should write, and forms of real ones.
use super::*;
use crate::checkpoint::archive::Archive;
use crate::checkpoint::settings::Settings;
use std::collections::BTreeMap;
use std::io::Write;

/// A string as pickled.
fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn number(number: usize) -> Vec<u8> {
    [b"J".as_slice(), &(number as i32).to_le_bytes()].concat()
}

/// Name and tensor, with the storage's class, key and element count, and the tensor's offset, shape and
/// strides.
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
pub(crate) fn torch_file(tensors: &BTreeMap<String, FloatTensor>) -> tempfile::NamedTempFile {
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

/// A zip archive as PyTorch's writer makes it: stored, and always with the records of zip64 before its end.
fn zip64(entries: &[(String, &[u8])]) -> Vec<u8> {
    let (mut archive, mut directory) = (vec![], vec![]);
    for (name, bytes) in entries {
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes);
        let sizes = [crc, bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
        let offset = archive.len() as u32;
        // Version, flags, method, time and date, sizes, length of the name and of the extra field.
        let common = [&[0; 10][..], &sizes, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        archive.extend([b"PK\x03\x04", &common[..], name.as_bytes(), bytes].concat());
        let attributes = [&[0; 10][..], &offset.to_le_bytes()].concat();
        directory.extend([b"PK\x01\x02\0\0", &common[..], &attributes, name.as_bytes()].concat());
    }
    let (count, start, length) = (entries.len() as u64, archive.len() as u64, directory.len() as u64);
    archive.extend(directory);
    let record = archive.len() as u64;
    let counts = [count, count, length, start].map(u64::to_le_bytes).concat();
    archive.extend([b"PK\x06\x06", &44u64.to_le_bytes()[..], &[45, 0, 45, 0], &[0; 8], &counts].concat());
    archive.extend([b"PK\x06\x07", &[0; 4][..], &record.to_le_bytes(), &1u32.to_le_bytes()].concat());
    let small = [&(count as u16).to_le_bytes()[..], &(count as u16).to_le_bytes()].concat();
    let places = [(length as u32).to_le_bytes(), (start as u32).to_le_bytes()].concat();
    archive.extend([b"PK\x05\x06", &[0; 4][..], &small, &places, &[0; 2]].concat());
    archive
}

/// A file with these bytes.
fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn tensor(pickle: &[u8], data: &[u8]) -> Result<FloatTensor, String> {
    let file = zip_file(&[("archive/data.pkl", pickle), ("archive/data/0", data)]);
    let mut archive = Archive::read(file.path(), None).map_err(|e| e.to_string())?;
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
        (pickle("QInt8Storage", 8, 0, &[8], &[1]), "`w` holds QInt8, expected floats"),
        (pickle("FloatStorage", 8, 0, &[8], &[1, 1]), "`w` is described in an unknown way"),
        (
            b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.".to_vec(),
            "class posix.system, not a dict of tensors",
        ),
        (b"\x80\x02}K\x01}s.".to_vec(), "a dict whose keys are numbers (1)"),
        (b"\x80\x02}.".to_vec(), "an empty dict"),
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
    let error = Archive::read(file.path(), None).err().unwrap().to_string();
    assert!(
        error.contains("without a data.pkl") && error.contains("torch.save(model.state_dict()"),
        "{error}"
    );
    let pickle = pickle("FloatStorage", 1, 0, &[1], &[1]);
    let file = zip_file(&[("a/data.pkl", &pickle), ("a/byteorder", b"big"), ("a/data/0", &[0; 4])]);
    assert!(Archive::read(file.path(), None).err().unwrap().to_string().contains("byte order is \"big\""));
    let mut cut = tempfile::NamedTempFile::new().unwrap();
    cut.write_all(b"PK\x03\x04 and nothing more").unwrap();
    assert!(Archive::read(cut.path(), None).err().unwrap().to_string().contains("the file is incomplete"));
}

#[test]
fn file_names_of_every_length_are_read() {
    let pickle = pickle("FloatStorage", 1, 0, &[1], &[1]);
    for length in 1..=200 {
        // PyTorch puts the file's stem before every name in it.
        let stem = "n".repeat(length);
        let data = 2.5f32.to_le_bytes();
        let entries: [(String, &[u8]); 5] = [
            (format!("{stem}/data.pkl"), &pickle),
            (format!("{stem}/byteorder"), b"little"),
            (format!("{stem}/data/0"), &data),
            (format!("{stem}/version"), b"3\n"),
            (format!("{stem}/.data/serialization_id"), b"1234567890123456789012345678901234567890"),
        ];
        let bytes = zip64(&entries);
        let archive = Archive::read(file(&bytes).path(), None).unwrap_or_else(|e| panic!("{length}: {e}"));
        assert_eq!(archive.tensors["w"].data, [2.5], "{length}");
        // Something before it, cut at its end, something after it.
        let before = [b"#!/bin/sh\n\xff", &bytes[..]].concat();
        let error = Archive::read(file(&before).path(), None).err().unwrap().to_string();
        assert!(error.contains("zip archive with something else before it"), "{error}");
        let cut = Archive::read(file(&bytes[..bytes.len() - 30]).path(), None).err().unwrap().to_string();
        assert!(cut.contains("the file is incomplete"), "{cut}");
        let twice = [&bytes[..], &bytes].concat();
        let error = Archive::read(file(&twice).path(), None).err().unwrap().to_string();
        assert!(error.contains(&format!("something else before it ({} bytes)", bytes.len())), "{error}");
        assert!(Archive::read(file(&[&bytes[..], b"\n"].concat()).path(), None).is_ok());
    }
}

#[test]
fn zip_archives_of_other_programs_are_named() {
    let pickle = pickle("FloatStorage", 1, 0, &[1], &[1]);
    for (entries, words) in [
        (
            vec![("a/data.pkl", &pickle[..]), ("a/code/__torch__.py", b""), ("a/constants.pkl", b"")],
            "TorchScript",
        ),
        (
            vec![("patch.npy", &b"\x93NUMPY"[..]), ("head.npy", b"\x93NUMPY")],
            "NumPy archive (.npz) of 2 arrays",
        ),
        (vec![("config.json", &b"{}"[..]), ("model.weights.h5", b"")], "Keras"),
        (vec![("m/archive_format", &b"pt2"[..]), ("m/models/model.json", b"")], "torch.export"),
        (vec![("x/model.safetensors", &b""[..])], "it holds x/model.safetensors"),
    ] {
        let error = Archive::read(zip_file(&entries).path(), None).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// A dict of dicts of one-element or 2×2 tensors: (path, name, whether it is a matrix); storages are numbered
/// as listed.
fn checkpoint(tensors: &[(&str, &str, bool)], more: &[u8]) -> tempfile::NamedTempFile {
    let mut dicts: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    let data: Vec<Vec<u8>> = (0..tensors.len()).map(|i| (i as f32).to_le_bytes().repeat(4)).collect();
    let keys: Vec<String> = (0..tensors.len()).map(|i| i.to_string()).collect();
    for ((path, name, is_matrix), key) in tensors.iter().zip(&keys) {
        let (shape, stride): (&[usize], &[usize]) =
            if *is_matrix { (&[2, 2], &[2, 1]) } else { (&[4], &[1]) };
        dicts.entry(path).or_default().push(entry(name, "FloatStorage", key, [4, 0], shape, stride));
    }
    let mut pickle = b"\x80\x02}(".to_vec();
    for (path, entries) in dicts {
        let keys: Vec<&str> = path.split('.').filter(|key| !key.is_empty()).collect();
        for key in &keys {
            pickle.extend([text(key), b"}(".to_vec()].concat());
        }
        pickle.extend(entries.concat());
        pickle.extend(b"u".repeat(keys.len()));
    }
    pickle.extend([more, b"u."].concat());
    let names: Vec<String> = keys.iter().map(|key| format!("c/data/{key}")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("c/data.pkl", &pickle)];
    files.extend(names.iter().zip(&data).map(|(name, bytes)| (name.as_str(), &bytes[..])));
    zip_file(&files)
}

#[test]
fn the_plain_one_of_several_sets_is_taken_and_said() {
    for (tensors, taken, said) in [
        (vec![("state_dict", "w", true)], Some("state_dict"), false),
        (vec![("state_dict_ema", "w", true), ("state_dict", "w", true)], Some("state_dict"), true),
        (vec![("ema", "w", true), ("model", "w", true)], Some("model"), true),
        (vec![("params", "w", true), ("params_ema", "w", true)], Some("params"), true),
        (vec![("model.state_dict", "w", true), ("epoch", "x", false)], Some("model.state_dict"), false),
        (vec![("backbone", "w", true), ("backbone_ema", "w", true)], Some("backbone"), true),
        (vec![("", "loose", true), ("model", "w", true), ("model", "v", true)], Some("model"), true),
        (vec![("", "w", true), ("", "v", true), ("ema", "w", true)], None, true),
        (vec![("optimizer", "w", true), ("net", "w", true)], Some("net"), false),
        (vec![("state", "exp_avg", true), ("net", "w", true)], Some("net"), false),
        (vec![("model", "criterion.w", true), ("dino_loss", "centre", true)], Some("model"), true),
    ] {
        let archive = Archive::read(checkpoint(&tensors, b"").path(), None).unwrap();
        assert_eq!(archive.choice.taken.as_deref(), taken, "{tensors:?}");
        let warnings = choice_warnings(&archive);
        assert_eq!(warnings.contains("else pass --weights"), said, "{tensors:?} {warnings}");
    }
}

/// What a user is told of the choice of weights.
fn choice_warnings(archive: &Archive) -> String {
    let mut settings = Settings::default();
    archive.choice.decide(&mut settings);
    settings.warnings().collect()
}

#[test]
fn what_is_ambiguous_is_asked_for() {
    let tensors =
        [("student", "a.w", true), ("teacher", "a.w", true), ("teacher", "b.w", true), ("", "epoch", false)];
    let file = checkpoint(&tensors, b"");
    let error = Archive::read(file.path(), None).err().unwrap().to_string();
    assert!(error.contains("`student` (1 tensor), `teacher` (2 tensors); pass --weights"), "{error}");
    let archive = Archive::read(file.path(), Some("teacher")).unwrap();
    assert_eq!(archive.tensors.keys().collect::<Vec<_>>(), ["a.w", "b.w"]);
    assert_eq!((archive.choice.taken.as_deref(), archive.warnings.len()), (Some("teacher"), 0));
    for (key, names) in
        [("teacher.a", vec!["w"]), ("student.", vec!["a.w"]), (".", vec!["epoch"]), ("b", vec!["w"])]
    {
        let archive = Archive::read(file.path(), Some(key)).unwrap();
        assert_eq!(archive.tensors.keys().collect::<Vec<_>>(), names, "{key}");
    }
    for wrong in ["ema", "teach", "a"] {
        let error = Archive::read(file.path(), Some(wrong)).err().unwrap().to_string();
        assert!(
            error.contains(&format!("no weights under `{wrong}`")) && error.contains("`teacher` (2"),
            "{error}"
        );
    }
    let unknown = checkpoint(&[("encoder", "w", true), ("head", "w", true), ("model_ema", "w", true)], b"");
    assert!(Archive::read(unknown.path(), None)
        .err()
        .unwrap()
        .to_string()
        .contains("`encoder` (1 tensor), `head`"));
    // The same dict under two keys is one set.
    let twice =
        [text("model"), b"}q\x63(".to_vec(), entry("w", "FloatStorage", "0", [4, 0], &[2, 2], &[2, 1])];
    let twice = [twice.concat(), b"u".to_vec(), text("state_dict"), b"h\x63".to_vec()].concat();
    let archive = Archive::read(checkpoint(&[("epoch", "x", false)], &twice).path(), None).unwrap();
    assert_eq!(archive.choice.taken.as_deref(), Some("model"));
}

#[test]
fn sets_under_prefixes_are_told_apart() {
    const PATCH: &str = "patch_embed.proj.weight";
    let names = |prefixes: &[&str], loose: &[&str]| {
        let sets = prefixes.iter().flat_map(|p| [format!("{p}{PATCH}"), format!("{p}norm.weight")]);
        sets.chain(loose.iter().map(|name| name.to_string())).collect::<Vec<_>>()
    };
    let file = |names: &[String]| {
        let tensors: Vec<_> = names.iter().map(|name| ("model", name.as_str(), true)).collect();
        checkpoint(&tensors, b"")
    };
    let both = file(&names(&["student.backbone.", "teacher.backbone."], &[]));
    let error = Archive::read(both.path(), None).err().unwrap().to_string();
    assert!(error.contains("`model.student` (2 tensors), `model.teacher` (2 tensors)"), "{error}");
    for (key, first) in [("model.teacher", "backbone.norm.weight"), ("teacher.backbone", "norm.weight")] {
        let archive = Archive::read(both.path(), Some(key)).unwrap();
        assert_eq!(archive.tensors.keys().next().unwrap(), first);
        assert_eq!(archive.tensors.len(), 2);
    }
    // The plain set keeps its names, and what belongs to no set.
    let plain = file(&names(&["", "ema."], &["head.weight"]));
    let archive = Archive::read(plain.path(), None).unwrap();
    assert_eq!(archive.tensors.keys().collect::<Vec<_>>(), ["head.weight", "norm.weight", PATCH]);
    let warnings = choice_warnings(&archive);
    assert!(
        warnings.contains("weights model is assumed") && warnings.contains("`model.ema` (2 tensors)"),
        "{warnings}"
    );
    let wrapped = file(&names(&["module.", "module.ema."], &[]));
    assert_eq!(Archive::read(wrapped.path(), None).unwrap().tensors.len(), 2);
    let models = file(&names(&["model.vit.", "model_ema.module.vit."], &["head.weight"]));
    let archive = Archive::read(models.path(), None).unwrap();
    assert_eq!(archive.tensors.keys().next().unwrap(), "head.weight");
    assert_eq!(archive.choice.taken.as_deref(), Some("model.model"));
    let twice = file(&names(&["student.a.", "student.b.", "teacher.a."], &[]));
    assert!(Archive::read(twice.path(), None).is_err());
    let error = Archive::read(twice.path(), Some("student")).err().unwrap().to_string();
    assert!(error.contains("`model.student.a` (2 tensors), `model.student.b`"), "{error}");
}

#[test]
fn what_a_training_notes_is_kept_as_facts() {
    // {'arch': 'vit_tiny_patch16_224', 'args': Namespace(model='deit', drop=0.5, size=[3, 8, 8]), 'log':
    // [[1], None]}
    let more = b"U\x04archU\x14vit_tiny_patch16_224U\x04argscargparse\nNamespace\n)\x81}(U\x05modelU\x04deit\
        U\x04dropG\x3f\xe0\0\0\0\0\0\0U\x04size](K\x03K\x08K\x08eubU\x03log](](K\x01eNe";
    let archive = Archive::read(checkpoint(&[("state_dict", "w", true)], more).path(), None).unwrap();
    assert_eq!(archive.architecture.as_deref(), Some("vit_tiny_patch16_224"));
    let facts = ["args.model", "args.drop", "args.size"].map(|key| archive.facts[key].as_str());
    assert_eq!(facts, ["deit", "0.5", "[3, 8, 8]"]);
}

#[test]
fn other_pickles_are_named() {
    let module =
        |class: &str| [b"c", class.as_bytes(), b"\n)\x81}(U\x0b_parameters}U\x08_modules}ub"].concat();
    let in_dict = |value: &[u8]| [b"\x80\x02}U\x05model", value, b"s."].concat();
    let list = entry("", "FloatStorage", "0", [1, 0], &[1], &[1]);
    for (pickle, words) in [
        (
            [module("timm.models\nVit"), b".".to_vec()].concat(),
            "is a whole pickled module of class timm.models.Vit",
        ),
        (
            in_dict(&module("models.yolo\nModel")),
            "holds under `model` a whole pickled module of class models.yolo.Model",
        ),
        (in_dict(b"cnumpy._core.multiarray\n_reconstruct\n)R"), "is a pickle of 1 NumPy arrays"),
        (b"cnumpy.core.multiarray\n_reconstruct\n)R.".to_vec(), "NumPy"),
        ([b"\x80\x02](", &list[5..], b"e."].concat(), "is a list of 1 tensors without names"),
        ([&list[5..], b"."].concat(), "is a single tensor"),
        (b"}(U\x05state}U\x0cparam_groups]u.".to_vec(), "is the state of an optimizer"),
        (b"K\x01.".to_vec(), "is not a dict of tensors"),
    ] {
        let error = tensor(&pickle, &[0; 4]).unwrap_err();
        assert!(error.contains(words), "{error}");
        // The same without the zip archive around it.
        let framed = [b"\x80\x02", &pickle[..]].concat();
        let error = Archive::read(file(&framed).path(), None).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn tensors_that_are_no_floats_are_named() {
    let call = |function: &str, arguments: &str| {
        [&dict(&[])[..4], &text("w"), format!("c{function}\n({arguments}tRu.").as_bytes()].concat()
    };
    for (pickle, words) in [
        (call("torch._utils\n_rebuild_qtensor", "N"), "quantized integers of torch.ao"),
        (call("torch._utils\n_rebuild_sparse_tensor", "N"), "`w` holds sparse elements"),
        (call("torch._utils\n_rebuild_meta_tensor_no_storage", "N"), "no data (it was on the meta device)"),
        (
            call("torch._utils\n_rebuild_tensor_v3", "NNNNNNctorch\nfloat8_e4m3fn\n"),
            "`w` holds float8_e4m3fn",
        ),
        (
            call("torch._utils\n_rebuild_wrapper_subclass", "ctorchao.q\nInt8Tensor\n"),
            "class torchao.q.Int8Tensor",
        ),
        (
            call("torch._tensor\n_rebuild_from_type_v2", "ctorch._utils\n_rebuild_qtensor\nN(NtN"),
            "quantized integers of torch.ao",
        ),
        (pickle("ComplexFloatStorage", 4, 0, &[2, 2], &[2, 1]), "complex weights are no part"),
    ] {
        let error = tensor(&pickle, &[0; 32]).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    // Whole numbers under a name that says nothing are a table.
    assert!(tensor(&pickle("CharStorage", 4, 0, &[2, 2], &[2, 1]), &[0; 4]).is_ok());
    // A quantized layer keeps its weights in a tuple.
    let packed = [
        b"\x80\x02}(".to_vec(),
        entry("scale", "FloatStorage", "0", [1, 0], &[1], &[1]),
        text("_packed_params"),
        b"(ctorch._utils\n_rebuild_qtensor\n)RNtu.".to_vec(),
    ];
    let error = tensor(&packed.concat(), &[0; 4]).unwrap_err();
    assert!(error.contains("`_packed_params` holds quantized integers"), "{error}");
    let flagged = {
        let mut pickle = pickle("FloatStorage", 1, 0, &[1], &[1]);
        let end = pickle.len() - 4;
        pickle.splice(end..end, *b"N}U\x03neg\x88s");
        pickle
    };
    assert!(tensor(&flagged, &[0; 4]).unwrap_err().contains("negated or conjugated"));
}

/// The older format: magic number, version, machine, tensors, keys; then each storage's count and elements.
fn sequential(protocol: u8, pickle: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut bytes = match protocol {
        1 => b"L119547037146038801333356L\n.M\xe9\x03.}.".to_vec(),
        _ => [&[0x80, protocol, 0x8a, 10][..], &MAGIC, b".\x80\x02M\xe9\x03.}."].concat(),
    };
    bytes.extend(pickle);
    bytes.extend(
        [b"](".to_vec(), storages.iter().flat_map(|(key, _)| text(key)).collect(), b"e.".to_vec()].concat(),
    );
    for (_, data) in storages {
        bytes.extend((data.len() as u64).to_le_bytes());
        bytes.extend(data.iter().flat_map(|x| x.to_le_bytes()));
    }
    bytes
}

#[test]
fn the_older_format_is_read_past_what_is_not_wanted() {
    let matrix = |key: &str| entry("w", "FloatStorage", key, [4, 0], &[2, 2], &[2, 1]);
    let pickle = [
        b"}(".to_vec(),
        text("model_ema"),
        dict(&[matrix("7")])[2..dict(&[matrix("7")]).len() - 1].to_vec(),
        text("model"),
        dict(&[matrix("9")])[2..dict(&[matrix("9")]).len() - 1].to_vec(),
        b"u.".to_vec(),
    ]
    .concat();
    let storages: [(&str, &[f32]); 2] = [("7", &[1.0; 4]), ("9", &[2.0, 3.0, 4.0, 5.0])];
    for protocol in 1..=5 {
        let bytes = sequential(protocol, &pickle, &storages);
        let archive = Archive::read(file(&bytes).path(), None).unwrap();
        assert_eq!(archive.tensors["w"].data, [2.0, 3.0, 4.0, 5.0]);
        for cut in 40..bytes.len() {
            let error = Archive::read(file(&bytes[..cut]).path(), None).err().unwrap().to_string();
            assert!(error.contains("the file is incomplete"), "{cut}: {error}");
        }
    }
}

/// Seeded mutations of every kind of file: an error or a result, in bounded time and memory.
#[test]
fn mutated_files_are_harmless() {
    use rand::{Rng, SeedableRng};
    let pickle = pickle("FloatStorage", 4, 0, &[2, 2], &[1, 2]);
    let data = [0x3f; 16];
    let zip = zip64(&[("a/data.pkl".into(), &pickle[..]), ("a/data/0".into(), &data)]);
    let sets = checkpoint(&[("model", "w", true), ("ema", "w", true)], b"U\x04arch](K\x01K\x02e");
    let sets = std::fs::read(sets.path()).unwrap();
    let older = sequential(4, &pickle, &[("0", &[1.0; 4])]);
    let safetensors = {
        let tensors = [("w".to_string(), FloatTensor { shape: vec![2, 2], data: vec![1.0; 4] })];
        let file = tempfile::NamedTempFile::new().unwrap();
        super::super::write(file.path(), &tensors.into_iter().collect()).unwrap();
        std::fs::read(file.path()).unwrap()
    };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    for round in 0..6000 {
        let mut bytes = [&zip, &sets, &older, &safetensors][round % 4].clone();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..5) {
                0 => bytes[at] = rng.random(),
                1 => bytes[at] ^= 1 << rng.random_range(0..8),
                2 => bytes.truncate(at.max(1)),
                3 => bytes.insert(at, *b"(tuehjq0.RQbab}]".get(rng.random_range(0..16)).unwrap()),
                _ => drop(bytes.remove(at.min(bytes.len() - 1))),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(archive) = Archive::read(&path, None) {
            let elements: usize = archive.tensors.values().map(|tensor| tensor.data.len()).sum();
            assert!(elements <= bytes.len());
        }
    }
}
