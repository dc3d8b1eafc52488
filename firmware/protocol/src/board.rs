//! The emulated boards: processor, emulator and memory map. The firmware's linker script, its build and the
//! host tool all read this one table.

/// A piece of address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: u32,
    /// Length in bytes.
    pub bytes: u32,
}

const fn region(start: u32, bytes: u32) -> Region {
    Region { start, bytes }
}

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// The counter of time on a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A free-running 32-bit counter in memory (COUNTER of the MPS boards' FPGA I/O block).
    Memory {
        /// Its address.
        address: u32,
    },
    /// The RISC-V `mcycle` CSR, 64 bits.
    Mcycle,
    /// AArch64's virtual count, CNTVCT_EL0, 64 bits.
    Cntvct,
}

/// An emulated board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Name on command lines and of the firmware's feature and file.
    pub name: &'static str,
    /// Processor, as shown to people.
    pub core: &'static str,
    /// The emulator's program.
    pub emulator: &'static str,
    /// The emulator's machine.
    pub machine: &'static str,
    /// Rust target.
    pub target: &'static str,
    /// `-C target-cpu`.
    pub cpu: &'static str,
    /// The engine's kernel table for the board.
    pub kernels: &'static str,
    /// Code and constants.
    pub code: Region,
    /// Statics and stack.
    pub ram: Region,
    /// Memory for the arena.
    pub arena: Region,
    /// Where the emulator's loader places a model.
    pub model: Region,
    /// The counter of time.
    pub counter: Counter,
    /// Ticks per instruction under `-icount shift=6` (64 ns per instruction), as a fraction.
    pub ticks_per_instruction: (u32, u32),
}

impl Board {
    /// Instructions in `ticks`, rounded to the nearest.
    pub const fn instructions(&self, ticks: u64) -> u64 {
        let (ticks_of, instructions_of) =
            (self.ticks_per_instruction.0 as u64, self.ticks_per_instruction.1 as u64);
        (ticks * instructions_of + ticks_of / 2) / ticks_of
    }

    /// Options of the emulator for this board: without a window, a console or a network, with semihosting.
    pub fn emulator_options(&self) -> impl Iterator<Item = &'static str> {
        let processor = match self.emulator {
            // Without this, QEMU's own firmware would run first.
            "qemu-system-riscv32" => ["-bios", "none"],
            // QEMU has no board of this size with a smaller Cortex-M. Armv7-M executes code for Armv6-M.
            _ if self.machine == "mps2-an385" => ["-cpu", "cortex-m3"],
            // Machines of AArch64 take one of many cores; a Cortex-M's machine has its own.
            _ => ["-cpu", self.cpu],
        };
        ["-M", self.machine].into_iter().chain(HEADLESS).chain(processor)
    }
}

/// Options of the emulator for a program that speaks through files alone.
const HEADLESS: [&str; 11] = [
    "-display",
    "none",
    "-monitor",
    "none",
    "-serial",
    "none",
    "-nic",
    "none",
    "-no-reboot",
    "-semihosting-config",
    "enable=on,target=native",
];

/// Options of the emulator that make instructions take 64 ns of virtual time each, so that a board's ticks
/// become instructions ([`Board::instructions`]).
pub const COUNT_INSTRUCTIONS: [&str; 2] = ["-icount", "shift=6"];

const QEMU_M4: Board = Board {
    name: "qemu-m4",
    core: "Cortex-M4",
    emulator: "qemu-system-arm",
    machine: "mps2-an386",
    target: "thumbv7em-none-eabihf",
    cpu: "cortex-m4",
    kernels: "cortex-m-dsp",
    code: region(0x0000_0000, 4 * MIB),
    ram: region(0x2000_0000, 256 * KIB),
    arena: region(0x2010_0000, 3 * MIB),
    model: region(0x2100_0000, 16 * MIB),
    counter: Counter::Memory { address: 0x4002_8018 },
    ticks_per_instruction: (8, 5),
};

