//! The target sends numbers; this puts them into words.

use std::path::Path;

use vitreous::models::vit::Vit;
use vitreous::Model;
use vitreous_protocol::{Board, Failure, Fault, FaultKind};

use super::TargetError;
use crate::vtr::AlignedBytes;

/// Words for a fault.
pub(super) fn fault(fault: Fault) -> String {
    match fault.kind {
        FaultKind::Panic => format!("a panic at line {}, column {}", fault.a, fault.b),
        FaultKind::Exception => format!("an exception at {:#010x}, status {:#010x}", fault.a, fault.b),
    }
}

/// The error that a failure message stands for.
pub(super) fn failure(board: &'static Board, failure: Failure, model: &Path) -> TargetError {
    let Failure { phase, image, code, context } = failure;
    let [first, second] = context;
    let board = board.name;
    match code {
        Failure::ARENA_BYTES => TargetError::ArenaTooLarge { board, needed: first, limit: second },
        Failure::IMAGE_BYTES => {
            TargetError::ImageLength { index: 0, expected: first as usize, found: second as usize }
        }
        Failure::STACK => TargetError::StackOverflow { board, image, limit: first },
        code if code >= Failure::FIRST_OWN => TargetError::Refused { board, code, context },
        code => TargetError::Engine { board, phase, image, code, text: engine_text(model, code, context) },
    }
}

/// The engine on the host mostly stops at the same place for the same reason, and has the words for it.
fn engine_text(model: &Path, code: u16, context: [u32; 2]) -> String {
    let Ok(bytes) = AlignedBytes::read(model) else {
        return format!("engine error {code}, context {context:?}");
    };
    match Model::parse(bytes.as_slice()).and_then(|model| Vit::new(&model).map(drop)) {
        Err(error) if error.code() == code => error.to_string(),
        _ => format!("engine error {code}, context {context:?}"),
    }
}
