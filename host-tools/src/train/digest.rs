//! SHA-256 as text.

use sha2::{Digest, Sha256};

/// The sum as hexadecimal digits.
pub fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
