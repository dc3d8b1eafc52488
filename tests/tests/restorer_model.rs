//! The trained restorer of models/restorer: its memory and, on photographs, the loss of int8 against its
//! float weights and the cost of its seams.

use anyhow::Result;
use vitreous::models::ipt::TaskKind;
use vitreous::pipeline::BandPlan;
use vitreous_tests::{repository, shared_data};
use vitreous_tools::checkpoint::ipt::FloatIpt;
use vitreous_tools::degrade::{images_below, Picture};
use vitreous_tools::evaluate::{evaluate, find_pairs, EvalOptions};
use vitreous_tools::quantize::{quantize, QuantizeOptions};
use vitreous_tools::restorer::{FloatRestorer, RestoreModel, Restorer};
use vitreous_tools::vtr::AlignedBytes;

/// The most flash that the restorer may take.
const FLASH_BYTES: usize = 700 << 10;
/// The most arena that a task may take. The stack's share of the 256 KiB is measured on the target
/// (tests/targets.rs).
const ARENA_BYTES: usize = 240 << 10;

fn shipped() -> Result<(FloatIpt, Restorer)> {
    let float = FloatIpt::load(&repository("models/restorer"), &Default::default())?;
    let bytes = quantize(&float, &QuantizeOptions::default())?;
    let restorer = Restorer::from_bytes(AlignedBytes::copy_of(&bytes), "restorer.vtr".as_ref())?;
    Ok((float, restorer))
}

#[test]
fn it_fits_a_microcontroller() -> Result<()> {
    let (float, restorer) = shipped()?;
    println!("{} parameters, {} bytes of flash", parameters(&float), restorer.file().bytes().len());
    assert!(restorer.file().bytes().len() <= FLASH_BYTES);
    for (index, task) in float.config.tasks.iter().enumerate() {
        let arena = restorer.memory(index, 320)?.arena;
        let band = BandPlan::new(float.config.window, task.scale, 320)?.bytes();
        println!("{task}: arena {arena} bytes, row bands of an image 320 pixels wide {band} bytes");
        assert!(arena <= ARENA_BYTES, "{task}");
    }
    for task in ["denoise10", "denoise30", "denoise50", "denoise70", "x2"] {
        assert!(float.config.tasks.iter().any(|t| t.to_string() == task), "{task} is missing");
    }
    Ok(())
}

fn parameters(float: &FloatIpt) -> usize {
    float.tensors.values().map(|tensor| tensor.data.len()).sum()
}

/// The middles of some photographs of CBSD68, since the float reference takes long on whole ones.
#[test]
fn int8_and_seams_cost_next_to_nothing_on_photographs() -> Result<()> {
    let Some(photographs) = shared_data("cbsd68", "the restorer's int8 against float on CBSD68") else {
        return Ok(());
    };
    let (float, restorer) = shipped()?;
    let folder = tempfile::tempdir()?;
    for path in images_below(&photographs)?.iter().step_by(17) {
        let picture = Picture::load(path)?.value;
        let side = 128;
        let (left, top) = ((picture.width - side) as isize / 2, (picture.height - side) as isize / 2);
        let name = path.file_name().unwrap_or_default();
        picture.crop(left, top, side, side).save_png(&folder.path().join(name))?;
    }
    let pairs = find_pairs(folder.path(), None, None)?;
    let tasks: Vec<_> = float.config.tasks.iter().copied().collect();
    let options = EvalOptions {
        tasks: &tasks,
        seed: 0,
        overlap: None,
        max_psnr_drop: None,
        save: None,
        pictures: false,
        seams: true,
    };
    let reference = RestoreModel::Float(Box::new(FloatRestorer::new(&float)?));
    let model = RestoreModel::Engine(Box::new(restorer));
    let report = evaluate(&model, Some(&reference), &pairs, &options, &|_, _, _| {})?;
    for (task, report) in tasks.iter().zip(&report.tasks) {
        let (mean, drop) = (&report.mean, -report.psnr_difference_db.unwrap_or(f64::NAN));
        let input = mean.degraded.psnr_rgb;
        println!("{task}: input {input:.2} dB, int8 {:.2} dB, {drop:.4} dB lost", mean.model.psnr_rgb);
        let most = if task.kind == TaskKind::Denoise && task.strength >= 30 { 0.02 } else { 0.05 };
        assert!(drop <= most, "{task}: int8 loses {drop:.3} dB");
        assert!(mean.model.psnr_rgb > input, "{task}: nothing is gained");
        // Half of the crop is too small for shifted windows. With so few pixels the figure is uncertain by
        // about 0.1 dB; without overlap it would be 0.4.
        if let Some(seams) = report.seams.as_ref().and_then(|seams| seams.mean) {
            println!("{task}: seams {seams:?}");
            assert!(seams.cost_db < 0.15, "{task}: seams cost {:.3} dB", seams.cost_db);
        }
    }
    Ok(())
}
