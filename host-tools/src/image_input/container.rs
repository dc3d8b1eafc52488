//! What a file's container says beside its pixels: whether the file ends too early, and whether it holds more
//! than one picture.
//!
//! A decoder takes what it is given or says that it cannot. Pillow takes files of which nothing of the
//! picture is missing, so those are completed here, with a warning.

use std::borrow::Cow;

use crc::{Crc, CRC_32_ISO_HDLC};
use image::ImageFormat;

use super::jpeg::{self, Defect};

/// A file as its decoder takes it.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    /// The file, completed where only its end was missing.
    pub bytes: Cow<'a, [u8]>,
    /// What the user must know.
    pub warnings: Vec<String>,
    /// Whether something is missing, so that the decoder's failure has this reason.
    pub cut: bool,
}

/// Why a file is refused before it is decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It ends, or another file begins, within the picture; where.
    Cut(String),
    /// Its format's name.
    Format(&'static str),
}

const END_MISSING: &str = "the end of the file is missing; the picture itself is there";

/// Looks at a file of a known format.
pub(super) fn survey(format: ImageFormat, bytes: &[u8]) -> Result<Survey<'_>, Refusal> {
    let mut survey = Survey { bytes: Cow::Borrowed(bytes), warnings: Vec::new(), cut: false };
    match format {
        ImageFormat::Jpeg => survey.jpeg(bytes)?,
        ImageFormat::Png => survey.png(bytes),
        ImageFormat::Gif => survey.gif(bytes),
        ImageFormat::WebP => survey.webp(bytes)?,
        ImageFormat::Tiff => survey.tiff(bytes)?,
        ImageFormat::Bmp => survey.bmp(bytes),
        _ => {}
    }
    Ok(survey)
}

impl Survey<'_> {
    fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    fn first_of(&mut self, frames: usize, what: &str) {
        if frames > 1 {
            self.warn(format!("it holds {frames} {what}, of which the first is taken"));
        }
    }

    fn jpeg(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let warning = match jpeg::examine(bytes) {
            None => return Ok(()),
            Some(Defect::Cut(Some(percent))) => {
                return Err(Refusal::Cut(format!("it ends after {percent} % of the picture")))
            }
            Some(Defect::Cut(None)) => return Err(Refusal::Cut("it ends within the picture".into())),
            Some(Defect::Joined) => {
                return Err(Refusal::Cut("another file begins within the picture".into()))
            }
            Some(Defect::NoEnd) => END_MISSING.into(),
            Some(Defect::Short(percent)) => {
                format!("the picture's data stops after {percent} %; what follows is grey or stripes")
            }
            Some(Defect::Scans) => {
                "parts that refine the picture are missing; it is blurred or lacks colours".into()
            }
            Some(Defect::Codes(percent)) => {
                format!("the picture's data is damaged after {percent} %; what follows may be wrong")
            }
            Some(Defect::Markers) => {
                "its structure is damaged; parts of the picture may be wrong or missing".into()
            }
            Some(Defect::Surplus) => {
                "the picture's data is longer than the picture; parts of it may be damaged".into()
            }
        };
        self.warn(warning);
        Ok(())
    }

    /// Chunks (PNG specification, section 5). A file without its last chunk is completed, wrong checksums of
    /// pixels are set right.
    fn png(&mut self, bytes: &[u8]) {
        const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
        const SIGNATURE: usize = 8;
        const OVERHEAD: usize = 12;
        let (mut at, mut damaged, mut ended, mut frames) = (SIGNATURE, Vec::new(), false, 1);
        let chunk = |at: usize| Some((be32(bytes, at)? as usize, bytes.get(at + 4..at + 8)?));
        while let Some((length, kind)) = chunk(at) {
            let Some(whole) = bytes.get(at + 4..at + OVERHEAD + length) else { break };
            let (data, crc) = whole.split_at(4 + length);
            match kind {
                b"acTL" => frames = be32(data, 4).unwrap_or(1) as usize,
                b"IDAT" if crc != CHECKSUM.checksum(data).to_be_bytes() => {
                    damaged.push(at..at + OVERHEAD + length)
                }
                _ => {}
            }
            at += OVERHEAD + length;
            if kind == b"IEND" {
                ended = true;
                break;
            }
        }
        self.first_of(frames, "frames");
        if !damaged.is_empty() {
            self.warn("a checksum of its pixels is wrong; parts of the picture may be damaged");
        }
        if ended && damaged.is_empty() {
            return;
        }
        let file = self.bytes.to_mut();
        for chunk in damaged {
            let crc = CHECKSUM.checksum(&file[chunk.start + 4..chunk.end - 4]).to_be_bytes();
            file[chunk.end - 4..chunk.end].copy_from_slice(&crc);
        }
        if !ended {
            let rest =
                bytes.get(at + 8..).filter(|_| matches!(chunk(at), Some((_, b"IDAT")))).unwrap_or_default();
            file.truncate(at);
            for (kind, data) in [(b"IDAT", rest), (b"IEND", &[][..])] {
                let body = [&kind[..], data].concat();
                file.extend((data.len() as u32).to_be_bytes());
                file.extend(&body);
                file.extend(CHECKSUM.checksum(&body).to_be_bytes());
            }
            self.cut = true;
            self.warn(END_MISSING);
        }
    }

    /// Blocks (GIF89a, sections 15 to 27).
    fn gif(&mut self, bytes: &[u8]) {
        let (frames, ended) = gif_frames(bytes);
        self.first_of(frames, "frames");
        if !ended {
            self.cut = true;
            self.warn(if frames > 1 {
                "the end of the file is missing; its first frame is there"
            } else {
                END_MISSING
            });
        }
    }

    /// RIFF chunks. libwebp refuses a file that is shorter than its first chunk says.
    fn webp(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let le32 = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        let length = 8 + le32(4).unwrap_or(0);
        if length > bytes.len() {
            return Err(Refusal::Cut(format!("it has {} of {length} bytes", bytes.len())));
        }
        let (mut at, mut frames) = (12, 0);
        while let (Some(kind), Some(size)) = (bytes.get(at..at + 4), le32(at + 4)) {
            frames += usize::from(kind == b"ANMF");
            at += 8 + size + size % 2;
        }
        self.first_of(frames, "frames");
        Ok(())
    }

    /// The first directory (TIFF 6.0, section 2): RAW files begin with a small preview, which is not the
    /// photograph.
    fn tiff(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        const NEW_SUBFILE_TYPE: u16 = 254;
        const SUB_IFDS: u16 = 330;
        const DNG_VERSION: u16 = 50706;
        const MOST_PAGES: usize = 1000;
        let Some(directory) = TiffDirectory::read(bytes, None) else { return Ok(()) };
        let reduced = directory.value(NEW_SUBFILE_TYPE).is_some_and(|value| value & 1 == 1);
        if directory.value(DNG_VERSION).is_some() || reduced && directory.value(SUB_IFDS).is_some() {
            return Err(Refusal::Format("a camera's RAW file"));
        }
        let (mut pages, mut next) = (1, directory.next);
        // More pages than this are not counted: a file may link them to a ring.
        while next != 0 && pages < MOST_PAGES {
            let Some(page) = TiffDirectory::read(bytes, Some(next)) else {
                self.warn("the end of the file is missing; its first page is there");
                break;
            };
            (pages, next) = (pages + 1, page.next);
        }
        self.first_of(pages, "pages");
        Ok(())
    }

    /// Rows are filled up to whole words; the filling of the last one may be missing.
    fn bmp(&mut self, bytes: &[u8]) {
        let missing = bmp_missing_filling(bytes).unwrap_or(0);
        if missing > 0 {
            self.bytes.to_mut().extend(std::iter::repeat_n(0, missing));
            self.warn(END_MISSING);
        }
    }
}

