//! The result file: frames appended over semihosting, each with one write.

use vitreous_protocol::{exit, frame, Fault, Message, RESULT_FILE};
#[cfg(feature = "restore")]
use vitreous_protocol::{Rows, ROW_BYTES_PER_FRAME};
#[cfg(feature = "classify")]
use vitreous_protocol::{ValueKind, Values, VALUES_PER_FRAME};

use crate::file::{File, Refused};

/// Writes the result file.
pub struct Report {
    file: File,
    sequence: u32,
}

impl Report {
    /// An empty result file.
    pub fn create() -> Result<Self, Refused> {
        Ok(Self { file: File::create(RESULT_FILE)?, sequence: 0 })
    }

    /// Sends one message. If the host does not take it, only the exit code can tell.
    #[inline(never)]
    pub fn send(&mut self, message: &Message<'_>) {
        let mut buffer = [0; frame::MAX_FRAME];
        let sent = match frame::encode(message, self.sequence, &mut buffer) {
            Ok(frame) => write_all(&mut self.file, frame),
            Err(_) => false,
        };
        if !sent {
            semihosting::process::exit(exit::OUTPUT);
        }
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Sends a vector's exact bits, in pieces.
    #[cfg(feature = "classify")]
    pub fn send_values(&mut self, image: u32, kind: ValueKind, values: &[f32]) {
        let mut first = 0;
        for piece in values.chunks(VALUES_PER_FRAME) {
            let mut bits = [0; VALUES_PER_FRAME * 4];
            for (to, value) in bits.chunks_exact_mut(4).zip(piece) {
                to.copy_from_slice(&value.to_bits().to_le_bytes());
            }
            let bits = bits.get(..piece.len() * 4).unwrap_or(&[]);
            self.send(&Message::Values(Values { image, kind, first, bits }));
            first += piece.len() as u32;
        }
    }

    /// Sends pixels of the restored image from position `first` on, in pieces.
    #[cfg(feature = "restore")]
    #[inline(never)]
    pub fn send_rows(&mut self, image: u32, mut first: u32, pixels: &[u8]) {
        for bytes in pixels.chunks(ROW_BYTES_PER_FRAME) {
            self.send(&Message::Rows(Rows { image, first, bytes }));
            first = first.wrapping_add(bytes.len() as u32);
        }
    }
}

/// Appends a fault to whatever has been sent. Used from handlers, which have no [`Report`] at hand.
pub fn send_fault(fault: Fault) {
    let Ok(file) = File::append(RESULT_FILE) else { return };
    Report { file, sequence: u32::MAX }.send(&Message::Fault(fault));
}

fn write_all(file: &mut File, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(written) if written > 0 => bytes = bytes.get(written..).unwrap_or(&[]),
            _ => return false,
        }
    }
    true
}
