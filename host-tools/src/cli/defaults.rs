//! Defaults of trainings in their help texts. They are chosen by data and model, so that clap does not know
//! them.

use clap::{Arg, Command};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::train::restoration::ipt::IptRecipe;
use crate::train::restoration::{dncnn, Training};
use crate::train::Recipe;

/// Fields of recipes that are options of another name.
const OPTIONS: [(&str, &str); 3] =
    [("warmup_epochs", "warmup"), ("smoothing", "label_smoothing"), ("mean_pool", "pool")];

/// The command line with defaults in the help of every training.
pub fn shown(command: Command) -> Command {
    command.mut_subcommand("train", |train| {
        let vit = Recipe::examples().map(|(name, recipe)| (name, fields(&recipe)));
        let ipt = [("", [fields(&Training::default()), fields(&IptRecipe::default())].concat())];
        let dncnn = [("", fields(&dncnn::training()))];
        train
            .mut_subcommand("vit", |vit_command| {
                with_defaults(vit_command, &vit).after_help(
                    "Defaults by data are those of IDX files of 28 pixels and of photographs of 32. \
                     Larger images get larger patches; the first line of a run says which.",
                )
            })
            .mut_subcommand("ipt", |ipt_command| with_defaults(ipt_command, &ipt))
            .mut_subcommand("dncnn", |dncnn_command| with_defaults(dncnn_command, &dncnn))
    })
}

type Fields = Vec<(String, String)>;

/// Options and their values, of a recipe or settings.
fn fields(values: &impl Serialize) -> Fields {
    // Through text, which has f32 numbers as they were written.
    let text = serde_json::to_string(values).unwrap_or_default();
    let object: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    object.iter().flat_map(|(name, value)| field(name, value)).collect()
}

fn field(name: &str, value: &Value) -> Fields {
    let option = OPTIONS.iter().find(|(field, _)| *field == name).map_or(name, |(_, option)| option);
    let text = match value {
        Value::Object(inner) => return inner.iter().flat_map(|(name, value)| field(name, value)).collect(),
        Value::Null => return vec![],
        Value::Bool(mean) if name == "mean_pool" => if *mean { "mean" } else { "token" }.into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    vec![(option.to_owned(), text)]
}

/// Adds to the help of each option its default, or that of each kind of data where they differ.
fn with_defaults(command: Command, kinds: &[(&str, Fields)]) -> Command {
    command.mut_args(|arg| {
        let id = arg.get_id().to_string();
        let values: Vec<(&str, &str)> = kinds
            .iter()
            .filter_map(|(kind, fields)| {
                let (_, value) = fields.iter().find(|(option, _)| *option == id)?;
                Some((*kind, value.as_str()))
            })
            .collect();
        match values.first() {
            Some((_, first)) if !says_default(&arg) => {
                let differ = values.iter().any(|(_, value)| value != first);
                let one = |(kind, value): &(&str, &str)| format!("{kind} {value}");
                let all = values.iter().map(one).collect::<Vec<_>>().join(", ");
                let shown = if differ { all } else { (*first).to_owned() };
                let help = arg.get_help().cloned().unwrap_or_default();
                arg.help(format!("{help} [default: {shown}]"))
            }
            _ => arg,
        }
    })
}

/// Whether the help says a default already.
fn says_default(arg: &Arg) -> bool {
    let said = arg.get_help().is_some_and(|help| help.to_string().contains("default"));
    said || !arg.get_default_values().is_empty() || !arg.get_action().takes_values()
}
