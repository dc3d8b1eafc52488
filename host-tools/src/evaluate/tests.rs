use super::*;
use crate::checkpoint::ipt::{parse_task, tensor_shapes, FloatIpt, IptLoadOptions};
use crate::quantize::{quantize, QuantizeOptions};
use crate::synthetic;
use rand::{Rng, SeedableRng};

fn task(name: &str) -> Task {
    parse_task(name).unwrap()
}

/// A model that changes its input little, as a trained one does.
fn model(seed: u64) -> FloatIpt {
    let config = synthetic::small_ipt(&["denoise50", "x2", "x3"]);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let tensors = synthetic::filled(tensor_shapes(&config), |name, shape| {
        let fan_in = shape.iter().skip(1).product::<usize>().max(1) as f32;
        let spread = if name.contains("norm") { 1.0 } else { fan_in.sqrt().recip() };
        (0..shape.iter().product()).map(|_| spread * rng.random_range(-1.0f32..1.0)).collect()
    });
    FloatIpt::new("small".into(), config, tensors).unwrap()
}

fn photographs(folder: &Path, sizes: &[(usize, usize)]) {
    for (index, &(width, height)) in sizes.iter().enumerate() {
        let data = (0..width * height * 3).map(|i| (i * (7 + index) / 3 % 251) as u8).collect();
        Picture { width, height, data }.save_png(&folder.join(format!("{index}.png"))).unwrap();
    }
}

fn options(tasks: &[Task]) -> EvalOptions<'_> {
    EvalOptions {
        tasks,
        seed: 1,
        overlap: None,
        max_psnr_drop: None,
        save: None,
        pictures: false,
        seams: false,
    }
}

#[test]
fn reference_and_engine_are_scored_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, sheets) = (dir.path().join("photos"), dir.path().join("sheets"));
    std::fs::create_dir(&photos).unwrap();
    photographs(&photos, &[(21, 13), (30, 9), (12, 40)]);
    let float = model(1);
    float.save(&dir.path().join("float")).unwrap();
    let vtr = dir.path().join("model.vtr");
    std::fs::write(&vtr, quantize(&float, &QuantizeOptions::default()).unwrap()).unwrap();
    let load = |path: &Path| RestoreModel::load(path, &IptLoadOptions::default(), |_| {}).unwrap();
    let (engine, reference) = (load(&vtr), load(&dir.path().join("float")));
    let pairs = find_pairs(&photos, None, None).unwrap();
    let tasks = [task("denoise50"), task("x2")];
    let options =
        EvalOptions { save: Some(&sheets), pictures: true, max_psnr_drop: Some(10.0), ..options(&tasks) };
    let report = evaluate(&engine, Some(&reference), &pairs, &options, &|_, _, _| {}).unwrap();
    assert_eq!((report.kind, report.tasks.len(), report.failures.len()), ("int8", 2, 0));
    let [denoise, enlarge] = &report.tasks[..] else { panic!() };
    assert_eq!((denoise.by_luma, denoise.shave, enlarge.by_luma, enlarge.shave), (false, 0, true, 2));
    // Noise of σ = 50 is at 14.15 dB; clipping makes it less.
    assert!((14.0..18.0).contains(&denoise.mean.degraded.psnr_rgb), "{:?}", denoise.mean);
    assert_eq!((enlarge.images[0].width, enlarge.images[0].height), (20, 12));
    for task in &report.tasks {
        assert!(task.psnr_difference_db.unwrap().abs() < 1.0, "{:?}", task.psnr_difference_db);
        assert!(task.mean.model.psnr_rgb.is_finite() && task.pictures.len() == 3);
        let sheet = Picture::load(&sheets.join(&task.task).join("0.png")).unwrap().value;
        assert_eq!((sheet.width, sheet.height), (4 * task.images[0].width + 12, task.images[0].height + 14));
    }
    let (text, page) = (render(&report), render_html(&report));
    assert!(text.contains("2 pixels shaved") && text.contains("PASS"), "{text}");
    assert_eq!(page.matches("data:image/jpeg;base64,").count(), 6);
    // A selection degrades the same images in the same way.
    let pairs = find_pairs(&photos, None, Some(2)).unwrap();
    let options = EvalOptions { max_psnr_drop: Some(-10.0), ..self::options(&tasks) };
    let again = evaluate(&engine, Some(&reference), &pairs, &options, &|_, _, _| {}).unwrap();
    assert_eq!(again.tasks[0].images[0].scores.model, denoise.images[0].scores.model);
    assert_eq!(again.failures.len(), 2, "{:?}", again.failures);
    let other = evaluate(&engine, None, &pairs, &self::options(&[task("denoise30")]), &|_, _, _| {});
    assert!(other.unwrap_err().to_string().contains("no task denoise30; it has denoise50, x2, x3"));
}

