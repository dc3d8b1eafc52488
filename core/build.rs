//! Picks the kernel table that `default_kernels` has: `cfg(table = "…")`.
//!
//! Rust doesn't tell a crate on stable whether a Cortex-M has its DSP or Helium instructions. The target
//! triple, `-C target-cpu` and `-C target-feature` do. `--cfg vitreous_kernels="portable"` (or another
//! table's name) in the rustflags forces one.

#[path = "src/kernels/choice.rs"]
mod choice;

use std::env;

use choice::Processor;

/// Tables that are picked here; the others are picked at run time.
const TABLES: [&str; 5] = ["cortex-m-dsp", "cortex-m-helium", "neon", "neon-dotprod", "soft-float"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/kernels/choice.rs");
    println!("cargo:rustc-check-cfg=cfg(table, values(\"{}\"))", TABLES.join("\", \""));
    println!("cargo:rustc-check-cfg=cfg(dual_issue)");
    println!("cargo:rustc-check-cfg=cfg(armv8_fpu)");
    println!("cargo:rustc-check-cfg=cfg(armv8_m)");
    println!("cargo:rustc-check-cfg=cfg(armv6_m)");
    let target = env::var("TARGET").unwrap_or_default();
    let cpu = codegen_options("target-cpu=").pop();
    let table = match env::var("CARGO_CFG_VITREOUS_KERNELS") {
        Ok(name) => forced(&name, &target),
        Err(_) => {
            let features = features();
            Processor { target: &target, cpu: cpu.as_deref(), features: &features }.table()
        }
    };
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

/// The table that `--cfg vitreous_kernels` names; `None` stands for `portable`. A name that cannot be right
/// ends the build: cargo shows the warnings of a dependency to nobody.
fn forced(name: &str, target: &str) -> Option<&'static str> {
    // The former name of the table `soft-float`.
    let name = if name == "scalar" { "soft-float" } else { name };
    let table = TABLES.into_iter().find(|table| *table == name);
    if table.is_none() && name != "portable" {
        let names = TABLES.join(", ");
        println!("cargo::error=vitreous_kernels=\"{name}\" names no kernel table: portable, {names}");
    }
    if !choice::can_force(target, name) {
        println!("cargo::error=vitreous_kernels=\"{name}\": no processor of {target} has these instructions");
    }
    table
}

/// Features of the target, then those that the flags name, as `-C target-feature` takes them.
fn features() -> String {
    let known = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let known = known.split(',').filter(|feature| !feature.is_empty()).map(|feature| format!("+{feature}"));
    known.chain(codegen_options("target-feature=")).collect::<Vec<_>>().join(",")
}

/// Values of `-C name=value` among the flags, in their order; the compiler takes the last one of a core's
/// name.
fn codegen_options(name: &str) -> Vec<String> {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let flags = flags.replace("-C\u{1f}", "-C").replace("--codegen\u{1f}", "-C").replace("--codegen=", "-C");
    let options = flags.split('\u{1f}').filter_map(|flag| flag.strip_prefix("-C")?.strip_prefix(name));
    options.map(str::to_owned).collect()
}
