//! Framing: `magic (2), version (1), payload length (2), sequence (4), payload, CRC-32 (4)`, little-endian.
//!
//! The CRC-32 (ISO-HDLC, as in zlib) covers everything before it. The payload is postcard.

use crc::{Crc, NoTable, CRC_32_ISO_HDLC};
use serde::{Deserialize, Serialize};

use crate::VERSION;

/// First two bytes of each frame.
pub const MAGIC: [u8; 2] = *b"VT";

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 9;

/// Bytes behind the payload.
pub const TRAILER_BYTES: usize = 4;

/// Longest payload.
pub const MAX_PAYLOAD: usize = 320;

/// Longest frame; a buffer of this size holds any.
pub const MAX_FRAME: usize = HEADER_BYTES + MAX_PAYLOAD + TRAILER_BYTES;

/// Without a lookup table, since frames are short and flash is scarce on the target.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The bytes end before the frame does: read more.
    Incomplete,
    /// The bytes do not begin with a frame.
    Magic,
    /// The other side uses another version of the protocol.
    Version {
        /// The version found.
        found: u8,
    },
    /// The CRC does not match, or the length is impossible.
    Corrupt,
    /// The payload is not what is expected.
    Payload,
    /// The buffer is too small for the frame.
    Buffer,
}

/// CRC-32 of `bytes`, as frames and the model's name use it.
pub fn checksum(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// Writes `payload` as frame number `sequence` to `buffer` and returns the frame.
///
/// # Errors
/// [`FrameError::Buffer`] if the buffer is too small.
pub fn encode<'b, T: Serialize>(
    payload: &T,
    sequence: u32,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], FrameError> {
    let body = buffer.get_mut(HEADER_BYTES..).ok_or(FrameError::Buffer)?;
    let length = postcard::to_slice(payload, body).map_err(|_| FrameError::Buffer)?.len();
    if length > MAX_PAYLOAD {
        return Err(FrameError::Buffer);
    }
    let head = header(length as u16, sequence);
    buffer.get_mut(..HEADER_BYTES).ok_or(FrameError::Buffer)?.copy_from_slice(&head);
    let end = HEADER_BYTES + length;
    let crc = checksum(buffer.get(..end).ok_or(FrameError::Buffer)?);
    buffer.get_mut(end..end + TRAILER_BYTES).ok_or(FrameError::Buffer)?.copy_from_slice(&crc.to_le_bytes());
    buffer.get(..end + TRAILER_BYTES).ok_or(FrameError::Buffer)
}

fn header(length: u16, sequence: u32) -> [u8; HEADER_BYTES] {
    let [l0, l1] = length.to_le_bytes();
    let [s0, s1, s2, s3] = sequence.to_le_bytes();
    [MAGIC[0], MAGIC[1], VERSION, l0, l1, s0, s1, s2, s3]
}

/// A decoded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<T> {
    /// What it carried.
    pub payload: T,
    /// Its number.
    pub sequence: u32,
    /// Its length in bytes: the next frame begins there.
    pub bytes: usize,
}

/// Reads the frame that `bytes` begin with.
///
/// # Errors
/// [`FrameError::Incomplete`] if more bytes are needed, else what is wrong.
pub fn decode<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<Decoded<T>, FrameError> {
    let Some((&[m0, m1, version, l0, l1, s0, s1, s2, s3], rest)) = bytes.split_first_chunk::<HEADER_BYTES>()
    else {
        return Err(FrameError::Incomplete);
    };
    if [m0, m1] != MAGIC {
        return Err(FrameError::Magic);
    }
    if version != VERSION {
        return Err(FrameError::Version { found: version });
    }
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    if length > MAX_PAYLOAD {
        return Err(FrameError::Corrupt);
    }
    let (Some(body), Some(trailer)) = (rest.get(..length), rest.get(length..length + TRAILER_BYTES)) else {
        return Err(FrameError::Incomplete);
    };
    let covered = bytes.get(..HEADER_BYTES + length).ok_or(FrameError::Incomplete)?;
    if trailer != checksum(covered).to_le_bytes().as_slice() {
        return Err(FrameError::Corrupt);
    }
    let payload = postcard::from_bytes(body).map_err(|_| FrameError::Payload)?;
    let sequence = u32::from_le_bytes([s0, s1, s2, s3]);
    Ok(Decoded { payload, sequence, bytes: HEADER_BYTES + length + TRAILER_BYTES })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ImageSize, Job, Message, Rows, ValueKind, Values, Work, ROW_BYTES_PER_FRAME, VALUES_PER_FRAME,
    };

    const JOB: Job = Job {
        model_bytes: 5_900_000,
        images: 3,
        work: Work::Classify { image_bytes: 150_528, features: true },
        calibrate: false,
        job: 7,
    };

    #[test]
    fn a_frame_comes_back_as_it_was_sent() {
        let mut buffer = [0; MAX_FRAME];
        let frame = encode(&JOB, 42, &mut buffer).unwrap();
        let decoded: Decoded<Job> = decode(frame).unwrap();
        assert_eq!(decoded, Decoded { payload: JOB, sequence: 42, bytes: frame.len() });
    }

    #[test]
    fn the_longest_values_message_fits() {
        let bits = [0xff; VALUES_PER_FRAME * 4];
        let values = Values { image: u32::MAX, kind: ValueKind::Features, first: u32::MAX, bits: &bits };
        let mut buffer = [0; MAX_FRAME];
        let frame = encode(&Message::Values(values), u32::MAX, &mut buffer).unwrap();
        let decoded: Decoded<Message> = decode(frame).unwrap();
        assert_eq!(decoded.payload, Message::Values(values));
    }

    #[test]
    fn the_longest_rows_message_fits() {
        let bytes = [0xff; ROW_BYTES_PER_FRAME];
        let rows = Rows { image: u32::MAX, first: u32::MAX, bytes: &bytes };
        let mut buffer = [0; MAX_FRAME];
        let frame = encode(&Message::Rows(rows), u32::MAX, &mut buffer).unwrap();
        let decoded: Decoded<Message> = decode(frame).unwrap();
        assert_eq!(decoded.payload, Message::Rows(rows));
    }

    #[test]
    fn a_size_comes_back_as_it_was_written() {
        let size = ImageSize { width: 0x0102_0304, height: 7 };
        assert_eq!(ImageSize::from_bytes(size.to_bytes()), size);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut buffer = [0; MAX_FRAME];
        let length = encode(&JOB, 1, &mut buffer).unwrap().len();
        for bit in 0..length * 8 {
            buffer[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<Job>(&buffer[..length]).is_err(), "bit {bit}");
            buffer[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_truncated_frame_asks_for_more() {
        let mut buffer = [0; MAX_FRAME];
        let frame = encode(&JOB, 1, &mut buffer).unwrap();
        for end in 0..frame.len() {
            assert_eq!(decode::<Job>(&frame[..end]), Err(FrameError::Incomplete), "{end} bytes");
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut buffer = [0; MAX_FRAME];
        let length = encode(&JOB, 1, &mut buffer).unwrap().len();
        buffer[2] = VERSION + 1;
        assert_eq!(decode::<Job>(&buffer[..length]), Err(FrameError::Version { found: VERSION + 1 }));
    }

    #[test]
    fn a_small_buffer_is_refused() {
        for size in 0..HEADER_BYTES + TRAILER_BYTES + 4 {
            assert_eq!(encode(&JOB, 1, &mut [0; 64][..size]).err(), Some(FrameError::Buffer), "{size} bytes");
        }
    }
}
