//! The `vitreous_ipt` object of a config.json: a restorer's complete configuration, as this tool saves it.
use super::shapes::parse_task;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vitreous::models::ipt::{IptConfig, Task, MAX_TASKS};

/// Everything about a model that its tensors do not say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SavedConfig(#[serde(with = "IptConfigDef")] pub IptConfig);

#[derive(Serialize, Deserialize)]
#[serde(remote = "IptConfig", deny_unknown_fields)]
struct IptConfigDef {
    features: usize,
    window: usize,
    patch: usize,
    heads: usize,
    hidden: usize,
    head_hidden: usize,
    encoder_layers: usize,
    decoder_layers: usize,
    #[serde(serialize_with = "write_tasks", deserialize_with = "read_tasks")]
    tasks: heapless::Vec<Task, MAX_TASKS>,
    norm_eps: f32,
}

fn write_tasks<S: Serializer>(tasks: &[Task], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tasks.iter().map(Task::to_string))
}

fn read_tasks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<heapless::Vec<Task, MAX_TASKS>, D::Error> {
    let mut tasks = heapless::Vec::new();
    for name in Vec::<String>::deserialize(deserializer)? {
        let task = parse_task(&name).map_err(serde::de::Error::custom)?;
        let too_many = |_| serde::de::Error::custom(format!("more than {MAX_TASKS} tasks"));
        tasks.push(task).map_err(too_many)?;
    }
    Ok(tasks)
}
