//! Which row of the query embedding belongs to which tail.
use super::derive::RELEASED_TASKS;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::settings::{Said, Settings};
use crate::checkpoint::tensor::FloatTensor;
use std::collections::BTreeMap;
use std::path::Path;
use vitreous::models::ipt::{IptConfig, Task};

/// The query embedding, `(queries, tokens · dim)`.
const NAME: &str = "body.query_embed.weight";

/// Keeps a query for each task. The authors' code makes one head and tail for a fine-tuned task but keeps the
/// queries of all six tasks of the pre-training, and does not store which of them was used.
///
/// # Errors
/// More queries than tasks, where neither the caller nor the authors' list says which.
pub(super) fn choose(
    path: &Path,
    tensors: &mut BTreeMap<String, FloatTensor>,
    config: &IptConfig,
    given: Option<&[usize]>,
    settings: &mut Settings,
) -> Result<(), CheckpointError> {
    let Some(tensor) = tensors.get_mut(NAME) else { return Ok(()) };
    let [rows, width] = tensor.shape[..] else { return Ok(()) };
    let tasks = &config.tasks;
    let fail = |what: String, way_out: String| {
        Err(CheckpointError::Config { path: path.to_path_buf(), what, way_out })
    };
    let way_out =
        format!("pass --query with the row of each task's query, from 0 to {}", rows.saturating_sub(1));
    let said = match given {
        Some(given) if given.len() == tasks.len() && given.iter().all(|row| *row < rows) => {
            Said::by_option(given.to_vec())
        }
        Some(given) => {
            return fail(
                format!("--query {} for {} tasks and {rows} queries", list(given), tasks.len()),
                way_out,
            )
        }
        None if rows <= tasks.len() => return Ok(()),
        None => match places(tasks).filter(|_| rows == RELEASED_TASKS.len()) {
            Some(places) => Said::assumed(places, "the place of the task in the authors' list"),
            None => {
                return fail(
                    format!(
                        "{rows} queries for {} task{}",
                        tasks.len(),
                        if tasks.len() == 1 { "" } else { "s" }
                    ),
                    way_out,
                )
            }
        },
    };
    if tensor.data.len() != rows.saturating_mul(width) {
        return Ok(());
    }
    let kept = settings.decide("query", "--query", said, |rows| list(rows));
    tensor.data = kept.iter().flat_map(|row| tensor.data[row * width..(row + 1) * width].to_vec()).collect();
    tensor.shape = vec![kept.len(), width];
    Ok(())
}

fn list(rows: &[usize]) -> String {
    rows.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Each task's place among the tasks of the authors' pre-training.
fn places(tasks: &[Task]) -> Option<Vec<usize>> {
    tasks.iter().map(|task| RELEASED_TASKS.iter().position(|name| *name == task.to_string())).collect()
}
