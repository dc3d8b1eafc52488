//! Picks the board from the enabled feature, writes its linker script and links in a model if
//! `VITREOUS_MODEL` names one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use vitreous_protocol::{Board, BOARDS};

/// The sections for AArch64, whose runtime is part of this application. For other architectures a crate
/// brings them.
const AARCH64_SECTIONS: &str = "src/start/aarch64.ld";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=VITREOUS_MODEL");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let (index, board) = chosen_board();
    write(&out.join("memory.x"), &memory_map(board));
    write(
        &out.join("board.rs"),
        &format!("/// Index of this board in `BOARDS`.\npub const BOARD_INDEX: usize = {index};\n"),
    );
    write(&out.join("linked.rs"), &linked_model());
    if board.target.starts_with("aarch64") {
        println!("cargo:rerun-if-changed={AARCH64_SECTIONS}");
        let sections = fs::read_to_string(AARCH64_SECTIONS).expect("the script is there");
        write(&out.join("link.x"), &sections);
    }
    println!("cargo:rustc-link-search={}", out.display());
    if board.target.starts_with("riscv") {
        println!("cargo:rustc-link-arg=-Tmemory.x");
    }
    println!("cargo:rustc-check-cfg=cfg(enable_fpu)");
    // cortex-m-rt switches the FPU on for the other ABI alone.
    if board.target == "thumbv7em-none-eabi" {
        println!("cargo:rustc-cfg=enable_fpu");
    }
    println!("cargo:rustc-link-arg=-Tlink.x");
    // Without this the linker would place the vector table by its own page size, not by the map.
    println!("cargo:rustc-link-arg=--nmagic");
}

fn chosen_board() -> (usize, &'static Board) {
    let enabled = |board: &Board| {
        let feature = board.name.to_uppercase().replace('-', "_");
        env::var_os(format!("CARGO_FEATURE_{feature}")).is_some()
    };
    let mut chosen = BOARDS.iter().enumerate().filter(|(_, board)| enabled(board));
    match (chosen.next(), chosen.next()) {
        (Some(only), None) => only,
        _ => {
            let names: Vec<_> = BOARDS.iter().map(|board| board.name).collect();
            panic!("enable exactly one board with --features: one of {}", names.join(", "));
        }
    }
}

fn memory_map(board: &Board) -> String {
    let Board { code, ram, .. } = board;
    let mut map = format!(
        "MEMORY\n{{\n  FLASH (rx) : ORIGIN = {:#010x}, LENGTH = {:#x}\n  RAM (rwx) : ORIGIN = {:#010x}, \
         LENGTH = {:#x}\n}}\n",
        code.start, code.bytes, ram.start, ram.bytes
    );
    if board.target.starts_with("riscv") {
        for (name, region) in [
            ("TEXT", "FLASH"),
            ("RODATA", "FLASH"),
            ("DATA", "RAM"),
            ("BSS", "RAM"),
            ("HEAP", "RAM"),
            ("STACK", "RAM"),
        ] {
            map += &format!("REGION_ALIAS(\"REGION_{name}\", {region});\n");
        }
    }
    map
}

/// Rust source of the linked-in model: `None`, or its bytes, aligned for the widest kernel.
fn linked_model() -> String {
    match env::var("VITREOUS_MODEL") {
        Ok(path) if !path.is_empty() => {
            let path =
                fs::canonicalize(&path).unwrap_or_else(|error| panic!("VITREOUS_MODEL={path}: {error}"));
            println!("cargo:rerun-if-changed={}", path.display());
            format!(
                "static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!({path:?}));\n/// The model that \
                 is linked in.\npub fn linked() -> Option<&'static [u8]> {{
                 /// Some(&ALIGNED.0) }}\n"
            )
        }
        _ => "/// The model that is linked in.\npub fn linked() -> Option<&'static [u8]> { None }\n".into(),
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
