//! What a converted model is meant for: a chip, a core, a target triple or a kind of host, and through it the
//! kernel table whose order of int8 weights the file has.

use vitreous::kernels::spec::{TableSpec, AVX2, NEON, PORTABLE};
use vitreous::tensor::PanelLayout;

/// Kinds of kernels by name.
const KINDS: [(&str, &TableSpec); 3] = [("portable", &PORTABLE), ("x86-64", &AVX2), ("aarch64", &NEON)];

/// How firmware is built: the target triple and `-C target-cpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Build {
    target: &'static str,
    cpu: Option<&'static str>,
}

const fn build(target: &'static str) -> Build {
    Build { target, cpu: None }
}

const fn named(target: &'static str, cpu: &'static str) -> Build {
    Build { target, cpu: Some(cpu) }
}

const M0: Build = build("thumbv6m-none-eabi");
const M3: Build = build("thumbv7m-none-eabi");
const M4: Build = named("thumbv7em-none-eabihf", "cortex-m4");
/// A Cortex-M4 without FPU.
const M4_INTEGER: Build = build("thumbv7em-none-eabi");
const M7: Build = named("thumbv7em-none-eabihf", "cortex-m7");
const M23: Build = build("thumbv8m.base-none-eabi");
const M33: Build = named("thumbv8m.main-none-eabihf", "cortex-m33");
const M35P: Build = named("thumbv8m.main-none-eabihf", "cortex-m35p");
const M52: Build = named("thumbv8m.main-none-eabihf", "cortex-m52");
const M55: Build = named("thumbv8m.main-none-eabihf", "cortex-m55");
const M85: Build = named("thumbv8m.main-none-eabihf", "cortex-m85");
const RV32IMC: Build = build("riscv32imc-unknown-none-elf");
const RV32IMAC: Build = build("riscv32imac-unknown-none-elf");
const RV32IMAFC: Build = build("riscv32imafc-unknown-none-elf");
/// Xtensa, whose targets Rust's own compiler does not have.
const XTENSA: Build = build("xtensa-none-elf");

/// Cores, as their makers name them.
const CORES: [(&str, Build); 13] = [
    ("cortex-m0", M0),
    ("cortex-m0plus", M0),
    ("cortex-m1", M0),
    ("cortex-m3", M3),
    ("cortex-m4", M4),
    ("cortex-m7", M7),
    ("cortex-m23", M23),
    ("cortex-m33", M33),
    ("cortex-m35p", M35P),
    ("cortex-m52", M52),
    ("cortex-m55", M55),
    ("cortex-m85", M85),
    ("riscv32", RV32IMAC),
];

/// Chips, or families of chips, which end with `*`. Of several cores this is the one that has an FPU, or the
/// largest. Source: the makers' data sheets.
const CHIPS: [(&str, Build); 61] = [
    ("apollo3*", M4),
    ("apollo4*", M4),
    ("atsamd21*", M0),
    ("atsamd51*", M4),
    ("atsame5*", M4),
    ("atsame7*", M7),
    ("efr32mg24*", M33),
    ("esp32", XTENSA),
    ("esp32c2", RV32IMC),
    ("esp32c3", RV32IMC),
    ("esp32c5", RV32IMAC),
    ("esp32c6", RV32IMAC),
    ("esp32h2", RV32IMAC),
    ("esp32p4", RV32IMAFC),
    ("esp32s2", XTENSA),
    ("esp32s3", XTENSA),
    ("gd32vf103*", RV32IMAC),
    ("lpc55s6*", M33),
    ("max78000", M4),
    ("mimxrt10*", M7),
    ("mimxrt11*", M7),
    ("mimxrt5*", M33),
    ("mimxrt6*", M33),
    ("nrf51*", M0),
    ("nrf52805", M4_INTEGER),
    ("nrf52810", M4_INTEGER),
    ("nrf52811", M4_INTEGER),
    ("nrf52820", M4_INTEGER),
    ("nrf52832", M4),
    ("nrf52833", M4),
    ("nrf52840", M4),
    ("nrf5340", M33),
    ("nrf54l*", M33),
    ("nrf91*", M33),
    ("ra4m1*", M4),
    ("ra6m5*", M33),
    ("ra8*", M85),
    ("rp2040", M0),
    ("rp2350*", M33),
    ("stm32c0*", M0),
    ("stm32f0*", M0),
    ("stm32f1*", M3),
    ("stm32f2*", M3),
    ("stm32f3*", M4),
    ("stm32f4*", M4),
    ("stm32f7*", M7),
    ("stm32g0*", M0),
    ("stm32g4*", M4),
    ("stm32h5*", M33),
    ("stm32h7*", M7),
    ("stm32l0*", M0),
    ("stm32l1*", M3),
    ("stm32l4*", M4),
    ("stm32l5*", M33),
    ("stm32n6*", M55),
    ("stm32u0*", M0),
    ("stm32u3*", M33),
    ("stm32u5*", M33),
    ("stm32wb*", M4),
    ("stm32wba*", M33),
    ("stm32wl*", M4_INTEGER),
];

/// A machine that `convert --for` names.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    table: &'static TableSpec,
}

