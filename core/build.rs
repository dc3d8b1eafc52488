//! Picks the kernel table that `default_kernels` has: `cfg(table = "…")`.
//!
//! Rust doesn't tell a crate on stable whether a Cortex-M has its DSP or Helium instructions. The target
//! triple and `-C target-cpu` do. `--cfg vitreous_kernels="portable"` (or another table's name) in the
//! rustflags forces one.

use std::env;

/// Tables that are picked here; the others are picked at run time.
const TABLES: [&str; 5] = ["cortex-m-dsp", "cortex-m-helium", "neon", "neon-dotprod", "soft-float"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(table, values(\"{}\"))", TABLES.join("\", \""));
    println!("cargo:rustc-check-cfg=cfg(dual_issue)");
    println!("cargo:rustc-check-cfg=cfg(armv8_fpu)");
    println!("cargo:rustc-check-cfg=cfg(armv8_m)");
    println!("cargo:rustc-check-cfg=cfg(armv6_m)");
    let target = env::var("TARGET").unwrap_or_default();
    let cpu = target_cpu();
    let mut forced = env::var("CARGO_CFG_VITREOUS_KERNELS").ok();
    // The former name of the table `soft-float`.
    if forced.as_deref() == Some("scalar") {
        forced = Some("soft-float".to_owned());
    }
    let table = match &forced {
        Some(name) => TABLES.into_iter().find(|table| table == name),
        None => native(&target, cpu.as_deref()),
    };
    if let Some(name) = forced.filter(|name| name != "portable" && table.is_none()) {
        // An error, since warnings of dependencies are not shown: portable kernels would be slow in silence.
        let tables = TABLES.join(", ");
        println!("cargo::error=there is no kernel table `{name}` to force: there are portable, {tables}");
    }
    if let Some(table) = table {
        println!("cargo:rustc-cfg=table=\"{table}\"");
    }
    // The Cortex-M7 issues two instructions at a time, but none beside a load of two registers.
    if cpu.as_deref() == Some("cortex-m7") {
        println!("cargo:rustc-cfg=dual_issue");
    }
    if target.starts_with("thumbv6m-")
        || target.starts_with("thumbv7m-")
        || target.starts_with("thumbv8m.base-")
    {
        println!("cargo:rustc-cfg=armv6_m");
    }
    let is_armv8 = target.starts_with("thumbv8m.main-");
    if is_armv8 {
        println!("cargo:rustc-cfg=armv8_m");
    }
    // The Cortex-M7's FPU and those of Armv8-M take the larger of two numbers in one instruction.
    if cpu.as_deref() == Some("cortex-m7") || is_armv8 {
        println!("cargo:rustc-cfg=armv8_fpu");
    }
}

/// The table that every core of the target can run.
fn native(target: &str, cpu: Option<&str>) -> Option<&'static str> {
    if target.starts_with("aarch64-") {
        let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
        let has = |feature| features.split(',').any(|there| there == feature);
        // A processor without floating point has neither.
        return has("neon").then_some(if has("dotprod") { "neon-dotprod" } else { "neon" });
    }
    // The M extension of RISC-V has the products of 32 bits that the table for cores without FPU is made of.
    if target.starts_with("riscv32i") {
        let extensions = target.split('-').next().unwrap_or_default().trim_start_matches("riscv32");
        let has = |letter| extensions.contains(letter);
        return (has('m') && !has('f')).then_some("soft-float");
    }
    // Cores that never have an FPU.
    if ["thumbv6m-", "thumbv7m-", "thumbv8m.base-"].iter().any(|core| target.starts_with(core)) {
        return Some("soft-float");
    }
    // On the softer of two ABIs there need not be one; `soft-float` can be forced.
    if !target.ends_with("-eabihf") {
        return None;
    }
    if target.starts_with("thumbv7em-") {
        return Some("cortex-m-dsp");
    }
    // Optional on Armv8-M: only the core's name tells.
    match cpu {
        Some("cortex-m33" | "cortex-m35p") if target.starts_with("thumbv8m.main-") => Some("cortex-m-dsp"),
        Some("cortex-m55" | "cortex-m85" | "cortex-m52") if target.starts_with("thumbv8m.main-") => {
            Some("cortex-m-helium")
        }
        _ => None,
    }
}

/// The core that `-C target-cpu` names; the last one counts, as for the compiler.
fn target_cpu() -> Option<String> {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let flags = flags.replace("-C\u{1f}", "-C");
    flags.split('\u{1f}').filter_map(|flag| flag.strip_prefix("-Ctarget-cpu=")).next_back().map(str::to_owned)
}
