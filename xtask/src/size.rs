//! What the firmware's flash holds: the engine's share and the application's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind};

use crate::firmware::{board, build, OptLevel, Work};

/// Functions of the application that are the engine's calls and nothing else: what the compiler inlines into
/// them is the engine's code. They are kept out of line for this purpose.
const BOUNDARY: [&str; 8] = [
    "vitreous_firmware::classify::load",
    "vitreous_firmware::classify::begin",
    "vitreous_firmware::classify::finish",
    "vitreous_firmware::restore::load",
    "vitreous_firmware::restore::arena_bytes",
    "vitreous_firmware::restore::band_bytes",
    "vitreous_firmware::restore::begin",
    "vitreous_firmware::restore::finish",
];

/// Crates and symbols that are the application's. All the rest is counted as the engine's: constants without
/// a name, the compiler's support routines, `core`. So the engine's figure errs on the high side.
const APPLICATION: [&str; 12] = [
    "vitreous_firmware::",
    "vitreous_protocol::",
    "postcard::",
    "semihosting::",
    "cortex_m_rt::",
    "riscv_rt::",
    "__INTERRUPTS",
    "__EXCEPTIONS",
    "Reset",
    "HardFault",
    "DefaultHandler",
    "__rustc::rust_begin_unwind",
];

/// Flash bytes of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Code, constants and initial values of statics.
    pub total: u64,
    /// The application's part.
    pub application: u64,
    /// Names of functions that a panic goes through; none if nothing in the image can panic.
    pub panics: Vec<String>,
}

impl Sizes {
    /// All that is not the application's.
    pub fn engine(&self) -> u64 {
        self.total - self.application
    }
}

/// `cargo xtask size [TARGET]`.
pub fn command(target: &str) -> Result<()> {
    let board = board(target)?;
    println!("{:12}{:>12}{:>10}{:>12}{:>10}   panics", board.name, "work", "engine", "application", "total");
    for opt_level in [OptLevel::Size, OptLevel::Speed] {
        for work in [Work::Classify, Work::Restore, Work::All] {
            let sizes = measure(&build(board, opt_level, work)?)?;
            let panics = if sizes.panics.is_empty() { "none".into() } else { sizes.panics.join(", ") };
            let (label, work) = (format!("opt-level {}", opt_level.name()), work.name());
            println!(
                "{label:12}{work:>12}{:>10}{:>12}{:>10}   {panics}",
                sizes.engine(),
                sizes.application,
                sizes.total
            );
        }
    }
    Ok(())
}

/// Measures an ELF.
pub fn measure(path: &Path) -> Result<Sizes> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let elf = object::File::parse(&*bytes).with_context(|| path.display().to_string())?;
    let is_flash = |section: &object::Section<'_, '_>| match section.flags() {
        SectionFlags::Elf { sh_flags } => {
            sh_flags & u64::from(object::elf::SHF_ALLOC) != 0 && section.file_range().is_some()
        }
        _ => false,
    };
    let mut sizes =
        Sizes { total: elf.sections().filter(is_flash).map(|s| s.size()).sum(), ..Sizes::default() };
    for symbol in elf.symbols().filter(|symbol| matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data))
    {
        let section = symbol.section_index().and_then(|index| elf.section_by_index(index).ok());
        let name = format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or_default()));
        if section.is_some_and(|section| is_flash(&section)) && is_application(&name) {
            sizes.application += symbol.size();
        }
        if name.starts_with("core::panicking::") {
            sizes.panics.push(name);
        }
    }
    Ok(sizes)
}

fn is_application(name: &str) -> bool {
    let plain = name.trim_start_matches(['<', '&']);
    !BOUNDARY.iter().any(|boundary| plain.starts_with(boundary))
        && APPLICATION.iter().any(|own| plain.starts_with(own))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::{env, fs};

    use super::{is_application, measure, Sizes};
    use crate::firmware::{board, build, OptLevel, Work};
    use crate::setup::Lack;
    use crate::test::{NO_TARGET_VARIABLE, SKIPPED_VARIABLE};

    /// What the engine may take of a microcontroller's flash, at opt-level s. With portable kernels it was 32
    /// and 56 KiB; those in assembly and GELU's tables take 14 KiB more for a fifth of the instructions
    /// (docs/kernels.md). A target's own core, as rustup has it, is compiled for speed and takes over 1 KiB
    /// more than one built with the engine: memcpy alone has 730 bytes.
    const ENGINE_BYTES: [(Work, u64); 2] = [(Work::Classify, 48 * 1024), (Work::Restore, 62 * 1024)];

    #[test]
    fn the_engines_calls_are_the_engines() {
        assert!(is_application("<vitreous_firmware::report::Report>::send"));
        assert!(is_application("postcard::de::from_bytes::<vitreous_protocol::message::Job>"));
        assert!(!is_application("vitreous_firmware::classify::finish"));
        assert!(!is_application("vitreous::kernels::portable::rows::layer_norm"));
        assert!(!is_application("compiler_builtins::mem::memcpy"));
    }

    /// Without a panic path nothing in the image can end in the panic handler, and the engine's size is all
    /// its own.
    #[test]
    fn the_engine_is_small_and_no_image_can_panic() {
        let board = board("qemu-m4").unwrap();
        let lack = Lack::now();
        if env::var_os(NO_TARGET_VARIABLE).is_some() {
            return skip("targets are switched off");
        }
        if !lack.allows_build(board) {
            return skip(&lack.describe().join("; "));
        }
        for (work, limit) in ENGINE_BYTES {
            let sizes = measure(&build(board, OptLevel::Size, work).unwrap()).unwrap();
            let (name, work) = (board.name, work.name());
            println!(
                "{name}, {work} at opt-level s: engine {} of {limit} bytes, application {}, total {}",
                sizes.engine(),
                sizes.application,
                sizes.total
            );
            check(&sizes, work);
            assert!(sizes.engine() <= limit, "{work}: the engine takes {} bytes", sizes.engine());
        }
        check(&measure(&build(board, OptLevel::Speed, Work::All).unwrap()).unwrap(), "both at opt-level 3");
    }

    fn check(sizes: &Sizes, image: &str) {
        // An image that was stripped would have no names to find.
        assert!(sizes.application > 0, "{image}: the image has no symbols");
        assert!(sizes.panics.is_empty(), "{image}: it can panic, through {}", sizes.panics.join(", "));
    }

    /// Notes it for `cargo xtask test`, which lists all that was skipped, and on standard error.
    fn skip(reason: &str) {
        let line = format!("the engine's size on qemu-m4: {reason}");
        eprintln!("skipped: {line}");
        if let Some(list) = env::var_os(SKIPPED_VARIABLE) {
            let file = fs::OpenOptions::new().create(true).append(true).open(list);
            // Only the list suffers if that fails; the line above was printed.
            let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        }
    }
}