#[test]
fn seams_are_measured_where_shifted_windows_have_room() {
    let dir = tempfile::tempdir().unwrap();
    photographs(dir.path(), &[(21, 13), (41, 30)]);
    let float = model(1);
    let model = RestoreModel::Float(Box::new(crate::restorer::FloatRestorer::new(&float).unwrap()));
    let pairs = find_pairs(dir.path(), None, None).unwrap();
    let tasks = [task("denoise50")];
    let options = EvalOptions { seams: true, overlap: Some(0), ..options(&tasks) };
    let report = evaluate(&model, None, &pairs, &options, &|_, _, _| {}).unwrap();
    let [denoise] = &report.tasks[..] else { panic!() };
    // 13 rows are less than two windows of 8 and half a step.
    assert!(denoise.images[0].seams.is_none() && denoise.images[1].seams.is_some());
    let seams = denoise.seams.as_ref().unwrap();
    assert_eq!((seams.overlap, seams.images, seams.mean), (0, 1, denoise.images[1].seams));
    let cost = seams.mean.unwrap().cost_db;
    assert!(cost != 0.0 && cost.abs() < 3.0 && seams.worst_cost_db == Some(cost), "{seams:?}");
    let (text, page) = (render(&report), render_html(&report));
    assert!(text.contains("Seams of windows that overlap by 0 pixels, on 1 images"), "{text}");
    assert!(page.contains("on 1 images") && page.contains("<th>steps across seams"), "{page}");
    let json = serde_json::to_value(&report).unwrap();
    assert!(json.pointer("/tasks/0/seams/near_db").unwrap().is_f64());
    // Images that are all too small: said, and no figure.
    let report = evaluate(&model, None, &pairs[..1], &options, &|_, _, _| {}).unwrap();
    assert!(report.tasks[0].seams.as_ref().unwrap().mean.is_none());
    assert!(
        render(&report).contains("no seams measured") && render_html(&report).contains("no seams measured")
    );
    assert!(serde_json::to_value(&report).unwrap().pointer("/tasks/0/seams/near_db").is_none());
}

#[test]
fn degraded_images_are_paired_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (clean, small) = (dir.path().join("clean"), dir.path().join("small"));
    std::fs::create_dir(&clean).unwrap();
    std::fs::create_dir(&small).unwrap();
    photographs(&clean, &[(21, 13), (30, 9)]);
    photographs(&small, &[(10, 6), (10, 3)]);
    let pairs = find_pairs(&clean, Some(&small), None).unwrap();
    let (degraded, cut) = pairs[0].load(&task("x2"), 0, false).unwrap();
    assert_eq!((degraded.width, cut.width, cut.height), (10, 20, 12));
    assert!(pairs[1].load(&task("x3"), 0, false).is_ok());
    let wrong = pairs[1].load(&task("x2"), 0, false).unwrap_err().to_string();
    assert!(wrong.contains("10×3 pixels, of which x2 makes 20×6") && wrong.contains("30×9"), "{wrong}");
    std::fs::remove_file(small.join("1.png")).unwrap();
    let missing = find_pairs(&clean, Some(&small), None).unwrap_err().to_string();
    assert!(missing.contains("1.png: no image of that name below"), "{missing}");
}

#[test]
fn images_of_one_pixel_and_huge_ones() {
    let float = model(2);
    let model = RestoreModel::Float(Box::new(crate::restorer::FloatRestorer::new(&float).unwrap()));
    let one = Picture { width: 1, height: 1, data: vec![200, 100, 50] };
    let restored = model.restore_all(&task("x3"), std::slice::from_ref(&one), None, &|_, _| {}).unwrap();
    assert_eq!((restored[0].width, restored[0].height), (3, 3));
    let huge = Picture::black(1 << 13, 1 << 12);
    let error = model.restore_all(&task("x2"), &[one, huge], None, &|_, _| {}).unwrap_err().to_string();
    assert!(error.contains("8192×4096") && error.contains("the limit is"), "{error}");
}
