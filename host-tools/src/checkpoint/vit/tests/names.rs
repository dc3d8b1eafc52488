//! Names that fine-tunings, releases and accidents give to tensors.
use super::*;
use vitreous::models::vit::Head;

fn renamed(
    tensors: &BTreeMap<String, FloatTensor>,
    rename: impl Fn(&str) -> String,
) -> BTreeMap<String, FloatTensor> {
    tensors.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect()
}

#[test]
fn classifiers_of_fine_tunings_are_the_head() {
    for head in ["head.1", "head.fc", "classifier.2", "fc", "heads.head"] {
        let tensors = renamed(&weights(), |name| name.replace("head.", &format!("{head}.")));
        assert_eq!(load(&tensors).unwrap().tensors, weights(), "{head}");
    }
    let mut two = renamed(&weights(), |name| name.replace("head.", "head.1."));
    two.insert("head.0.weight".into(), FloatTensor { shape: vec![12], data: vec![1.0; 12] });
    let refused = message(load(&two));
    assert!(
        refused.contains("`head.0.weight` [12]") && refused.contains("`head.1.weight` [5, 12]"),
        "{refused}"
    );
    let allowed = LoadOptions { heads: Some(3), allow_extra_tensors: true, ..LoadOptions::default() };
    assert!(message(load_with(&two, &allowed)).contains("--head none"));
    let features = LoadOptions { heads: Some(3), head: Some(HeadKind::None), ..LoadOptions::default() };
    assert_eq!(load_with(&two, &features).unwrap().config.head, Head::None);
}

#[test]
fn two_tensors_of_one_name_are_an_error_that_names_both() {
    let mut tensors = renamed(&weights(), |name| format!("backbone.{name}"));
    tensors.insert("norm.weight".into(), tensors["backbone.norm.weight"].clone());
    let collision = message(load(&tensors));
    assert!(
        collision.contains("`backbone.norm.weight`") && collision.contains("`norm.weight`"),
        "{collision}"
    );
    let mut packed = weights();
    packed.insert("blocks.0.attn.q_bias".into(), FloatTensor { shape: vec![12], data: vec![1.0; 12] });
    assert!(message(load(&packed)).contains("`blocks.0.attn.q_bias`"));
}

#[test]
fn a_feature_is_named_before_anything_is_missed() {
    let shown = |name: &str, shape: &[usize]| {
        let mut tensors = weights();
        tensors.remove("pos_embed");
        let data = vec![0.0; shape.iter().product()];
        tensors.insert(name.into(), FloatTensor { shape: shape.to_vec(), data });
        message(load(&tensors))
    };
    for (name, feature) in [
        ("reg_token", "register tokens"),
        ("rope.periods", "rotary positions"),
        ("norm_pre.weight", "a norm in front of the blocks"),
        ("blocks.0.mlp.w12.weight", "gated MLPs"),
        ("attn_pool.latent", "attention pooling"),
        ("blocks.0.attn.q_norm.weight", "norms of queries and keys"),
        ("blocks.0.attn.relative_position_bias_table", "relative positions"),
    ] {
        let message = shown(name, &[2, 3]);
        assert!(message.contains(feature) && message.contains(name), "{message}");
        assert!(!message.contains("missing") && !message.contains("--allow-extra"), "{message}");
    }
    let mut tensors = weights();
    tensors.remove("pos_embed");
    assert!(message(load(&tensors)).contains("no learned positions"));
    let swin = renamed(&weights(), |name| format!("layers.0.{name}").replace("patch_embed", "embed"));
    let mut swin = swin;
    swin.insert("layers.0.blocks.0.attn.relative_position_bias_table".into(), weights()["pos_embed"].clone());
    assert!(message(load(&swin)).contains("it looks like a Swin"));
}

#[test]
fn chunked_blocks_masks_and_decoders_of_self_supervised_trainings_are_understood() {
    let mut tensors = renamed(&weights(), |name| name.replace("blocks.", "blocks.0."));
    tensors.insert("mask_token".into(), weights()["cls_token"].clone());
    tensors.insert("decoder_embed.weight".into(), weights()["norm.weight"].clone());
    let model = load(&tensors).unwrap();
    assert_eq!(model.tensors, weights());
    assert!(model.warnings.iter().any(|warning| warning.contains("`decoder_embed.weight`")));
}

#[test]
fn dinov2_of_transformers_reads_class_token_and_mean() {
    let rename = |name: &str| {
        let name = match name {
            "cls_token" => "embeddings.cls_token".to_string(),
            "pos_embed" => "embeddings.position_embeddings".to_string(),
            name => name
                .replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
                .replace("blocks.", "encoder.layer.")
                .replace("attn.proj", "attention.output.dense"),
        };
        let name = if name.starts_with("norm.") { name.replace("norm.", "layernorm.") } else { name };
        format!("dinov2.{name}")
    };
    let mut tensors = BTreeMap::new();
    for (name, tensor) in weights() {
        if name.starts_with("head") {
            continue;
        }
        if !name.contains("attn.qkv") {
            tensors.insert(rename(&name), tensor);
            continue;
        }
        let third = tensor.data.len() / 3;
        for (index, part) in ["query", "key", "value"].iter().enumerate() {
            let mut shape = tensor.shape.clone();
            shape[0] /= 3;
            let data = tensor.data[index * third..(index + 1) * third].to_vec();
            let name = rename(&name).replace("attn.qkv", &format!("attention.attention.{part}"));
            tensors.insert(name, FloatTensor { shape, data });
        }
    }
    let weight: Vec<f32> = (0..5 * 24).map(|i| i as f32).collect();
    tensors.insert("classifier.weight".into(), FloatTensor { shape: vec![5, 24], data: weight.clone() });
    tensors.insert("classifier.bias".into(), FloatTensor { shape: vec![5], data: vec![1.5; 5] });
    let model = load(&tensors).unwrap();
    assert_eq!((model.config.head, model.config.pool), (Head::TokenAndMean, Pool::Mean));
    let row = |name: &str| model.tensor(name).data[..12].to_vec();
    let twice = |range: std::ops::Range<usize>| weight[range].iter().map(|w| 2.0 * w).collect::<Vec<_>>();
    assert_eq!((row("head_dist.weight"), row("head.weight")), (twice(0..12), twice(12..24)));
    assert_eq!((model.tensor("head.bias").data[0], model.tensor("head_dist.bias").data[0]), (3.0, 0.0));
    assert_eq!(model.tensor("blocks.1.attn.qkv.weight"), &weights()["blocks.1.attn.qkv.weight"]);
}
