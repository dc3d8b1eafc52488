//! Vision transformers on microcontrollers: int8 and f16 inference from flash, without an operating system or
//! an allocator.
//!
//! The crate runs two kinds of model: ViT and DeiT ([`models::vit`]), which classify images or give their
//! features, and the Image Processing Transformer ([`models::ipt`]), which removes noise and rain and
//! enlarges images. Three promises hold on every machine:
//!
//! * **The same bits.** The same model and the same image give the same output, to the bit, on a workstation
//!   and on a Cortex-M0+. What you measure on the desk is what the device does.
//! * **Memory to the byte.** A plan says how much memory a run needs before you flash anything. The crate
//!   allocates nothing, and has no statics that can change.
//! * **No panic.** A file is checked once, when it is loaded. Damaged and hostile bytes give an [`Error`]
//!   with the offset and the reason.
//!
//! # Classify an image
//! The host tool [`vitreous-tools`](https://docs.rs/vitreous-tools) makes one `.vtr` file of float weights,
//! and a Rust file that includes it:
//!
//! ```text
//! vitreous convert models/digits --for cortex-m4 --output src/digits.vtr --emit-rust src/digits.rs
//! ```
//!
//! Firmware then needs these lines. `digits` is the Rust file; this crate's examples have it, too.
//!
//! ```
//! # #[allow(dead_code)]
//! # mod digits { include!("../examples/digits/digits.rs"); }
//! # static IMAGES: &[u8] = include_bytes!("../examples/digits/images.raw");
//! use vitreous::models::vit::Vit;
//! use vitreous::{pipeline, Arena, Model, SliceSource};
//!
//! let model = Model::parse(digits::MODEL)?;
//! let vit = Vit::new(&model)?;
//! let mut arena = Arena::<{ digits::ARENA_BYTES }>::new();
//! // An image is (height, width, channels), 8 bits each: here a seven of 8×8 grey pixels.
//! let seven = &IMAGES[7 * 64..][..64];
//! let mut image = SliceSource::new(seven, digits::IMAGE_WIDTH * digits::IMAGE_CHANNELS);
//! let best = pipeline::classify::<3, _>(&vit, arena.bytes_mut(), &mut image)?;
//! assert_eq!(digits::LABELS[best[0].class], "7");
//! assert!(best[0].score > 0.95);
//! # Ok::<(), vitreous::Error>(())
//! ```
//!
//! The model is read in place, from flash or from a mapped file; it must lie at an address that is a multiple
//! of 16, which the Rust file sees to. An image doesn't need to be in RAM: whatever implements
//! [`PixelSource`] delivers it strip by strip, as a camera does.
//!
//! # Memory, before you flash
//! All activations live in one arena that you give: a [`static`](Arena) of the firmware, or a buffer. The
//! plan of a run says how large it is, and what lies in it. It is the same function on the host and on the
//! target; only the feature `parallel` makes a difference, without which there is one worker.
//!
//! ```
//! # #[allow(dead_code)]
//! # mod digits { include!("../examples/digits/digits.rs"); }
//! # use vitreous::models::vit::Vit;
//! use vitreous::kernels::spec::CORTEX_M_DSP;
//! # use vitreous::{Arena, Error, Model, SliceSource};
//! # let model = Model::parse(digits::MODEL)?;
//! # let vit = Vit::new(&model)?;
//!
//! // For the kernels that the file was written for.
//! assert_eq!(vit.plan().arena_bytes(), digits::ARENA_BYTES);
//! // For those of a Cortex-M4, with tiles of eight rows and one worker.
//! let plan = vit.plan_for(8, &CORTEX_M_DSP, 1)?;
//! assert_eq!(plan.arena_bytes(), 5504);
//! assert!(plan.regions().iter().any(|region| region.name == "keys"));
//!
//! // An arena that is too small is an error before anything is computed.
//! let mut small = Arena::<1024>::new();
//! assert!(matches!(vit.begin(small.bytes_mut()), Err(Error::ArenaTooSmall { found: 1024, .. })));
//! # Ok::<(), Error>(())
//! ```
//!
//! The stack comes on top; the host tool measures it on emulated boards (`vitreous bench --target qemu-m4`).
//!
//! # Step by step
//! A run can be left and resumed after every tile, so that a watchdog is fed, or an executor runs another
//! task in between. [`pipeline::classify`] is a loop over these steps.
//!
//! ```
//! # #[allow(dead_code)]
//! # mod digits { include!("../examples/digits/digits.rs"); }
//! # static IMAGES: &[u8] = include_bytes!("../examples/digits/images.raw");
//! # struct Watchdog(u32);
//! # impl Watchdog { fn feed(&mut self) { self.0 += 1; } }
//! # let mut watchdog = Watchdog(0);
//! # use vitreous::models::vit::Vit;
//! # use vitreous::{Arena, Model, SliceSource};
//! use vitreous::{pipeline, Progress};
//! # let model = Model::parse(digits::MODEL)?;
//! # let vit = Vit::new(&model)?;
//! # let mut arena = Arena::<{ digits::ARENA_BYTES }>::new();
//! # let mut image = SliceSource::new(&IMAGES[7 * 64..], 8);
//!
//! let mut run = vit.begin(arena.bytes_mut())?;
//! while run.step(&mut image)? != Progress::Done {
//!     watchdog.feed();
//! }
//! let best = pipeline::top_k::<1>(vit.config().output, run.logits()?);
//! # assert!(best[0].class == 7 && watchdog.0 > 10);
//! # Ok::<(), vitreous::Error>(())
//! ```
//!
//! [`Run::next_stage`](models::vit::Run::next_stage) names what the next step does. The example `watchdog`
//! adds up the time of each stage.
//!
//! # Restore an image
//! [`pipeline::Restore`] takes images of any size: it runs the model on overlapping windows, and needs memory
//! for a few rows beside the arena ([`pipeline::BandPlan`]), whatever the image's height. It steps, too.
//!
//! # Machines
//! A table of kernels ([`kernels`]) holds all that differs between machines. The build script picks it from
//! the target, from `-C target-cpu` and `-C target-feature`, and every table computes the bits of `portable`:
//!
//! | target | table | to name in the flags |
//! |---|---|---|
//! | `thumbv7em-none-eabihf` (Cortex-M4, M7) | `cortex-m-dsp` | `-C target-cpu=cortex-m7` where it is one |
//! | `thumbv8m.main-none-eabihf` (Cortex-M33, M35P) | `cortex-m-dsp` | nothing; see below |
//! | `thumbv8m.main-none-eabihf` (Cortex-M55, M85, M52) | `cortex-m-helium` | `-C target-cpu=cortex-m55` |
//! | `thumbv7em-none-eabi`, `thumbv8m.main-none-eabi` without FPU | `soft-float`: integers alone | |
//! | the same with the FPU in use (softfp) | as on `eabihf` | `-C target-cpu=cortex-m4`, or another core |
//! | `thumbv6m`, `thumbv7m`, `thumbv8m.base` | `soft-float` | |
//! | `riscv32im*` without F | `soft-float` | |
//! | `aarch64` | `neon`, `neon-dotprod` | `-C target-feature=+dotprod` |
//! | `x86_64` | `portable`; [`kernels::supported_kernels`] lists `avx2` and `avx512-vnni` | |
//! | all others | `portable` | |
//!
//! DSP instructions are optional on Armv8-M. Cores with an FPU have them, with hardly an exception. On one
//! that does not, the first of these instructions is a usage fault; `-C target-feature=-dsp` then gives
//! `portable`. `--cfg vitreous_kernels="portable"` among the flags forces this table; another name forces
//! another, which the core must be able to run, with its FPU switched on. A name that the target can't have
//! ends the build.
//!
//! Each table reads int8 weights in an order of its own, which `vitreous convert --for` writes for a core, a
//! chip or a target; `portable` reads every order. A file in another order is refused with [`Error::Layout`],
//! and the Rust file of `--emit-rust` refuses it when it is compiled ([`kernels::reads`]).
//!
//! # Features
//! Both are off by default.
//!
//! * `parallel`: the rows of a tile are shared between the workers of a [`ForkJoin`], such as the second core
//!   of a microcontroller or the threads of a host. On one core it would only take flash. No bit of the
//!   output depends on the number of workers.
//! * `defmt`: `defmt::Format` on every public type. It needs a defmt logger when the firmware is linked.
//!   Without text, [`Error::code`] is a stable number of each error.
//!
//! ```
//! # #[allow(dead_code)]
//! # mod digits { include!("../examples/digits/digits.rs"); }
//! # static IMAGES: &[u8] = include_bytes!("../examples/digits/images.raw");
//! # use vitreous::models::vit::Vit;
//! # use vitreous::{Model, SliceSource};
//! use vitreous::kernels::default_kernels;
//! use vitreous::{Arena, ForkJoin, RunOptions};
//!
//! /// Two threads of a host.
//! struct Two;
//!
//! impl ForkJoin for Two {
//!     fn workers(&self) -> usize {
//!         2
//!     }
//!
//!     fn join(&self, left: &mut (dyn FnMut() + Send), right: &mut (dyn FnMut() + Send)) {
//!         std::thread::scope(|scope| {
//!             scope.spawn(left);
//!             right();
//!         });
//!     }
//! }
//!
//! # let model = Model::parse(digits::MODEL)?;
//! # let vit = Vit::new(&model)?;
//! # let mut image = SliceSource::new(&IMAGES[7 * 64..], 8);
//! // Each worker may have scratch memory of its own: the plan for two says how much.
//! let bytes = vit.plan_for(8, default_kernels().spec, 2)?.arena_bytes();
//! # assert!(bytes <= 16384);
//! let mut arena = Arena::<16384>::new();
//! let mut run = vit.begin_with(arena.bytes_mut(), RunOptions { pool: &Two, ..RunOptions::default() })?;
//! run.finish(&mut image)?;
//! # assert_eq!(vitreous::pipeline::top_k::<1>(vit.config().output, run.logits()?)[0].class, 7);
//! # Ok::<(), vitreous::Error>(())
//! ```
//!
//! # Where to go on
//! * The examples `classify` and `watchdog` of this crate: `cargo run -p vitreous --example classify -- 7`.
//! * [The README](https://github.com/vitreous-rs/vitreous#readme): what is supported, and what was measured.
//! * [Numerics](https://github.com/vitreous-rs/vitreous/blob/main/docs/numerics.md): why the bits are the
//!   same.
//! * [Memory](https://github.com/vitreous-rs/vitreous/blob/main/docs/memory.md): the plan, and what a target
//!   needs.
//! * [The `.vtr` file](https://github.com/vitreous-rs/vitreous/blob/main/docs/format.md): what is in it, and
//!   what is checked.
//! * How to [port a board](https://github.com/vitreous-rs/vitreous/blob/main/docs/porting-a-board.md), to
//!   [add a kernel table](https://github.com/vitreous-rs/vitreous/blob/main/docs/adding-a-kernel-table.md),
//!   and to [add a model](https://github.com/vitreous-rs/vitreous/blob/main/docs/adding-a-model.md).
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
// No file can make the engine panic: what could is refused, and the kernels allow what they need.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]
#![warn(clippy::missing_errors_doc, clippy::missing_panics_doc)]

#[cfg(any(test, doctest))]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!("a .vtr file is read in place, which needs a little-endian machine");

mod arena;
mod blocks;
mod error;
mod fork;
pub mod format;
pub mod kernels;
pub mod math;
pub mod models;
mod ops;
pub mod pipeline;
mod profile;
pub mod quant;
mod run;
mod source;
pub mod tensor;
#[cfg(test)]
mod tests;

pub use arena::{Arena, Plan, Region, MAX_REGIONS};
pub use error::{Error, Fault};
pub use fork::{ForkJoin, Serial};
pub use format::Model;
pub use profile::{Progress, Stage};
pub use run::RunOptions;
pub use source::{PixelSink, PixelSource, SliceSink, SliceSource, SourceError};
