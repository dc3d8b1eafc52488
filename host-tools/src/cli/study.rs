use anyhow::Result;

use crate::study::StudyCommand;

pub fn execute(command: &StudyCommand, json: bool) -> Result<()> {
    super::print(json, &command.run()?, ToString::to_string)
}
