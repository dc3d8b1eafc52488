//! No line of Rust or Markdown is wider than a page of code.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use crate::shell::root;

/// Most characters of a line: `max_width` of rustfmt.toml, which leaves strings, comments and macros alone.
const COLUMNS: usize = 110;

/// Looks at every file of the checkout.
///
/// # Errors
/// Names each line that is too wide, and files that can't be read.
pub fn check() -> Result<()> {
    let root = root();
    let mut files = Vec::new();
    find(&root, &mut files)?;
    files.sort();
    let mut wide = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(&root).unwrap_or(file).display();
        wide.extend(wide_lines(&text).map(|(line, columns)| format!("{name}:{line}: {columns} columns")));
    }
    ensure!(wide.is_empty(), "lines of more than {COLUMNS} columns:\n{}", wide.join("\n"));
    Ok(())
}

/// Rust and Markdown below a folder, without what is built and what is hidden.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry.with_context(|| folder.display().to_string())?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_foreign = name == "target" || name.as_encoded_bytes().starts_with(b".");
        if entry.file_type()?.is_dir() {
            if !is_foreign {
                find(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            files.push(path);
        }
    }
    Ok(())
}

/// Numbers of the lines that are too wide, counted from 1, and how wide they are. Rows of tables and lines
/// with an address can't be broken.
fn wide_lines(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter_map(|(number, line)| {
        let columns = line.chars().count();
        (columns > COLUMNS && !is_row(line) && !line.contains("://")).then_some((number, columns))
    })
}

/// A row of a Markdown table, in a document or in a comment of the code.
fn is_row(line: &str) -> bool {
    line.trim_start().trim_start_matches(['/', '!']).trim_start().starts_with('|')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<(usize, usize)> {
        wide_lines(text).collect()
    }

    #[test]
    fn columns_are_characters() {
        let (line, wider) = ("→".repeat(COLUMNS), "é".repeat(COLUMNS + 1));
        assert_eq!(wide(&format!("{line}\n{wider}\n{line}\n")), [(2, COLUMNS + 1)]);
        assert_eq!(wide(&format!("{line}\r\n")), [], "a carriage return is no column");
    }

    #[test]
    fn tables_and_addresses_are_left_alone() {
        let long = "x".repeat(COLUMNS);
        assert_eq!(wide(&format!("| {long} |\n    //! | {long} |\n/// | {long}\nhttps://{long}")), []);
        assert_eq!(wide(&format!("a | {long}\n// {long}\n")).len(), 2);
    }
}
