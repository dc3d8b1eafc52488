//! What a file is, by its first bytes; never by its name.

use image::ImageFormat;

/// How many bytes [`Kind::of`] looks at.
pub(super) const HEAD: usize = 4096;

/// Formats that are read, for messages.
pub(super) const READ: &str = "PNG, JPEG, BMP, GIF, WebP, TIFF and PNM";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An image that can be read.
    Readable(ImageFormat),
    /// An image that cannot, and its format's name.
    Picture(&'static str),
    /// Something else that is known, and its way out.
    Other(&'static str, &'static str),
    /// Anything else.
    Unknown,
}

const RAW: &str = "a camera's RAW file";
const CONVERT: &str = "save its pages or drawings as PNG";

/// Formats with fixed first bytes.
const SIGNATURES: [(&[u8], Kind); 32] = [
    (b"\xff\x0a", Kind::Picture("JPEG XL")),
    (b"\0\0\0\x0cJXL ", Kind::Picture("JPEG XL")),
    (b"\0\0\0\x0cjP  ", Kind::Picture("JPEG 2000")),
    (b"\xff\x4f\xff\x51", Kind::Picture("JPEG 2000")),
    (b"II\xbc", Kind::Picture("JPEG XR")),
    (b"8BPS", Kind::Picture("PSD (Photoshop)")),
    (b"gimp xcf", Kind::Picture("XCF (GIMP)")),
    (b"\x76\x2f\x31\x01", Kind::Picture("OpenEXR")),
    (b"#?RADIANCE", Kind::Picture("Radiance HDR")),
    (b"qoif", Kind::Picture("QOI")),
    (b"DDS ", Kind::Picture("DDS")),
    (b"farbfeld", Kind::Picture("farbfeld")),
    (b"FLIF", Kind::Picture("FLIF")),
    (b"AT&TFORM", Kind::Picture("DjVu")),
    (b"\0\0\x01\0", Kind::Picture("ICO")),
    (b"FUJIFILMCCD-RAW", Kind::Picture(RAW)),
    (b"IIRO", Kind::Picture(RAW)),
    (b"IIRS", Kind::Picture(RAW)),
    (b"MMOR", Kind::Picture(RAW)),
    (b"IIU\0", Kind::Picture(RAW)),
    (b"FOVb", Kind::Picture(RAW)),
    (b"\0MRM", Kind::Picture(RAW)),
    (b"%PDF-", Kind::Other("a PDF document", CONVERT)),
    (b"%!PS", Kind::Other("a PostScript document", CONVERT)),
    (b"PK\x03\x04", Kind::Other("a ZIP archive", "unpack it")),
    (b"\x1f\x8b", Kind::Other("a gzip archive", "unpack it")),
    (b"\x93NUMPY", Kind::Other("a NumPy array", "save it as PNG")),
    (b"\x1a\x45\xdf\xa3", Kind::Other("a video", "save single frames of it as PNG")),
    (b"\0\x05\x16\x07", Kind::Other("macOS's notes on a file (AppleDouble)", "take the file itself")),
    (
        b"version https://git-lfs",
        Kind::Other("a Git LFS pointer", "fetch the file itself with `git lfs pull`"),
    ),
    (b"<!DOCTYPE html", Kind::Other("an HTML page", "download the image itself")),
    (b"<html", Kind::Other("an HTML page", "download the image itself")),
];

/// Brands of ISO media files (ISO 14496-12) that are pictures.
const BRANDS: [(&[u8; 4], Kind); 10] = [
    (b"avif", Kind::Picture("AVIF")),
    (b"avis", Kind::Picture("AVIF")),
    (b"heic", Kind::Picture("HEIC")),
    (b"heix", Kind::Picture("HEIC")),
    (b"heim", Kind::Picture("HEIC")),
    (b"heis", Kind::Picture("HEIC")),
    (b"hevc", Kind::Picture("HEIC")),
    (b"mif1", Kind::Picture("HEIC")),
    (b"msf1", Kind::Picture("HEIC")),
    (b"crx ", Kind::Picture(RAW)),
];

/// Header sizes of BMP versions.
const BMP_HEADERS: [u8; 8] = [12, 16, 40, 52, 56, 64, 108, 124];

