//! Steps of runs, added up by stage and layer.

use std::time::Duration;

use vitreous::Stage;

use crate::inspect::of_all_heads;

/// Time of each stage of each layer of a run, heads and tiles added up.
pub(super) type Profile = Vec<(Stage, Duration)>;

/// Name of a stage, and its layer.
pub(super) fn name(stage: Stage) -> (&'static str, Option<u16>) {
    match stage {
        Stage::Embed => ("embed", None),
        Stage::Norm { layer } => ("norm", Some(layer)),
        Stage::KeysValues { layer, .. } => ("project", Some(layer)),
        Stage::Attention { layer, .. } => ("attention", Some(layer)),
        Stage::Mlp { layer } => ("mlp", Some(layer)),
        Stage::Head => ("head", None),
        Stage::Conv { part } => ("conv", Some(part)),
        Stage::Encode => ("encode", None),
        Stage::Memory => ("memory", None),
        Stage::CrossNorm { layer } => ("cross norm", Some(layer)),
        Stage::CrossKeysValues { layer, .. } => ("cross project", Some(layer)),
        Stage::CrossAttention { layer, .. } => ("cross attention", Some(layer)),
        Stage::Decode => ("decode", None),
        Stage::Tail => ("tail", None),
    }
}

/// Sorts stages as a run meets them. `encoder_layers` are those of a restorer; its decoder's layers follow.
pub(super) fn order(stage: Stage, encoder_layers: u16) -> (u8, u16, u8) {
    match stage {
        Stage::Conv { part } => (0, part, 0),
        Stage::Embed | Stage::Encode => (1, 0, 0),
        Stage::Memory => (2, encoder_layers, 0),
        Stage::Norm { layer } => (2, layer, 1),
        Stage::KeysValues { layer, .. } => (2, layer, 2),
        Stage::Attention { layer, .. } => (2, layer, 3),
        Stage::CrossNorm { layer } => (2, layer, 4),
        Stage::CrossKeysValues { layer, .. } => (2, layer, 5),
        Stage::CrossAttention { layer, .. } => (2, layer, 6),
        Stage::Mlp { layer } => (2, layer, 7),
        Stage::Head | Stage::Decode => (3, 0, 0),
        Stage::Tail => (4, 0, 0),
    }
}

/// Adds up the steps of a run, in the order of each stage's first.
pub(super) fn by_layer(steps: &[(Stage, Duration)]) -> Profile {
    let mut sums: Profile = Vec::new();
    for &(stage, time) in steps {
        let stage = of_all_heads(stage);
        // Heads go back and forth between two stages.
        match sums.iter_mut().rev().take(2).find(|(known, _)| *known == stage) {
            Some((_, sum)) => *sum += time,
            None => sums.push((stage, time)),
        }
    }
    sums
}

/// Median of each stage in milliseconds; the same stages are in every profile.
pub(super) fn medians(profiles: &[Profile]) -> Vec<(Stage, f64)> {
    let Some(first) = profiles.first() else { return Vec::new() };
    let median_of = |(index, &(stage, _)): (usize, &(Stage, Duration))| {
        let times = profiles.iter().filter_map(|profile| profile.get(index));
        (stage, median(&mut times.map(|(_, time)| milliseconds(*time)).collect::<Vec<_>>()))
    };
    first.iter().enumerate().map(median_of).collect()
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_all_heads_and_tiles_of_a_layer_add_up() {
        let ms = Duration::from_millis;
        let layer = |layer| Stage::Norm { layer };
        let project = |head| Stage::KeysValues { layer: 1, head };
        let cross = |head| Stage::CrossAttention { layer: 1, head };
        let steps = [
            (layer(0), ms(1)),
            (layer(1), ms(2)),
            (project(0), ms(3)),
            (cross(0), ms(7)),
            (project(1), ms(4)),
            (project(1), ms(5)),
            (cross(1), ms(8)),
        ];
        let sums = by_layer(&steps);
        let want = [(layer(0), ms(1)), (layer(1), ms(2)), (project(0), ms(12)), (cross(0), ms(15))];
        assert_eq!(sums, want);
    }

    #[test]
    fn each_stage_has_its_own_median() {
        let ms = Duration::from_millis;
        let profiles = [1, 9, 2].map(|time| vec![(Stage::Embed, ms(time)), (Stage::Head, ms(10 * time))]);
        assert_eq!(medians(&profiles), [(Stage::Embed, 2.0), (Stage::Head, 20.0)]);
        assert!(medians(&[]).is_empty());
    }
}
