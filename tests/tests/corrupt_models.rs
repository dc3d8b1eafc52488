//! Damaged and hostile models: each must give an error of its own kind, and none may cause a panic, an
//! endless loop or a read outside of the file.
//!
//! `cargo xtask test` runs these tests twice, the second time with overflow checks in the engine. Whatever
//! runs must give the same on every kernel table.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vitreous::format::{SectionKind, HEADER_BYTES, NUMERICS_VERSION, SECTION_ALIGN, SECTION_ENTRY_BYTES};
use vitreous::models::ipt::IptConfig;
use vitreous::tensor::PanelLayout;
use vitreous::Error;
use vitreous_tests::hostile::{repair_checksums, run_ipt, run_vit};
use vitreous_tests::{random_ipt, random_vit, small_config, small_ipt_config};
use vitreous_tools::checkpoint::ipt::parse_task;
use vitreous_tools::quantize::{ipt_layers_named, quantize, QuantizeOptions, VitLayer};

/// An architecture with a small model of it.
struct Subject {
    name: &'static str,
    bytes: Vec<u8>,
    run: fn(&[u8], f64) -> Result<bool, Error>,
}

impl Subject {
    /// Loads and runs any bytes. An error is as good as an output, unless it says that the engine itself is
    /// broken.
    fn load_and_run(&self, bytes: &[u8]) -> Result<bool, Error> {
        let result = (self.run)(bytes, 5e7);
        assert!(!matches!(result, Err(Error::Internal(_))), "{}: {result:?}", self.name);
        result
    }

    fn error(&self, change: impl Fn(&mut Vec<u8>)) -> Error {
        let mut bytes = self.bytes.clone();
        change(&mut bytes);
        self.load_and_run(&bytes).expect_err("damaged")
    }

    fn error_with_right_checksums(&self, change: impl Fn(&mut Vec<u8>)) -> Error {
        self.error(|bytes| {
            change(bytes);
            repair_checksums(bytes);
        })
    }

    fn word(&self, at: usize) -> u32 {
        word(&self.bytes, at)
    }

    fn sections(&self) -> usize {
        self.word(20) as usize
    }

    /// Start and end of a section.
    fn section(&self, index: usize) -> (usize, usize) {
        let entry = HEADER_BYTES + index * SECTION_ENTRY_BYTES;
        let start = self.word(entry + 4) as usize;
        (start, start + self.word(entry + 8) as usize)
    }
}

/// A file taken apart.
#[derive(Clone)]
struct Parts {
    header: Vec<u8>,
    /// Kind and contents.
    sections: Vec<(u32, Vec<u8>)>,
}

impl Parts {
    fn of(subject: &Subject) -> Self {
        let section = |index| {
            let (start, end) = subject.section(index);
            let kind = subject.word(HEADER_BYTES + index * SECTION_ENTRY_BYTES);
            (kind, subject.bytes[start..end].to_vec())
        };
        let header = subject.bytes[..HEADER_BYTES].to_vec();
        Self { header, sections: (0..subject.sections()).map(section).collect() }
    }

