//! The engine's examples carry a small model, so that they run from the published crate. It is the shipped
//! one, converted by the command that its README gives.

mod common;

use std::fs;
use std::path::Path;

use common::succeed;
use vitreous::kernels::spec::{TableSpec, NEON, NEON_DOTPROD, PORTABLE};
use vitreous::models::vit::{Vit, DEFAULT_TILE_ROWS};
use vitreous::Model;
use vitreous_tools::train::data::digits_test;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn shipped(file: &str) -> Vec<u8> {
    fs::read(Path::new(REPOSITORY).join("core/examples/digits").join(file)).expect("a file of the examples")
}

#[test]
fn the_examples_model_is_the_shipped_one_converted() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = Path::new(REPOSITORY).join("models/digits").display().to_string();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (model, rust) = (path("digits.vtr"), path("digits.rs"));
    succeed(&["convert", &models, "--for", "x86-64", "--output", &model, "--emit-rust", &rust]);
    for file in ["digits.vtr", "digits.rs"] {
        let made = fs::read(path(file)).expect("an output");
        assert!(made == shipped(file), "convert writes another core/examples/digits/{file}");
    }
}

#[test]
fn the_examples_images_are_held_out_digits() {
    let test = digits_test();
    let first = |digit| test.iter().find(|(_, class)| *class == digit).expect("every digit").0.clone();
    assert!((0..10).flat_map(first).collect::<Vec<u8>>() == shipped("images.raw"));
}

#[test]
fn the_examples_arena_suffices_for_the_kernels_of_every_host() {
    let bytes = shipped("digits.vtr");
    let model = Model::parse(&bytes).expect("a model");
    let vit = Vit::new(&model).expect("a ViT");
    let stated = vit.plan().arena_bytes();
    for spec in [&PORTABLE, &NEON, &NEON_DOTPROD] as [&TableSpec; 3] {
        let needed = vit.plan_for(DEFAULT_TILE_ROWS, spec, 1).expect("a plan").arena_bytes();
        assert!(needed <= stated, "{} needs {needed} bytes of arena, {stated} are stated", spec.name);
    }
}