impl Machine {
    /// The machine of this name: a core (`cortex-m33`, `m33`), a chip (`stm32h743`), a target triple, or
    /// `portable`, `x86-64`, `aarch64`. Case does not count.
    ///
    /// # Errors
    /// Names that there are.
    pub fn parse(name: &str) -> Result<Self, String> {
        let name = name.to_lowercase();
        if let Some((_, table)) = KINDS.iter().find(|(kind, _)| *kind == name) {
            return Ok(Self { table });
        }
        if let Some(build) = core(&name).or_else(|| chip(&name)) {
            return Ok(Self::of_build(build.target, build.cpu));
        }
        if is_triple(&name) {
            return Ok(Self::of_build(&name, None));
        }
        Err(format!("no core, chip or target of this name is known; there are\n{}", names()))
    }

    fn of_build(target: &str, cpu: Option<&str>) -> Self {
        // A host picks its table when it runs; all but `portable` read one order.
        let is_x86 = target.starts_with("x86_64");
        Self { table: if is_x86 { &AVX2 } else { TableSpec::of_target(target, cpu, "") } }
    }

    /// The order of int8 weights that the machine's kernels read.
    pub fn layout(&self) -> PanelLayout {
        self.table.layout
    }
}

/// A core by its whole name, or without its maker's part: `m33`, `m0+`.
fn core(name: &str) -> Option<Build> {
    let name = name.replace('+', "plus");
    let short = name.strip_prefix("cortex-").unwrap_or(&name);
    let is_it = |core: &str| core == name || core.strip_prefix("cortex-") == Some(short);
    CORES.iter().find(|(core, _)| is_it(core)).map(|(_, build)| *build)
}

/// A chip, by the longest name of a family that its name begins with.
fn chip(name: &str) -> Option<Build> {
    let fits = |chip: &str| match chip.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => name == chip,
    };
    CHIPS.iter().filter(|(chip, _)| fits(chip)).max_by_key(|(chip, _)| chip.len()).map(|(_, build)| *build)
}

/// Whether a name looks like a target triple of an architecture that the engine knows.
fn is_triple(name: &str) -> bool {
    let architectures = ["thumbv", "riscv", "aarch64", "arm", "x86_64", "wasm", "xtensa"];
    name.split('-').count() >= 3 && architectures.iter().any(|start| name.starts_with(start))
}

/// All names, for people.
fn names() -> String {
    let list = |names: Vec<&str>| names.join(", ");
    format!(
        "cores: {}\nchips (* stands for the rest of a name): {}\ntarget triples, such as \
         thumbv7em-none-eabihf\nkinds of kernels: {}",
        list(CORES.iter().map(|(name, _)| *name).collect()),
        list(CHIPS.iter().map(|(name, _)| *name).collect()),
        list(KINDS.iter().map(|(name, _)| *name).collect())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> &'static str {
        Machine::parse(name).unwrap_or_else(|error| panic!("{name}: {error}")).table.name
    }

    #[test]
    fn all_cores_are_known_with_and_without_their_first_name() {
        for (core, _) in CORES {
            assert_eq!(table(core), table(core.trim_start_matches("cortex-")), "{core}");
        }
        for core in ["m0plus", "Cortex-M0+", "m3", "cortex-m23", "nrf52810", "thumbv7em-none-eabi"] {
            assert_eq!(table(core), "soft-float", "{core}");
        }
        for core in ["m4", "cortex-m7", "m33", "cortex-m35p", "thumbv8m.main-none-eabihf"] {
            assert_eq!(table(core), "cortex-m-dsp", "{core}");
        }
        for core in ["m52", "m55", "cortex-m85"] {
            assert_eq!(table(core), "cortex-m-helium", "{core}");
        }
    }

    #[test]
    fn chips_are_known_by_their_family() {
        for chip in ["rp2350", "RP2350A", "stm32h743", "stm32f407vg", "nrf52840", "nrf5340", "stm32wba52"] {
            assert_eq!(table(chip), "cortex-m-dsp", "{chip}");
        }
        for chip in ["rp2040", "esp32c3", "esp32c6", "stm32wle5", "stm32f103"] {
            assert_eq!(table(chip), "soft-float", "{chip}");
        }
        assert_eq!(table("stm32n657"), "cortex-m-helium");
        assert_eq!(table("esp32s3"), "portable");
    }

    #[test]
    fn hosts_and_triples_name_what_their_builds_have() {
        for host in ["x86-64", "x86_64-unknown-linux-gnu", "aarch64", "aarch64-apple-darwin"] {
            assert_eq!(Machine::parse(host).expect("a host").layout(), PanelLayout::VECTOR, "{host}");
        }
        for name in ["portable", "riscv32imafc-unknown-none-elf", "wasm32-unknown-unknown"] {
            assert_eq!(table(name), "portable", "{name}");
        }
        assert_eq!(table("riscv32imc-unknown-none-elf"), "soft-float");
    }

    #[test]
    fn unknown_names_are_refused_with_those_that_there_are() {
        for name in ["", "stm32", "cortex-m99", "esp32c", "m", "cortex-", "z80"] {
            let error = Machine::parse(name).expect_err(name);
            assert!(error.contains("cortex-m33") && error.contains("rp2350*"), "{error}");
        }
    }

    /// Of every table there is a machine, so that a message can name it.
    #[test]
    fn what_a_table_asks_for_is_a_machine() {
        for name in ["portable", "avx2", "neon", "cortex-m-dsp", "cortex-m-helium", "soft-float"] {
            let spec = TableSpec::find(name).expect("a table");
            assert_eq!(Machine::parse(spec.convert_for()).expect("a machine").layout(), spec.layout);
        }
    }
}
