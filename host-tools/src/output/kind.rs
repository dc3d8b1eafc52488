//! What a file is, as far as it must be known before another one takes its place.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use vitreous::format::MAGIC;

/// A kind of result. Where a file is already, it must be an earlier result of the same kind, or empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A model.
    Vtr,
    /// A report.
    Html,
    /// What `bench` measured.
    Bench,
    /// A drawing.
    Svg,
    /// Rust code with a model in it.
    Rust,
    /// A picture.
    Png,
}

/// Bytes that are looked at.
const LOOKED_AT: u64 = 1 << 16;

impl Kind {
    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Vtr => ".vtr model",
            Kind::Html => "HTML page",
            Kind::Bench => "result of `vitreous bench`",
            Kind::Svg => "SVG drawing",
            Kind::Rust => "Rust file of `vitreous convert`",
            Kind::Png => "PNG picture",
        }
    }

    /// Whether a file is of this kind, or empty.
    pub(super) fn is_of(self, path: &Path) -> io::Result<bool> {
        let mut head = Vec::new();
        File::open(path)?.take(LOOKED_AT).read_to_end(&mut head)?;
        Ok(head.is_empty() || self.recognises(&head))
    }

    fn recognises(self, head: &[u8]) -> bool {
        let text = String::from_utf8_lossy(head);
        let text = text.trim_start_matches('\u{feff}').trim_start();
        match self {
            Kind::Vtr => head.starts_with(&MAGIC),
            Kind::Html => {
                let start: String = text.chars().take(15).collect::<String>().to_ascii_lowercase();
                start.starts_with("<!doctype html") || start.starts_with("<html")
            }
            Kind::Bench => text.starts_with('{') && text.contains("\"stages\""),
            Kind::Svg => text.starts_with('<') && text.contains("<svg"),
            Kind::Rust => text.starts_with("//") && text.contains("include_bytes!"),
            Kind::Png => head.starts_with(b"\x89PNG\r\n\x1a\n"),
        }
    }
}
