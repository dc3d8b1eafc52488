//! Damaged and hostile models: each gets an error that names its kind, none a panic, an endless loop or a read outside.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vitreous::format::{CRC, HEADER_BYTES, SECTION_ENTRY_BYTES};
use vitreous::models::vit::Vit;
use vitreous::{Error, Model, SliceSource};
use vitreous_tests::{random_image, random_vit, small_config};
use vitreous_tools::quantize::{quantize_vit, LayerName, QuantizeOptions};
use vitreous_tools::vtr::AlignedBytes;

fn model_bytes() -> Vec<u8> {
    let keep_f16 = vec![LayerName::Qkv(0), LayerName::Fc2(1)];
    quantize_vit(&random_vit(small_config(), 1), &QuantizeOptions { keep_f16, ..Default::default() })
        .expect("convertible")
}

/// Loads and runs whatever this is; an error is as good as an output.
fn load_and_run(bytes: &[u8]) -> Result<Vec<f32>, Error> {
    let aligned = AlignedBytes::copy_of(bytes);
    let model = Model::parse(aligned.as_slice())?;
    let vit = Vit::new(&model)?;
    model.labels()?.iter().count();
    let config = *vit.config();
    let arena_bytes = vit.plan().arena_bytes();
    // A hostile model may ask for more than a test should give; the engine then says so.
    let mut arena = AlignedBytes::zeroed(arena_bytes.min(1 << 22));
    let image = random_image(&small_config(), 9);
    let mut source = SliceSource::new(&image, config.image_width * config.channels);
    let mut run = vit.begin(arena.as_mut_slice())?;
    run.finish(&mut source)?;
    Ok(run.logits()?.to_vec())
}

/// Makes every checksum right again.
fn repair_checksums(bytes: &mut [u8]) {
    let word = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
    };
    let sections = word(bytes, 20).min((bytes.len() - HEADER_BYTES) / SECTION_ENTRY_BYTES);
    for section in 0..sections {
        let entry = HEADER_BYTES + section * SECTION_ENTRY_BYTES;
        let (start, length) = (word(bytes, entry + 4), word(bytes, entry + 8));
        if let Some(contents) = bytes.get(start..start.saturating_add(length)) {
            let crc = CRC.checksum(contents);
            bytes[entry + 12..entry + 16].copy_from_slice(&crc.to_le_bytes());
        }
    }
    let mut digest = CRC.digest();
    digest.update(&bytes[..124]);
    digest.update(&bytes[HEADER_BYTES..HEADER_BYTES + sections * SECTION_ENTRY_BYTES]);
    let crc = digest.finalize();
    bytes[124..128].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = model_bytes();
    for length in 0..bytes.len() {
        let error = load_and_run(&bytes[..length]).expect_err("a part is no model");
        assert!(matches!(error, Error::Truncated { .. }), "{length} bytes: {error:?}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = model_bytes();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(load_and_run(&damaged).is_err(), "a flipped bit in byte {at} went unnoticed");
    }
}

#[test]
fn each_kind_of_damage_has_its_own_error() {
    let bytes = model_bytes();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        load_and_run(&bytes).expect_err("damaged")
    };
    let repaired = |change: &dyn Fn(&mut Vec<u8>)| {
        changed(&|bytes| {
            change(bytes);
            repair_checksums(bytes);
        })
    };
    assert_eq!(changed(&|b| b[0] = 0), Error::BadMagic);
    assert_eq!(changed(&|b| b[8] = 9), Error::FormatVersion { found: 9, supported: 1 });
    assert!(matches!(changed(&|b| b[72] ^= 1), Error::HeaderChecksum { .. }));
    let last = bytes.len() - 1;
    assert!(matches!(changed(&|b| b[last] ^= 1), Error::SectionChecksum { section: 6, .. }));
    assert_eq!(repaired(&|b| b[10] = 7), Error::NumericsVersion { found: 7, supported: 1 });
    assert_eq!(repaired(&|b| b[16] = 2), Error::Architecture { found: 2, expected: 1 });
    assert_eq!(repaired(&|b| b[28] = 0), Error::Layout { nr: 0, kr: 16 });
    assert!(matches!(
        repaired(&|b| b[HEADER_BYTES] = 6),
        Error::SectionKind { section: 0, found: 6, expected: 1 }
    ));
    assert!(matches!(repaired(&|b| b[HEADER_BYTES + 4] ^= 64), Error::SectionOffset { section: 0, .. }));
    let config = 256;
    assert_eq!(
        &bytes[config..config + 4],
        &24u32.to_le_bytes(),
        "the configuration begins with the image's height"
    );
    let field = repaired(&|b| b[config + 28] = 5);
    assert_eq!(field, Error::Field { name: "heads", offset: config as u32 + 28, value: 5 });
    assert!(matches!(repaired(&|b| b[config + 24] = 3), Error::SectionLength { section: 0, .. }));
    // A scale of a value that is not a number: the last section ends with the classifier's bias.
    let nan = repaired(&|b| b[last - 19..last - 15].copy_from_slice(&f32::NAN.to_le_bytes()));
    assert!(matches!(nan, Error::NotFinite { tensor: "head", .. }), "{nan:?}");
}

#[test]
fn hostile_models_with_right_checksums_never_panic() {
    let bytes = model_bytes();
    let mut rng = ChaCha8Rng::seed_from_u64(42);
    let (mut refused, mut run) = (0, 0);
    for _ in 0..4000 {
        let mut hostile = bytes.clone();
        for _ in 0..rng.random_range(1..6) {
            // Header, table and configuration are where the harm is; weights are most of the file.
            let end = if rng.random_bool(0.7) { 400 } else { hostile.len() };
            let at = rng.random_range(8..end);
            hostile[at] = if rng.random_bool(0.5) {
                rng.random()
            } else {
                [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)]
            };
        }
        repair_checksums(&mut hostile);
        match load_and_run(&hostile) {
            Ok(_) => run += 1,
            Err(_) => refused += 1,
        }
    }
    println!("{refused} refused, {run} run");
    assert!(refused > 500 && run > 100, "{refused} refused, {run} run: the mutations miss their aim");
}