const QEMU_M33: Board = Board {
    name: "qemu-m33",
    core: "Cortex-M33",
    machine: "mps2-an505",
    target: "thumbv8m.main-none-eabihf",
    cpu: "cortex-m33",
    code: region(0x1000_0000, 4 * MIB),
    ram: region(0x3800_0000, 256 * KIB),
    arena: region(0x3810_0000, 3 * MIB),
    model: region(0x8000_0000, 16 * MIB),
    counter: Counter::Memory { address: 0x5030_2018 },
    ticks_per_instruction: (32, 25),
    ..QEMU_M4
};

/// All boards. A board's index here is its number in messages.
///
/// Sources of the maps: Arm application notes AN386, AN500, AN505 and AN547; QEMU's `hw/riscv/virt.c` and
/// `hw/arm/virt.c`. The Armv8-M boards start in secure state, so their memories are used at their secure
/// addresses.
pub const BOARDS: [Board; 8] = [
    QEMU_M4,
    Board {
        name: "qemu-m7",
        core: "Cortex-M7",
        machine: "mps2-an500",
        cpu: "cortex-m7",
        model: region(0x6000_0000, 16 * MIB),
        ..QEMU_M4
    },
    QEMU_M33,
    Board {
        name: "qemu-m55",
        core: "Cortex-M55",
        machine: "mps3-an547",
        cpu: "cortex-m55",
        kernels: "cortex-m-helium",
        code: region(0x1000_0000, 512 * KIB),
        ram: region(0x3000_0000, 256 * KIB),
        arena: region(0x3100_0000, 4 * MIB),
        model: region(0x7000_0000, 64 * MIB),
        counter: Counter::Memory { address: 0x5930_2018 },
        ..QEMU_M33
    },
    Board {
        name: "qemu-riscv32",
        core: "RV32IMAC",
        emulator: "qemu-system-riscv32",
        machine: "virt",
        target: "riscv32imac-unknown-none-elf",
        cpu: "generic-rv32",
        kernels: "soft-float",
        code: region(0x8000_0000, 4 * MIB),
        ram: region(0x8040_0000, 256 * KIB),
        arena: region(0x8050_0000, 8 * MIB),
        model: region(0x8200_0000, 64 * MIB),
        counter: Counter::Mcycle,
        ticks_per_instruction: (64, 1),
    },
    Board {
        name: "qemu-cortex-a",
        core: "Cortex-A76",
        emulator: "qemu-system-aarch64",
        machine: "virt",
        target: "aarch64-unknown-none",
        cpu: "cortex-a76",
        kernels: "neon-dotprod",
        code: region(0x4000_0000, 4 * MIB),
        ram: region(0x4040_0000, 256 * KIB),
        arena: region(0x4100_0000, 8 * MIB),
        model: region(0x4400_0000, 64 * MIB),
        counter: Counter::Cntvct,
        ticks_per_instruction: (4, 1),
    },
    Board {
        name: "qemu-m0",
        core: "Cortex-M0+",
        machine: "mps2-an385",
        target: "thumbv6m-none-eabi",
        cpu: "cortex-m0plus",
        kernels: "soft-float",
        ..QEMU_M4
    },
    // The FPU in use, but floats in integer registers between functions, as in many C projects (softfp).
    Board {
        name: "qemu-m4-softfp",
        core: "Cortex-M4, soft-float ABI",
        target: "thumbv7em-none-eabi",
        ..QEMU_M4
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_a_board_are_disjoint_and_aligned() {
        for board in &BOARDS {
            let regions = [board.code, board.ram, board.arena, board.model];
            for (index, a) in regions.iter().enumerate() {
                assert_eq!(a.start % 64, 0);
                for b in &regions[index + 1..] {
                    let apart = a.start + (a.bytes - 1) < b.start || b.start + (b.bytes - 1) < a.start;
                    assert!(apart, "{}: {a:x?} and {b:x?}", board.name);
                }
            }
        }
    }

    #[test]
    fn ticks_become_instructions() {
        assert_eq!(BOARDS[0].instructions(1_600_000), 1_000_000);
        assert_eq!(BOARDS[2].instructions(1_280_000), 1_000_000);
        assert_eq!(BOARDS[4].instructions(64), 1);
        assert_eq!(BOARDS[5].instructions(64), 16);
    }
}
