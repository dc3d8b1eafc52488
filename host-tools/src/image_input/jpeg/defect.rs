//! What can be wrong with a JPEG file.

/// What is wrong with a JPEG file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::image_input) enum Defect {
    /// The file ends before its picture does; percent of the picture that is there, where it can be told.
    Cut(Option<u8>),
    /// Another file begins within the picture.
    Joined,
    /// The end marker is missing, the picture is there.
    NoEnd,
    /// The picture's data stops too early, after so many percent of it.
    Short(u8),
    /// Scans that refine the picture, or colours, are missing.
    Scans,
    /// Codes that cannot be, first after so many percent of the picture.
    Codes(u8),
    /// More data than the picture needs.
    Surplus,
    /// Segments that cannot be understood.
    Markers,
}
