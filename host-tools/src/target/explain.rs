//! The target sends numbers; this puts them into words.

use std::fs;
use std::path::Path;

use bytemuck::{Pod, Zeroable};
use vitreous::models::vit::Vit;
use vitreous::Model;
use vitreous_protocol::{Board, Failure, Fault, FaultKind};

use super::TargetError;

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
    let bytes = Aligned::copy(&fs::read(model).unwrap_or_default());
    match Model::parse(bytes.bytes()).and_then(|model| Vit::new(&model).map(drop)) {
        Err(error) if error.code() == code => error.to_string(),
        _ => format!("engine error {code}, context {context:?}"),
    }
}

/// Bytes that begin where any model may.
struct Aligned {
    blocks: Vec<Block>,
    length: usize,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Block([u8; 64]);

impl Aligned {
    fn copy(bytes: &[u8]) -> Self {
        let mut blocks = vec![Block([0; 64]); bytes.len().div_ceil(64)];
        bytemuck::cast_slice_mut::<Block, u8>(&mut blocks)[..bytes.len()].copy_from_slice(bytes);
        Self { blocks, length: bytes.len() }
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice::<Block, u8>(&self.blocks)[..self.length]
    }
}