    /// A file with a right section table and right checksums.
    fn assemble(&self) -> Vec<u8> {
        let mut bytes = self.header.clone();
        bytes.resize(HEADER_BYTES + self.sections.len() * SECTION_ENTRY_BYTES, 0);
        for (index, (kind, contents)) in self.sections.iter().enumerate() {
            bytes.resize(bytes.len().next_multiple_of(SECTION_ALIGN), 0);
            let entry = HEADER_BYTES + index * SECTION_ENTRY_BYTES;
            let words = [*kind, bytes.len() as u32, contents.len() as u32];
            words.iter().enumerate().for_each(|(i, word)| put(&mut bytes, entry + 4 * i, *word));
            bytes.extend(contents);
        }
        let length = bytes.len() as u32;
        put(&mut bytes, 12, length);
        put(&mut bytes, 20, self.sections.len() as u32);
        repair_checksums(&mut bytes);
        bytes
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn put(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

/// Order of the weights that the kernels of hosts read.
const PANELS: PanelLayout = PanelLayout { nr: 16, kr: 4 };

fn vit(layout: PanelLayout) -> Subject {
    let keep_f16 = vec![VitLayer::Qkv(0), VitLayer::Fc2(1)];
    let options = QuantizeOptions { keep_f16, layout, ..Default::default() };
    let bytes = quantize(&random_vit(small_config(), 1), &options).expect("convertible");
    Subject { name: "ViT", bytes, run: run_vit }
}

fn ipt(layout: PanelLayout) -> Subject {
    let tasks = ["denoise30", "x4"].map(|name| parse_task(name).expect("a task"));
    let config = IptConfig {
        features: 4,
        window: 8,
        patch: 2,
        heads: 2,
        hidden: 21,
        head_hidden: 18,
        tasks: tasks.into_iter().collect(),
        ..small_ipt_config()
    };
    let keep = ["head.1.conv1", "tail.1.conv0", "encoder.0.*", "decoder.1.cross_qkv", "mlp_head.fc1"];
    let keep_f16 =
        keep.into_iter().flat_map(|name| ipt_layers_named(&config, name).expect("layers")).collect();
    let options = QuantizeOptions { keep_f16, layout, ..Default::default() };
    let bytes = quantize(&random_ipt(config, 1), &options).expect("convertible");
    Subject { name: "IPT", bytes, run: run_ipt }
}

fn row_major() -> [Subject; 2] {
    [vit(PanelLayout::ROW_MAJOR), ipt(PanelLayout::ROW_MAJOR)]
}

fn panels() -> [Subject; 2] {
    [vit(PANELS), ipt(PANELS)]
}

#[test]
fn the_models_are_sound() {
    for subject in row_major().into_iter().chain(panels()) {
        assert_eq!(subject.load_and_run(&subject.bytes), Ok(true), "{}", subject.name);
    }
}

#[test]
fn every_truncation_is_refused() {
    for subject in row_major() {
        for length in 0..subject.bytes.len() {
            let error = subject.load_and_run(&subject.bytes[..length]).expect_err("a part is no model");
            assert!(matches!(error, Error::Truncated { .. }), "{} {length} bytes: {error:?}", subject.name);
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for (subject, stride) in row_major().into_iter().zip([1, 7]) {
        for at in (0..subject.bytes.len()).step_by(stride) {
            let mut damaged = subject.bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(
                subject.load_and_run(&damaged).is_err(),
                "{}: a flipped bit in byte {at} went unnoticed",
                subject.name
            );
        }
    }
}

#[test]
fn each_kind_of_damage_has_its_own_error() {
    for (subject, (architecture, other)) in row_major().into_iter().zip([(1, 2), (2, 1)]) {
        let last = subject.sections() - 1;
        let end = subject.bytes.len() - 1;
        assert_eq!(subject.error(|b| b[0] = 0), Error::BadMagic);
        assert_eq!(subject.error(|b| b[8] = 9), Error::FormatVersion { found: 9, supported: 1 });
        assert!(matches!(subject.error(|b| b[72] ^= 1), Error::HeaderChecksum { .. }));
        let checksum = subject.error(|b| b[end] ^= 1);
        assert!(matches!(checksum, Error::SectionChecksum { section, .. } if usize::from(section) == last));
        let repaired = |change: &dyn Fn(&mut Vec<u8>)| subject.error_with_right_checksums(change);
        assert_eq!(
            repaired(&|b| b[10] = 7),
            Error::NumericsVersion { found: 7, supported: NUMERICS_VERSION }
        );
        for found in [0, other, 3, u32::MAX] {
            let error = repaired(&|b| put(b, 16, found));
            assert_eq!(error, Error::Architecture { found, expected: architecture });
        }
        assert_eq!(repaired(&|b| b[28] = 0), Error::Layout { nr: 0, kr: 16 });
        assert_eq!(repaired(&|b| b[29] = 3), Error::Layout { nr: 1, kr: 3 });
        assert!(matches!(repaired(&|b| b[HEADER_BYTES + 4] ^= 64), Error::SectionOffset { section: 0, .. }));
        let padding = subject.section(0).1;
        assert_ne!(padding % 64, 0, "the first section is followed by padding");
        assert_eq!(repaired(&|b| b[padding] = 1), Error::Padding { offset: padding as u32 });
        let mut longer = subject.bytes.clone();
        longer.extend([0xa5; 100]);
        assert_eq!(subject.load_and_run(&longer), Ok(true), "bytes behind the file are not its own");
    }
}

#[test]
fn sections_of_the_wrong_kind_order_or_length_are_refused() {
    for subject in row_major() {
        let parts = Parts::of(&subject);
        for (index, (expected, contents)) in parts.sections.iter().enumerate() {
            for found in (0..=13).chain([u32::MAX]).filter(|kind| kind != expected) {
                let at = HEADER_BYTES + index * SECTION_ENTRY_BYTES;
                let error = subject.error_with_right_checksums(|b| put(b, at, found));
                let kind = Error::SectionKind { section: index as u16, found, expected: *expected };
                assert_eq!(error, kind, "{}", subject.name);
            }
            let mut fewer = parts.clone();
            fewer.sections.remove(index);
            let error = subject.load_and_run(&fewer.assemble()).expect_err("a section is missing");
            assert!(
                matches!(error, Error::SectionKind { .. } | Error::Field { name: "section_count", .. }),
                "{} without section {index}: {error:?}",
                subject.name
            );
            if *expected == SectionKind::Labels as u32 {
                continue; // Text of any length will do.
            }
            let (mut shorter, mut longer) = (parts.clone(), parts.clone());
            shorter.sections[index].1.truncate(contents.len().saturating_sub(16));
            longer.sections[index].1.extend([0; 16]);
            for bytes in [shorter.assemble(), longer.assemble()] {
                let error = subject.load_and_run(&bytes).expect_err("a section of the wrong length");
                assert!(
                    matches!(error, Error::SectionLength { section, .. } if usize::from(section) == index),
                    "{} section {index}: {error:?}",
                    subject.name
                );
            }
        }
    }
}

#[test]
fn swapped_sections_are_refused_unless_they_are_alike() {
    for subject in row_major() {
        let parts = Parts::of(&subject);
        for a in 0..parts.sections.len() {
            for b in 0..a {
                let mut swapped = parts.clone();
                swapped.sections.swap(a, b);
                let result = subject.load_and_run(&swapped.assemble());
                if parts.sections[a].0 != parts.sections[b].0 {
                    assert!(
                        matches!(result, Err(Error::SectionKind { .. })),
                        "{} {a}, {b}: {result:?}",
                        subject.name
                    );
                }
                // Exchanges the contents only; the kinds stay in place.
                (swapped.sections[a].0, swapped.sections[b].0) = (parts.sections[a].0, parts.sections[b].0);
                let result = subject.load_and_run(&swapped.assemble());
                if parts.sections[a].1.len() != parts.sections[b].1.len() {
                    assert!(result.is_err(), "{} {a}, {b}", subject.name);
                }
            }
        }
    }
}

/// Names of the configuration's words, in order.
fn word_names(subject: &Subject) -> Vec<&'static str> {
    let (start, end) = subject.section(0);
    let mut names = match subject.name {
        "ViT" => vec![
            "image_height",
            "image_width",
            "channels",
            "patch_height",
            "patch_width",
            "dim",
            "depth",
            "heads",
            "hidden",
            "classes",
            "flags",
            "pool",
            "head",
            "activation",
            "norm_eps",
            "output",
        ],
        _ => vec![
            "features",
            "window",
            "patch",
            "heads",
            "hidden",
            "head_hidden",
            "encoder_layers",
            "decoder_layers",
            "tasks",
            "norm_eps",
            "mean",
            "mean",
            "mean",
            "body_precision",
            "reserved",
            "reserved",
        ],
    };
    if subject.name == "IPT" {
        for _ in 0..subject.word(start + 4 * 8) {
            names.extend(["task_kind", "task_scale", "task_strength", "task_precision"]);
        }
    }
    names.resize((end - start) / 4, "precision");
    names
}

#[test]
fn every_word_of_the_configuration_is_checked() {
    for subject in row_major() {
        let start = subject.section(0).0;
        for (index, name) in word_names(&subject).into_iter().enumerate() {
            let at = start + 4 * index;
            let value = u32::MAX;
            let error = subject.error_with_right_checksums(|b| put(b, at, value));
            assert_eq!(error, Error::Field { name, offset: at as u32, value }, "{}", subject.name);
            let found = subject.word(at);
            let neighbours = [0, 1, 2, found.wrapping_sub(1), found + 1, found / 2, found.wrapping_mul(2)];
            let limits =
                [3, 4, 16, 64, 255, 256, 257, 1023, 1024, 1025, 4096, 16_384, 16_385, 65_535, 65_536];
            let floats = [f32::NAN, f32::INFINITY, -1.0, f32::MIN_POSITIVE, f32::MAX].map(f32::to_bits);
            let huge = [1 << 20, 1 << 24, 0x7fff_ffff, 0x8000_0000];
            let values = neighbours.into_iter().chain(limits).chain(floats).chain(huge);
            for value in values.filter(|value| *value != found) {
                let mut bytes = subject.bytes.clone();
                put(&mut bytes, at, value);
                repair_checksums(&mut bytes);
                let Err(error) = subject.load_and_run(&bytes) else { continue };
                assert!(
                    matches!(
                        error,
                        // Tensors of other sizes can still have the section's length.
                        Error::Field { .. }
                            | Error::SectionLength { .. }
                            | Error::SectionKind { .. }
                            | Error::NotFinite { .. }
                    ),
                    "{} {name} = {value}: {error:?}",
                    subject.name
                );
            }
        }
    }
}

/// The least and the largest values of two sizes at once, whose products could exceed a machine's word.
#[test]
fn pairs_of_extreme_sizes_are_refused_or_run() {
    for (subject, words) in row_major().into_iter().zip([10, 9]) {
        let start = subject.section(0).0;
        let extremes = [1, 3, 4, 64, 256, 1023, 1024, 16_384, 65_535, 1 << 20];
        for a in 0..words {
            for b in 0..a {
                for (x, y) in extremes.iter().flat_map(|x| extremes.map(|y| (*x, y))) {
                    let mut bytes = subject.bytes.clone();
                    put(&mut bytes, start + 4 * a, x);
                    put(&mut bytes, start + 4 * b, y);
                    repair_checksums(&mut bytes);
                    let _ = subject.load_and_run(&bytes);
                }
            }
        }
    }
}

#[test]
fn fields_are_checked_against_each_other() {
    let [vit, ipt] = row_major();
    let start = vit.section(0).0;
    let heads = vit.error_with_right_checksums(|b| put(b, start + 28, 5));
    assert_eq!(heads, Error::Field { name: "heads", offset: start as u32 + 28, value: 5 });
    let depth = vit.error_with_right_checksums(|b| put(b, start + 24, 3));
    assert!(matches!(depth, Error::SectionLength { section: 0, .. }), "{depth:?}");
    let start = ipt.section(0).0;
    for (changes, name, index) in [
        (&[(2, 3)][..], "patch", 2),
        (&[(1, 1024), (2, 1)], "window", 1),
        (&[(1, 2), (2, 1)], "window", 1),
        (&[(0, 1024), (1, 320), (2, 5)], "features", 0),
        (&[(3, 3)], "heads", 3),
        (&[(19, 64)], "task_precision", 19),
        (&[(17, 2)], "task_scale", 17),
        (&[(18, 0)], "task_strength", 18),
        (&[(21, 1)], "task_scale", 21),
        (&[(24, 16)], "precision", 24),
        (&[(26, 64)], "precision", 26),
    ] {
        let error = ipt.error_with_right_checksums(|b| {
            changes.iter().for_each(|(index, value)| put(b, start + 4 * index, *value));
        });
        assert!(
            matches!(error, Error::Field { name: n, offset, .. }
                if n == name && offset as usize == start + 4 * index),
            "{changes:?}: {error:?}"
        );
    }
}

#[test]
fn numbers_that_are_none_are_refused_by_the_tensors_name() {
    // The last section of either architecture ends with a bias: that of the classifier, or that of the last
    // convolution.
    for (subject, (name, padding)) in row_major().into_iter().zip([("head", 4), ("tail.1", 4)]) {
        let at = subject.bytes.len() - padding - 4;
        for value in [f32::NAN, f32::INFINITY, 1e-20] {
            let error = subject.error_with_right_checksums(|b| put(b, at, value.to_bits()));
            assert_eq!(error, Error::NotFinite { tensor: name, offset: at as u32 }, "{}", subject.name);
        }
    }
}

#[test]
fn hostile_models_with_right_checksums_never_panic() {
    for subject in row_major().into_iter().chain(panels()) {
        let mut rng = ChaCha8Rng::seed_from_u64(42);
        let (mut refused, mut run) = (0, 0);
        let critical = subject.section(0).1;
        for _ in 0..4000 {
            let mut hostile = subject.bytes.clone();
            for _ in 0..rng.random_range(1..6) {
                // Changes of header, table and configuration do the most harm, but most of the file is
                // weights.
                let end = if rng.random_bool(0.6) { critical } else { hostile.len() };
                let at = rng.random_range(8..end);
                hostile[at] = if rng.random_bool(0.5) {
                    rng.random()
                } else {
                    [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)]
                };
            }
            repair_checksums(&mut hostile);
            match subject.load_and_run(&hostile) {
                Ok(_) => run += 1,
                Err(_) => refused += 1,
            }
        }
        println!("{}: {refused} refused, {run} run", subject.name);
        assert!(refused > 500 && run > 100, "{refused} refused, {run} run: the mutations miss their aim");
    }
}

/// Mutates weights only: the models' shapes stay sound, so the numbers reach the whole forward pass.
#[test]
fn hostile_weights_run_to_the_end() {
    for subject in row_major().into_iter().chain(panels()) {
        let mut rng = ChaCha8Rng::seed_from_u64(43);
        let (first, mut run) = (subject.section(0).1, 0);
        for case in 0..400 {
            let mut hostile = subject.bytes.clone();
            // Changes many low bytes, which make no infinity, or a few bytes of any kind, which also make
            // large numbers.
            let (count, bytes) = if case % 2 == 0 { (2000, 1) } else { (30, 4) };
            for _ in 0..rng.random_range(1..count) {
                let at = rng.random_range(first / 4..hostile.len() / 4) * 4 + rng.random_range(0..bytes);
                hostile[at] = rng.random();
            }
            repair_checksums(&mut hostile);
            run += usize::from(subject.load_and_run(&hostile) == Ok(true));
        }
        println!("{}: {run} of 400 run", subject.name);
        assert!(run > 50, "{}: {run} of 400 run: the mutations miss their aim", subject.name);
    }
}
