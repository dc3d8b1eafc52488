//! The target sends numbers; this puts them into words.

use vitreous::Error;
use vitreous_protocol::{Board, Failure, Fault, FaultKind};

use super::TargetError;

/// Does on the host what the engine has refused to do on the target with this image, and says why it was
/// refused.
pub(super) type Replay<'a> = &'a dyn Fn(usize) -> Option<Error>;

/// Words for a fault.
pub(super) fn fault(fault: Fault) -> String {
    match fault.kind {
        FaultKind::Panic => format!("a panic at line {}, column {}", fault.a, fault.b),
        FaultKind::Exception => format!("an exception at {:#010x}, status {:#010x}", fault.a, fault.b),
    }
}

/// The error that a failure message stands for.
pub(super) fn failure(board: &'static Board, failure: Failure, replay: Replay<'_>) -> TargetError {
    let Failure { phase, image, code, context } = failure;
    let [first, second] = context;
    let board = board.name;
    match code {
        Failure::ARENA_BYTES => TargetError::ArenaTooLarge { board, needed: first, limit: second },
        Failure::BAND_BYTES => TargetError::BandTooLarge { board, needed: first, limit: second },
        Failure::IMAGE_BYTES => {
            TargetError::ImageLength { index: 0, expected: first as usize, found: second as usize }
        }
        Failure::STACK => TargetError::StackOverflow { board, image, limit: first },
        code if code >= Failure::FIRST_OWN => TargetError::Refused { board, code, context },
        code => {
            // The engine on the host mostly stops at the same place for the same reason, and has the words
            // for it.
            let text = match replay(image as usize) {
                Some(error) if error.code() == code => error.to_string(),
                Some(_) => format!("engine error {code}, context {context:?}"),
                None => format!(
                    "engine error {code}, context {context:?}, where the engine of this tool goes on: is \
                     the firmware of another version? `cargo xtask firmware {board}` builds it anew"
                ),
            };
            TargetError::Engine { board, phase, image, code, text }
        }
    }
}
