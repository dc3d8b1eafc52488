use super::*;

fn golden(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens/images/");
    std::fs::read(format!("{folder}{name}")).expect("there")
}

const KINDS: [&str; 8] = [
    "baseline.jpg",
    "progressive.jpg",
    "restarts.jpg",
    "progressive_restarts.jpg",
    "full_colour.jpg",
    "half_colour.jpg",
    "grey.jpg",
    "cmyk.jpg",
];

#[test]
fn whole_files_have_no_defect_whatever_follows_them() {
    for name in KINDS.into_iter().chain(["two_pictures.jpg", "turned.jpg"]) {
        let mut file = golden(name);
        assert_eq!(examine(&file), None, "{name}");
        file.extend([0xff; 9]);
        file.extend(b"trailing text");
        assert_eq!(examine(&file), None, "{name}");
    }
}

#[test]
fn a_file_cut_anywhere_is_cut() {
    for name in KINDS {
        let file = golden(name);
        for length in (4..file.len() - 3).step_by(5) {
            let found = examine(&file[..length]);
            assert!(matches!(found, Some(Defect::Cut(_))), "{name}, {length} of {}: {found:?}", file.len());
        }
        assert_eq!(examine(&file[..file.len() - 2]), Some(Defect::NoEnd), "{name}");
        // The second file begins within the first one's codes, or within a segment.
        let joined = examine(&[&file[..file.len() / 2], &file[..]].concat());
        assert!(matches!(joined, Some(Defect::Joined | Defect::Markers)), "{name}: {joined:?}");
    }
}

#[test]
fn the_share_that_is_there_is_told() {
    let file = golden("baseline.jpg");
    let Some(Defect::Cut(Some(percent))) = examine(&file[..file.len() * 3 / 4]) else { panic!("not cut") };
    assert!((50..80).contains(&percent), "{percent}");
    let ended = [&file[..file.len() * 3 / 4], &[0xff, 0xd9]].concat();
    assert_eq!(examine(&ended), Some(Defect::Short(percent)));
}

#[test]
fn a_thumbnail_in_the_file_is_not_its_picture() {
    let (file, thumbnail) = (golden("baseline.jpg"), golden("grey.jpg"));
    let length = u16::try_from(thumbnail.len() + 2).expect("short").to_be_bytes();
    let with = [&file[..2], &[0xff, 0xe2], &length, &thumbnail, &file[2..]].concat();
    assert_eq!(examine(&with), None);
    assert!(matches!(examine(&with[..with.len() - 300]), Some(Defect::Cut(_))));
}

#[test]
fn no_bytes_make_it_panic() {
    for name in KINDS {
        let file = golden(name);
        for at in (2..file.len()).step_by(11) {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[at] ^= flip;
                let _ = examine(&damaged);
            }
        }
    }
}
