//! The kernel table that a build for a target has, by what the compiler is told. The engine's build script
//! and the converter (`TableSpec::of_target`) both ask this file. So a converted file fits the build.

/// Cores with FPU and DSP instructions. A compiler that is given the name uses the FPU on either float ABI.
const DSP_CORES: [&str; 4] = ["cortex-m4", "cortex-m7", "cortex-m33", "cortex-m35p"];
/// Cores with FPU, DSP instructions and Helium.
const HELIUM_CORES: [&str; 3] = ["cortex-m52", "cortex-m55", "cortex-m85"];
/// Cortex-M that never have an FPU.
const CORES_WITHOUT_FPU: [&str; 3] = ["thumbv6m-", "thumbv7m-", "thumbv8m.base-"];
/// Cortex-M that may have an FPU and DSP instructions.
const CORES_WITH_DSP: [&str; 2] = ["thumbv7em-", "thumbv8m.main-"];

/// What the compiler is told of the processor.
pub(crate) struct Processor<'a> {
    /// The target triple.
    pub target: &'a str,
    /// The core that `-C target-cpu` names.
    pub cpu: Option<&'a str>,
    /// Features as `-C target-feature` takes them: `+dsp,-neon`. Of two that disagree the last one counts.
    pub features: &'a str,
}

impl Processor<'_> {
    /// Name of the table; `None` stands for `portable`.
    pub fn table(&self) -> Option<&'static str> {
        if self.target.starts_with("aarch64-") {
            // A processor without floating point has neither.
            let has_neon = !self.target.ends_with("softfloat") && self.feature("neon") != Some(false);
            let has_dotprod = self.feature("dotprod") == Some(true);
            return has_neon.then_some(if has_dotprod { "neon-dotprod" } else { "neon" });
        }
        // The M extension of RISC-V has the products of 32 bits that the table for cores without FPU is made
        // of.
        if self.target.starts_with("riscv32i") {
            let extensions = self.target.split('-').next().unwrap_or_default().trim_start_matches("riscv32");
            let has = |letter| extensions.contains(letter);
            return (has('m') && !has('f')).then_some("soft-float");
        }
        if self.is_one_of(&CORES_WITHOUT_FPU) {
            return Some("soft-float");
        }
        self.is_one_of(&CORES_WITH_DSP).then(|| self.table_of_cortex_m()).flatten()
    }

    /// Of a Cortex-M that may have an FPU and DSP instructions.
    fn table_of_cortex_m(&self) -> Option<&'static str> {
        if !self.uses_fpu() {
            return Some("soft-float");
        }
        let is_helium_core = self.cpu.is_some_and(|cpu| HELIUM_CORES.contains(&cpu));
        if self.feature("mve.fp").unwrap_or(is_helium_core && self.feature("mve") != Some(false)) {
            return Some("cortex-m-helium");
        }
        // On Armv8-M these instructions are optional, but cores with FPU have them, with hardly an exception.
        // The wrong guess stops at the first such instruction with a usage fault; without this guess, all
        // other cores would be slow without a word.
        (self.feature("dsp") != Some(false)).then_some("cortex-m-dsp")
    }

    /// Whether the compiler makes instructions of the FPU, on a core that may have one.
    fn uses_fpu(&self) -> bool {
        if self.target.ends_with("-eabihf") {
            return true;
        }
        let has_named_core =
            self.cpu.is_some_and(|cpu| DSP_CORES.contains(&cpu) || HELIUM_CORES.contains(&cpu));
        let is_asked_for = self
            .features
            .split(',')
            .any(|feature| feature.starts_with("+vfp") || feature.starts_with("+fp-armv8"));
        let is_refused = self.feature("soft-float") == Some(true) || self.feature("fpregs") == Some(false);
        (has_named_core || is_asked_for) && !is_refused
    }

    /// Whether the features say that this one is there; `None` if they do not name it.
    fn feature(&self, name: &str) -> Option<bool> {
        let mut signs = self.features.split(',').filter_map(|feature| {
            feature.strip_suffix(name).filter(|sign| matches!(*sign, "+" | "-")).map(|sign| sign == "+")
        });
        signs.next_back()
    }

    fn is_one_of(&self, targets: &[&str]) -> bool {
        targets.iter().any(|target| self.target.starts_with(target))
    }
}