impl Kind {
    /// What a file with these first bytes is; [`HEAD`] of them are enough.
    pub fn of(head: &[u8]) -> Self {
        let head = &head[..head.len().min(HEAD)];
        if let Some(format) = readable(head) {
            return format;
        }
        if head.get(4..8) == Some(b"ftyp") {
            return media(head);
        }
        if head.starts_with(b"RIFF") && matches!(head.get(8..12), Some(b"AVI ")) {
            return Kind::Other("a video", "save single frames of it as PNG");
        }
        if is_svg(head) {
            return Kind::Other("an SVG drawing", "export it as PNG");
        }
        let signature = SIGNATURES.iter().find(|(signature, _)| starts_with(head, signature));
        signature.map_or(Kind::Unknown, |(_, kind)| *kind)
    }
}

/// Letters of markup count alike in either case.
fn starts_with(head: &[u8], signature: &[u8]) -> bool {
    let start = head.get(..signature.len());
    start.is_some_and(|s| s == signature || signature[0] == b'<' && s.eq_ignore_ascii_case(signature))
}

fn readable(head: &[u8]) -> Option<Kind> {
    let format = image::guess_format(head).ok()?;
    let sound = match format {
        ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Gif | ImageFormat::WebP => true,
        // "CR" names the version of Canon's format.
        ImageFormat::Tiff if head.get(8..10) == Some(b"CR") => return Some(Kind::Picture(RAW)),
        ImageFormat::Tiff => true,
        // Two letters alone also begin many texts.
        ImageFormat::Bmp => {
            head.get(14).is_some_and(|size| BMP_HEADERS.contains(size)) && head.get(15) == Some(&0)
        }
        ImageFormat::Pnm => head.get(2).is_some_and(|b| b.is_ascii_whitespace() || *b == b'#'),
        _ => false,
    };
    sound.then_some(Kind::Readable(format))
}

/// A file of boxes: its major brand, then those that it is compatible with; a still AVIF may call itself
/// `mif1`.
fn media(head: &[u8]) -> Kind {
    let size = head.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes) as usize;
    let brands = || head.get(8..size.min(head.len())).unwrap_or_default().chunks_exact(4);
    let known = BRANDS.iter().find(|(brand, _)| brands().any(|b| b == &brand[..]));
    known.map_or(Kind::Other("a video", "save single frames of it as PNG"), |(_, kind)| *kind)
}

fn is_svg(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    text.starts_with(b"<svg")
        || text.starts_with(b"<") && head.windows(4).any(|w| w == b"<svg") && !is_html(text)
}

fn is_html(text: &[u8]) -> bool {
    [&b"<html"[..], b"<!doctype html"]
        .iter()
        .any(|tag| text.get(..tag.len()).is_some_and(|t| t.eq_ignore_ascii_case(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_bytes_say() {
        let svg = b"<?xml version=\"1.0\"?>\n<!-- drawn -->\n<svg xmlns=\"http://www.w3.org/2000/svg\">";
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1a\n\0\0"[..], Kind::Readable(ImageFormat::Png)),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", Kind::Readable(ImageFormat::Jpeg)),
            (b"P6\n2 2\n255\n", Kind::Readable(ImageFormat::Pnm)),
            (b"P6 is the name of a road", Kind::Readable(ImageFormat::Pnm)),
            (b"P1: buy milk", Kind::Unknown),
            (b"BMW, Audi and others, a list of cars", Kind::Unknown),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Kind::Picture("HEIC")),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", Kind::Picture("AVIF")),
            (
                b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
                Kind::Other("a video", "save single frames of it as PNG"),
            ),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", Kind::Picture(RAW)),
            (b"II*\0\x10\0\0\0CR\x02\0", Kind::Picture(RAW)),
            (svg, Kind::Other("an SVG drawing", "export it as PNG")),
            (b"<!doctype HTML><svg>", Kind::Other("an HTML page", "download the image itself")),
            (b"%PDF-1.7", Kind::Other("a PDF document", CONVERT)),
            (b"hello", Kind::Unknown),
            (b"", Kind::Unknown),
        ] {
            assert_eq!(Kind::of(bytes), kind, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
