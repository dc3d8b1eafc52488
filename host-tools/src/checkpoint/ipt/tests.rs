use super::*;
use crate::synthetic;
use vitreous::models::ipt::TaskKind;

fn config() -> IptConfig {
    IptConfig {
        window: 6,
        patch: 3,
        heads: 12,
        hidden: 20,
        head_hidden: 24,
        encoder_layers: 2,
        ..synthetic::small_ipt(&["x2", "x3", "x4", "denoise30", "denoise50", "derain"])
    }
}

fn weights(config: &IptConfig) -> BTreeMap<String, FloatTensor> {
    let mut indices = 0..;
    synthetic::filled(tensor_shapes(config), |_, shape| {
        let index = indices.next().unwrap_or(0);
        (0..shape.iter().product()).map(|i: usize| ((i + index) % 17) as f32 / 8.0 - 1.0).collect()
    })
}

fn load_with(
    tensors: &BTreeMap<String, FloatTensor>,
    options: &IptLoadOptions,
) -> Result<FloatIpt, CheckpointError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ipt.safetensors");
    archive::write(&path, tensors).unwrap();
    FloatIpt::load(&path, options)
}

fn load(tensors: &BTreeMap<String, FloatTensor>) -> Result<FloatIpt, CheckpointError> {
    load_with(tensors, &IptLoadOptions::default())
}

fn message<T: std::fmt::Debug>(result: Result<T, CheckpointError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_configuration_is_read_from_the_shapes() {
    let model = load(&weights(&config())).unwrap();
    assert_eq!((&model.config, &model.tensors), (&config(), &weights(&config())));
    assert_eq!(model.name, "ipt");
    let warnings: Vec<String> = model.settings.warnings().collect();
    assert!(warnings[0].starts_with("heads 12 is assumed: as in the authors' release"), "{warnings:?}");
    assert!(warnings.iter().any(|w| w.contains("x2,x3,x4,denoise30,denoise50,derain")), "{warnings:?}");
    let strict =
        message(load_with(&weights(&config()), &IptLoadOptions { strict: true, ..Default::default() }));
    assert!(strict.contains("pass --heads, --tasks, --norm-eps"), "{strict}");
}

#[test]
fn queries_of_a_pre_training_are_told_apart_for_a_fine_tuned_task() {
    let mut one = config();
    one.tasks = heapless::Vec::from_slice(&[parse_task("x3").unwrap()]).unwrap();
    let with_queries = |rows: usize| {
        let mut tensors = weights(&one);
        let query = tensors.get_mut("body.query_embed.weight").unwrap();
        let width = query.data.len();
        query.data = (0..rows * width).map(|i| (i / width) as f32).collect();
        query.shape = vec![rows, width];
        tensors
    };
    let first = |model: FloatIpt| model.tensor("body.query_embed.weight").data[0];
    // Six rows are those of the authors' pre-training, in which x3 is the second task.
    let assumed = load(&with_queries(6)).unwrap();
    assert!(
        assumed.settings.warnings().any(|w| w.starts_with("query 1 is assumed")),
        "{:?}",
        assumed.settings
    );
    assert_eq!(first(assumed), 1.0);
    let unknown = message(load(&with_queries(5)));
    assert!(unknown.contains("5 queries for 1 task") && unknown.contains("--query"), "{unknown}");
    let given = |rows, query: usize| {
        let queries = Some(vec![query]);
        load_with(&with_queries(rows), &IptLoadOptions { queries, ..IptLoadOptions::default() })
    };
    assert_eq!(first(given(5, 4).unwrap()), 4.0);
    assert!(message(given(5, 5)).contains("from 0 to 4"));
}

#[test]
fn tasks_that_the_scales_do_not_tell_are_asked_for() {
    let mut one = config();
    one.tasks = heapless::Vec::from_slice(&[parse_task("derain").unwrap()]).unwrap();
    let tensors = weights(&one);
    let unknown = message(load(&tensors));
    assert!(unknown.contains("scales of the tails: 1") && unknown.contains("pass --tasks"), "{unknown}");
    let with = |name: &str| {
        let tasks = Some(vec![parse_task(name).unwrap()]);
        load_with(&tensors, &IptLoadOptions { tasks, ..IptLoadOptions::default() })
    };
    assert_eq!(with("derain").unwrap().config, one);
    assert!(message(with("x4")).contains("--tasks x4 does not fit the file's tails, whose scales are 1"));
    one.tasks = heapless::Vec::from_slice(&[parse_task("x4").unwrap()]).unwrap();
    assert_eq!(load(&weights(&one)).unwrap().config, one);
}

#[test]
fn a_saved_model_reads_back_equal() {
    let mut config = config();
    (config.heads, config.norm_eps) = (6, 1e-6);
    config.tasks[3].strength = 70;
    config.tasks[5] = Task { kind: TaskKind::Jpeg, scale: 1, strength: 40 };
    let model = FloatIpt::new("restorer".into(), config.clone(), weights(&config)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path()).unwrap();
    let again = FloatIpt::load(dir.path(), &IptLoadOptions::default()).unwrap();
    assert_eq!((again.name, again.config, again.tensors), (model.name, model.config, model.tensors));
    assert!(again.warnings.is_empty(), "{:?}", again.warnings);
    assert!(again.settings.assumed().next().is_none(), "{:?}", again.settings);
    let json = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    assert!(json.contains("\"vitreous_ipt\"") && json.contains("\"denoise70\""), "{json}");
    std::fs::write(dir.path().join("config.json"), json.replace("\"hidden\": 20", "\"hidden\": 21")).unwrap();
    let wrong = message(FloatIpt::load(dir.path(), &IptLoadOptions::default()));
    assert!(wrong.contains("has shape") && wrong.contains("config.json"), "{wrong}");
    std::fs::write(dir.path().join("config.json"), json.replace("denoise70", "blur")).unwrap();
    assert!(message(FloatIpt::load(dir.path(), &IptLoadOptions::default())).contains("unknown task `blur`"));
}

#[test]
fn one_task_keeps_its_head_query_and_tail() {
    let model = load(&weights(&config())).unwrap();
    let task = parse_task("x4").unwrap();
    let one = model.keep_task(&task).unwrap();
    assert_eq!(one.config.tasks.as_slice(), [task]);
    assert_eq!(one.tensor("head.0.1.body.2.weight"), model.tensor("head.2.1.body.2.weight"));
    assert_eq!(one.tensor("tail.0.0.2.bias"), model.tensor("tail.2.0.2.bias"));
    let width = config().tokens() * config().dim();
    let queries = &model.tensor("body.query_embed.weight").data;
    assert_eq!(one.tensor("body.query_embed.weight").data, queries[2 * width..3 * width]);
    let absent = message(model.keep_task(&parse_task("denoise10").unwrap()));
    assert!(absent.contains("no task denoise10") && absent.contains("denoise30, denoise50"), "{absent}");
}

#[test]
fn wrappers_and_constant_layers_of_the_release_are_understood() {
    let mut tensors = weights(&config());
    let mean = |sign: f32| FloatTensor { shape: vec![3], data: RGB_MEAN.map(|m| sign * 255.0 * m).to_vec() };
    let identity =
        FloatTensor { shape: vec![3, 3, 1, 1], data: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0] };
    for (layer, sign) in [("sub_mean", -1.0), ("add_mean", 1.0)] {
        tensors.insert(format!("{layer}.weight"), identity.clone());
        tensors.insert(format!("{layer}.bias"), mean(sign));
    }
    let wrapped = |tensors: &BTreeMap<String, FloatTensor>| {
        tensors.iter().map(|(name, tensor)| (format!("module.model.{name}"), tensor.clone())).collect()
    };
    assert_eq!(load(&wrapped(&tensors)).unwrap().tensors, weights(&config()));
    tensors.get_mut("add_mean.bias").unwrap().data[2] = 0.4;
    let other = message(load(&wrapped(&tensors)));
    assert!(other.contains("`add_mean.bias`") && other.contains("DIV2K"), "{other}");
}

