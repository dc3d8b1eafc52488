use std::path::PathBuf;

use super::format::READ;

/// Why an image or a folder of images cannot be taken. Each message names the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] crate::output::OutputError),
    /// A file or folder cannot be read.
    #[error("{path}: {reason}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason; part of the message, so not a source that would be printed again.
        reason: std::io::Error,
    },
    /// A file without a byte.
    #[error("{path}: the file is empty (0 bytes); copy or download it again")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The bytes are of no known image format.
    #[error("{path}: not an image in a known format ({READ} are)")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// An image of a format that is not read.
    #[error(
        "{path}: the file is {format}, which is not read ({READ} are); save the image in one of these \
         formats"
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
    },
    /// A file of another kind.
    #[error("{path}: the file is {what}, no image; {way_out}")]
    NoImage {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// A file that ends within its picture.
    #[error("{path}: the file is cut off ({reason}); copy or download it again")]
    Cut {
        /// The file.
        path: PathBuf,
        /// Where it ends.
        reason: String,
    },
    /// The format is known, but the data is damaged or of an unsupported kind.
    #[error("{path}: cannot be decoded ({reason}); open and save it again with an image editor")]
    Decode {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },
    /// An image that would need an unreasonable amount of memory.
    #[error("{path}: {width}×{height} pixels are {found}, the limit is {limit}; scale the image down first")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// What is too large.
        found: String,
        /// How large it may be.
        limit: String,
    },
    /// An image of which nothing would be left.
    #[error("{width}×{height} pixels cannot be reduced by {scale}; leave the image out")]
    TooSmall {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// How many times smaller it was to become.
        scale: usize,
    },
    /// The model asks for a number of channels that no image has.
    #[error(
        "{channels} colour channels are asked for; images have 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 \
         (RGBA)"
    )]
    Channels {
        /// Channels asked for.
        channels: usize,
    },
    /// A labels.csv that cannot be read.
    #[error("{path}, line {line}: {reason}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// What is wrong, what is expected.
        reason: String,
    },
    /// A folder without labelled images.
    #[error(
        "{path}: no labelled images; expected a labels.csv (columns file,class) or one subfolder of images \
         per class"
    )]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// A folder without images.
    #[error("{path}: no images in it or below; {READ} are found by their contents")]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
}

impl ImageError {
    pub(crate) fn io(path: &std::path::Path, reason: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), reason }
    }
}