/// Frames that begin, and whether the trailer is there.
fn gif_frames(bytes: &[u8]) -> (usize, bool) {
    const SCREEN: usize = 13;
    let table = |packed: Option<&u8>| packed.filter(|p| *p & 0x80 != 0).map_or(0, |p| 3 << ((p & 7) + 1));
    let sub_blocks = |mut at: usize| loop {
        match bytes.get(at) {
            None => return bytes.len(),
            Some(0) => return at + 1,
            Some(&size) => at += 1 + usize::from(size),
        }
    };
    let mut at = SCREEN + table(bytes.get(10));
    let mut frames = 0;
    loop {
        match bytes.get(at) {
            Some(0x3b) => return (frames, true),
            Some(0x21) => at = sub_blocks(at + 2),
            Some(0x2c) => {
                frames += 1;
                at = sub_blocks(at + 10 + table(bytes.get(at + 9)) + 1);
            }
            _ => return (frames, false),
        }
    }
}

/// Bytes missing of an uncompressed BMP, if they are filling alone.
fn bmp_missing_filling(bytes: &[u8]) -> Option<usize> {
    let le = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (offset, header, width, height) =
        (le(10)?, le(14)?, le(18)? as usize, (le(22)? as i32).unsigned_abs() as usize);
    let (depth, compression) = ((le(28)? & 0xffff) as usize, le(30)?);
    if header < 40 || compression != 0 || width > 1 << 16 || height > 1 << 16 {
        return None;
    }
    let row = (width * depth).div_ceil(32) * 4;
    let filling = row - (width * depth).div_ceil(8);
    let missing = (offset as usize + row * height).checked_sub(bytes.len())?;
    (missing <= filling).then_some(missing)
}

/// A directory of a TIFF file: values of a single number, by tag.
struct TiffDirectory {
    values: Vec<(u16, u32)>,
    /// Where the next one is; 0 if there is none.
    next: usize,
}

impl TiffDirectory {
    /// The first directory, or that at `at`. `None` where the file does not hold it: the decoder will say so.
    fn read(bytes: &[u8], at: Option<usize>) -> Option<Self> {
        let big = bytes.starts_with(b"MM\0*");
        if !big && !bytes.starts_with(b"II*\0") {
            return None;
        }
        let number = |at: usize, size: usize| {
            let bytes = bytes.get(at..at + size)?;
            let add = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
            Some(if big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
        };
        let at = at.map_or_else(|| number(4, 4), |at| u32::try_from(at).ok())? as usize;
        let count = number(at, 2)? as usize;
        let value = |entry: usize| {
            let short = number(entry + 2, 2)? == 3;
            Some((number(entry, 2)? as u16, number(entry + 8, if short { 2 } else { 4 })?))
        };
        let values = (0..count).map(|i| value(at + 2 + 12 * i)).collect::<Option<_>>()?;
        Some(TiffDirectory { values, next: number(at + 2 + 12 * count, 4)? as usize })
    }

    fn value(&self, tag: u16) -> Option<u32> {
        self.values.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value)
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}