#[test]
fn every_fault_of_a_tensor_is_named() {
    let broken = |change: &dyn Fn(&mut BTreeMap<String, FloatTensor>)| {
        let mut tensors = weights(&config());
        change(&mut tensors);
        message(load(&tensors))
    };
    let missing = broken(&|t| drop(t.remove("body.decoder.layers.0.norm3.bias")));
    assert!(
        missing.contains("`body.decoder.layers.0.norm3.bias` is missing, expected with shape [36]"),
        "{missing}"
    );
    let misshapen = broken(&|t| t.get_mut("head.1.0.bias").unwrap().shape = vec![2, 2]);
    assert!(misshapen.contains("`head.1.0.bias` has shape [2, 2], expected [4]"), "{misshapen}");
    let nan = broken(&|t| t.get_mut("tail.5.1.weight").unwrap().data[3] = f32::INFINITY);
    assert!(nan.contains("`tail.5.1.weight` holds inf at element 3"), "{nan}");
    let surplus = broken(&|t| drop(t.insert("body.encoder.norm.weight".into(), t["head.0.0.bias"].clone())));
    assert!(surplus.contains("`body.encoder.norm.weight`") && surplus.contains("plain IPT"), "{surplus}");
    let queries = broken(&|t| {
        let queries = t.get_mut("body.query_embed.weight").unwrap();
        queries.data.truncate(144);
        queries.shape = vec![1, 144];
    });
    assert!(queries.contains("`body.query_embed.weight` has shape [1, 144], expected [6, 144]"), "{queries}");
    let other = broken(&|t| drop(t.remove("body.linear_encoding.weight")));
    assert!(other.contains("unknown architecture") && other.contains("IPT"), "{other}");
    let heads = load_with(&weights(&config()), &IptLoadOptions { heads: Some(5), ..Default::default() });
    assert!(message(heads).contains("the token width 36 is no multiple of 5 heads"));
}

#[test]
fn contradictions_of_the_configuration_are_named() {
    let fault = |change: &dyn Fn(&mut IptConfig)| {
        let mut config = config();
        change(&mut config);
        message(FloatIpt::new("x".into(), config, BTreeMap::new()))
    };
    assert!(fault(&|c| c.window = 7).contains("no whole number of 3×3 patches"));
    assert!(fault(&|c| c.hidden = 0).contains("hidden is 0"));
    assert!(fault(&|c| c.window = 1 << 40).contains("window is"));
    assert!(fault(&|c| c.tasks.clear()).contains("no tasks"));
    assert!(fault(&|c| c.tasks[4] = c.tasks[3]).contains("denoise30 is there twice"));
    assert!(fault(&|c| c.tasks[0].scale = 5).contains("task 0 cannot be"));
    assert!(fault(&|c| c.norm_eps = f32::NAN).contains("epsilon"));
}
