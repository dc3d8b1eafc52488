//! Where a target's firmware is, for every command that runs on targets.

use std::path::PathBuf;

use clap::Args;

#[derive(Args, Debug)]
pub struct FirmwareArgs {
    /// Firmware of the target, as `cargo xtask firmware` builds it: an ELF file, or a folder of them named
    /// TARGET.elf. Else what VITREOUS_FIRMWARE names, else a folder `firmware` beside this program, else that
    /// of the checkout that the program was built from.
    #[arg(long, value_name = "PATH", requires = "target")]
    pub firmware: Option<PathBuf>,
}
