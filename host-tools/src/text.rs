//! Text of others as it may be shown: names of models, classes, tensors and files come from wherever the user
//! has got them, and must neither steer a terminal, nor pass for lines of this program, nor read otherwise
//! than they are.
//!
//! A name goes through [`printable`] or [`shown`] where it is put into a text; a whole text goes through
//! [`lines`] where it leaves the program. So a name that was forgotten still can't do harm.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::Path;

use serde::Serializer;

/// Whether a character does something else than to be seen: control characters, line separators,
/// bidirectional overrides, zero-width and other invisible characters, and what Unicode has not assigned. The
/// table is that of Rust's own notation.
fn acts(c: char) -> bool {
    if c.is_ascii_graphic() || c == ' ' {
        return false;
    }
    // Behind a letter, where a combining mark is in its place.
    let letter_first = String::from_iter(['x', c]);
    letter_first.escape_debug().ne(letter_first.chars())
}

/// A name on one line, with the characters that act in Rust's notation, such as `\n` and `\u{1b}`. A name of
/// letters of any script stays as it is.
pub fn printable(name: &str) -> Cow<'_, str> {
    if !name.chars().any(acts) {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if acts(c) {
            text.extend(c.escape_debug());
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

/// A key from a file, fit for a terminal: its first 80 characters, escaped.
pub fn short(key: &str) -> String {
    let mut short: String = key.chars().take(80).collect();
    if short.len() < key.len() {
        short.push('…');
    }
    short.escape_debug().to_string()
}

/// Most bytes of a text file, such as labels or a config.json: a device or a pipe may never end.
pub const MAX_TEXT: u64 = 64 << 20;

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// The system's; a larger file.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let reason = format!("is larger than {} MiB, the most that is read as text", most >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, such as `1 image` and `2 images`.
pub fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A path as [`printable`] text; bytes that are no UTF-8 as `\xNN`.
pub fn shown(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text += &printable(chunk.valid());
        for byte in chunk.invalid() {
            text += &format!("\\x{byte:02x}");
        }
    }
    text
}

/// A text of several lines, in which nothing but the line ends acts.
pub fn lines(text: &str) -> String {
    let lines: Vec<Cow<str>> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// A message whose further lines are set in, so that no name in it can begin a line that looks like another
/// message.
pub fn message(text: &str) -> String {
    lines(text).replace('\n', "\n    ")
}

/// A JSON text in which nothing acts: the same document, with such characters in JSON's notation.
pub fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !acts(c) {
            safe.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| safe += &format!("\\u{unit:04x}"));
        }
    }
    safe
}

/// A path as a program reads it in a report: as it is, but as [`shown`] if it is no UTF-8, so that the report
/// is not lost for it.
pub fn path_text(path: &Path) -> String {
    path.to_str().map_or_else(|| shown(path), str::to_owned)
}

/// Serializes a path as [`path_text`].
pub fn serialize_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path_text(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a name may try, and how it is shown.
    const ACTING: [(&str, &str); 11] = [
        ("a\nb", "a\\nb"),
        ("a\r\tb", "a\\r\\tb"),
        ("\u{1b}[2J", "\\u{1b}[2J"),
        ("\0", "\\0"),
        ("\u{7f}", "\\u{7f}"),
        ("\u{9b}31m", "\\u{9b}31m"),
        ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
        ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
        ("a\u{200b}b\u{200d}\u{feff}", "a\\u{200b}b\\u{200d}\\u{feff}"),
        ("a\u{2028}b\u{2029}\u{85}", "a\\u{2028}b\\u{2029}\\u{85}"),
        ("\u{ad}\u{61c}\u{e0041}", "\\u{ad}\\u{61c}\\u{e0041}"),
    ];

    #[test]
    fn nothing_in_a_name_acts() {
        for (name, text) in ACTING {
            assert_eq!(printable(name), text);
            assert_eq!(printable(text), text, "shown again");
        }
    }

    #[test]
    fn letters_of_any_script_stay() {
        for name in [
            "",
            "vit tiny",
            "it's \"x\" \\ C:\\a",
            "Übergröße",
            "猫と犬",
            "हिन्दी",
            "עברית",
            "🐈",
            "é e\u{301}",
        ] {
            assert_eq!(printable(name), name);
            assert_eq!(json(name), name);
        }
    }

    #[test]
    fn lines_of_a_message_are_set_in() {
        assert_eq!(message("a\nerror: b\u{1b}"), "a\n    error: b\\u{1b}");
        assert_eq!(lines("│ a █\n└──┘"), "│ a █\n└──┘");
    }

    #[test]
    fn json_stays_the_same_document() {
        for (name, _) in ACTING {
            let text = json(&serde_json::to_string_pretty(&[name]).unwrap());
            assert_eq!(serde_json::from_str::<[String; 1]>(&text).unwrap(), [name]);
            assert_eq!(lines(&text), text);
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_shown_one_by_one() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"a\xff/\x1bb\xc3"));
        assert_eq!(shown(path), "a\\xff/\\u{1b}b\\xc3");
        let mut text = Vec::new();
        serialize_path(path, &mut serde_json::Serializer::new(&mut text)).unwrap();
        assert_eq!(text, br#""a\\xff/\\u{1b}b\\xc3""#);
    }
}