/// Whether a processor of this target can have the table at all, if a user forces it.
#[allow(dead_code, reason = "the build script asks")]
pub(crate) fn can_force(target: &str, table: &str) -> bool {
    match table {
        "cortex-m-dsp" => CORES_WITH_DSP.iter().any(|core| target.starts_with(core)),
        "cortex-m-helium" => target.starts_with("thumbv8m.main-"),
        "neon" | "neon-dotprod" => target.starts_with("aarch64-"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(target: &str, cpu: &str, features: &str) -> &'static str {
        let cpu = Some(cpu).filter(|cpu| !cpu.is_empty());
        Processor { target, cpu, features }.table().unwrap_or("portable")
    }

    #[test]
    fn the_hard_float_abi_has_the_dsp_table_without_a_named_core() {
        for target in ["thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf"] {
            for cpu in ["", "generic", "cortex-m33"] {
                assert_eq!(table(target, cpu, ""), "cortex-m-dsp");
                assert_eq!(table(target, cpu, "+dsp"), "cortex-m-dsp");
                assert_eq!(table(target, cpu, "-dsp"), "portable");
                assert_eq!(table(target, cpu, "-dsp,+dsp"), "cortex-m-dsp");
            }
        }
    }

    #[test]
    fn helium_is_named_by_core_or_by_feature() {
        let target = "thumbv8m.main-none-eabihf";
        for cpu in ["cortex-m52", "cortex-m55", "cortex-m85"] {
            assert_eq!(table(target, cpu, ""), "cortex-m-helium");
            assert_eq!(table(target, cpu, "-mve.fp"), "cortex-m-dsp");
            assert_eq!(table(target, cpu, "-mve"), "cortex-m-dsp");
        }
        assert_eq!(table(target, "", "+dsp,+mve.fp"), "cortex-m-helium");
    }

    #[test]
    fn the_soft_float_abi_has_the_table_without_floats_unless_the_fpu_is_used() {
        for target in ["thumbv7em-none-eabi", "thumbv8m.main-none-eabi"] {
            assert_eq!(table(target, "", ""), "soft-float");
            assert_eq!(table(target, "", "+dsp"), "soft-float");
            assert_eq!(table(target, "cortex-m4", ""), "cortex-m-dsp");
            assert_eq!(table(target, "cortex-m4", "+soft-float"), "soft-float");
            assert_eq!(table(target, "cortex-m33", "-fpregs"), "soft-float");
            assert_eq!(table(target, "", "+vfp4d16sp"), "cortex-m-dsp");
        }
        assert_eq!(table("thumbv8m.main-none-eabi", "cortex-m55", ""), "cortex-m-helium");
    }

    #[test]
    fn other_targets_have_what_all_their_cores_can_run() {
        for target in ["thumbv6m-none-eabi", "thumbv7m-none-eabi", "thumbv8m.base-none-eabi"] {
            assert_eq!(table(target, "", ""), "soft-float");
        }
        assert_eq!(table("riscv32imc-unknown-none-elf", "", ""), "soft-float");
        assert_eq!(table("riscv32imafc-unknown-none-elf", "", ""), "portable");
        assert_eq!(table("riscv32i-unknown-none-elf", "", ""), "portable");
        assert_eq!(table("aarch64-unknown-none", "", ""), "neon");
        assert_eq!(table("aarch64-unknown-none", "", "+neon,+dotprod"), "neon-dotprod");
        assert_eq!(table("aarch64-unknown-none-softfloat", "", ""), "portable");
        assert_eq!(table("x86_64-unknown-linux-gnu", "", ""), "portable");
        assert_eq!(table("wasm32-unknown-unknown", "", ""), "portable");
    }
}
