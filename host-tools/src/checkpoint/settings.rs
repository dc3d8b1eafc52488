//! What the tensors do not say of a model, value by value, and where each value comes from.
//!
//! A value comes from an option, from a file, from a table of well-known architectures, or from the tensors'
//! names. What none of them says is assumed, and whatever is assumed is shown: as a warning with the option
//! that sets it, in the `.vtr`, by `inspect`, and in the verdict of `parity`, whose float reference assumes
//! the same and cannot tell that it is wrong.
use super::error::CheckpointError;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Who says a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// An option of the caller.
    Option,
    /// A file: the checkpoint itself, or one beside it.
    File,
    /// A well-known architecture that a file names, or the library whose tensor names the file has.
    Architecture,
    /// The names or shapes of the tensors.
    Tensors,
    /// Nobody.
    Assumed,
}

impl Origin {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Option, "option"),
        (Self::File, "file"),
        (Self::Architecture, "architecture"),
        (Self::Tensors, "tensors"),
        (Self::Assumed, "assumed"),
    ];

    /// One word.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(origin, _)| *origin == self).map_or("", |(_, name)| name)
    }
}

/// What it means that a setting is not said.
const UNSAID: [(&str, &str); 1] = [("channel-order", "rgb")];

/// A value that the tensors do not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// What it is of: `heads`, `mean`, …
    pub name: String,
    /// The value, as its option takes it.
    pub value: String,
    /// Who says it.
    pub origin: Origin,
    /// Where exactly, or why it is assumed.
    pub note: String,
    /// The command line's option that sets it.
    pub option: String,
}

/// A value with who says it.
#[derive(Clone, Debug)]
pub(super) struct Said<T> {
    pub value: T,
    origin: Origin,
    note: String,
}

impl<T> Said<T> {
    pub fn by_option(value: T) -> Self {
        Self { value, origin: Origin::Option, note: String::new() }
    }

    pub fn by_file(value: T, place: impl Into<String>) -> Self {
        Self { value, origin: Origin::File, note: place.into() }
    }

    pub fn by_architecture(value: T, name: impl Into<String>) -> Self {
        Self { value, origin: Origin::Architecture, note: name.into() }
    }

    pub fn by_tensors(value: T, which: impl Into<String>) -> Self {
        Self { value, origin: Origin::Tensors, note: which.into() }
    }

    pub fn assumed(value: T, why: impl Into<String>) -> Self {
        Self { value, origin: Origin::Assumed, note: why.into() }
    }

    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Said<U> {
        Said { value: f(self.value), origin: self.origin, note: self.note }
    }

    pub fn try_map<U, E>(self, f: impl FnOnce(T, &str) -> Result<U, E>) -> Result<Said<U>, E> {
        Ok(Said { value: f(self.value, &self.note)?, origin: self.origin, note: self.note })
    }

    pub fn is_assumed(&self) -> bool {
        self.origin == Origin::Assumed
    }

    pub fn is_by_option(&self) -> bool {
        self.origin == Origin::Option
    }

    pub fn is_by_file(&self) -> bool {
        self.origin == Origin::File
    }

    /// Where exactly it is said, or why it is assumed.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What is said, but not to be relied upon: it counts as assumed.
    pub fn doubted(self, why: &str) -> Self {
        Self { origin: Origin::Assumed, ..self }.noting(why)
    }

    /// Says more about where the value comes from.
    pub fn noting(mut self, more: &str) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(more);
        self
    }
}

/// Every setting of a model, in the order in which they were decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Settings(Vec<Setting>);

impl Settings {
    /// Records a value, and returns it.
    pub(super) fn decide<T>(
        &mut self,
        name: &str,
        option: &str,
        said: Said<T>,
        show: impl FnOnce(&T) -> String,
    ) -> T {
        let value = show(&said.value);
        self.0.retain(|setting| setting.name != name);
        self.0.push(Setting {
            name: name.into(),
            value,
            origin: said.origin,
            note: said.note,
            option: option.into(),
        });
        said.value
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }

    /// Those that nobody says.
    pub fn assumed(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter().filter(|setting| setting.origin == Origin::Assumed)
    }

    /// The assumed values in one line, such as `heads 3, activation gelu-erf`; `None` if there are none.
    pub fn assumed_in_words(&self) -> Option<String> {
        let words: Vec<_> = self.assumed().map(|s| format!("{} {}", s.name, s.value)).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// What a comparison of a model with these settings against a reference cannot judge: what one of both
    /// assumes and the other assumes too, or does not say.
    pub fn unjudged(&self, reference: &Self) -> Self {
        let is_said = |by: &Self, setting: &Setting| {
            by.find(&setting.name).is_some_and(|other| other.origin != Origin::Assumed)
        };
        let theirs = reference.assumed().filter(|setting| !is_said(self, setting));
        let ours = self.assumed().filter(|setting| reference.find(&setting.name).is_none());
        Self(theirs.chain(ours).cloned().collect())
    }

    fn find(&self, name: &str) -> Option<&Setting> {
        self.iter().find(|setting| setting.name == name)
    }

    /// The values in which these settings differ from a reference's, in words; `None` if they do not. `names`
    /// are the settings that must be the same, or all where there are none.
    pub fn differences(&self, reference: &Self, names: &[&str]) -> Option<String> {
        // What a side does not say is not compared, but for what has one meaning where it is not said.
        let unsaid =
            |name: &str| UNSAID.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value, "unsaid"));
        let said = |by: &'_ Self, name: &str| {
            let setting = by.find(name).map(|setting| (setting.value.clone(), setting.origin.name()));
            setting.or(unsaid(name).map(|(value, origin)| (value.to_owned(), origin)))
        };
        let mut all: Vec<&str> = self.iter().chain(reference.iter()).map(|s| s.name.as_str()).collect();
        all.retain(|name| names.is_empty() || names.contains(name));
        let mut differences = Vec::new();
        let first_of = |index: usize| !all[..index].contains(&all[index]);
        for name in (0..all.len()).filter(|index| first_of(*index)).map(|index| all[index]) {
            let (Some(ours), Some(theirs)) = (said(self, name), said(reference, name)) else { continue };
            // Models converted before settings were kept say nothing at all.
            if ours.0 != theirs.0 && !self.0.is_empty() && !reference.0.is_empty() {
                differences
                    .push(format!("{name} {} ({}) against {} ({})", ours.0, ours.1, theirs.0, theirs.1));
            }
        }
        (!differences.is_empty()).then(|| differences.join(", "))
    }

    /// A warning for each value that nobody says.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.assumed().map(|s| {
            let way_out =
                if s.option.is_empty() { String::new() } else { format!("; else pass {}", s.option) };
            format!("{} {} is assumed: {}{way_out}", s.name, s.value, s.note)
        })
    }

    /// The options that would say the assumed values, ready to be copied and corrected; `None` if there are
    /// fewer than two.
    pub fn options_of_assumed(&self) -> Option<String> {
        let assumed = self.assumed().filter(|s| !s.option.is_empty());
        let options: Vec<_> = assumed.map(|s| format!("{} {}", s.option, s.value)).collect();
        (options.len() > 1).then(|| options.join(" "))
    }

    /// Refuses a model of which anything is assumed.
    pub(super) fn refuse_assumed(&self, path: &Path) -> Result<(), CheckpointError> {
        let Some(assumed) = self.assumed_in_words() else { return Ok(()) };
        let options: Vec<_> = self.assumed().map(|s| s.option.as_str()).filter(|o| !o.is_empty()).collect();
        Err(CheckpointError::Assumed { path: path.to_path_buf(), assumed, options: options.join(", ") })
    }

    /// As the settings section of a `.vtr` has them (docs/format.md): a line each, its fields separated by
    /// tabs.
    pub fn to_text(&self) -> String {
        let field =
            |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let line = |s: &Setting| {
            let fields = [&s.name, &s.value, s.origin.name(), &s.note, &s.option].map(field);
            format!("{}\n", fields.join("\t"))
        };
        self.0.iter().map(line).collect()
    }

    /// Reads back what [`to_text`](Self::to_text) wrote. Lines of another form are left out: the text serves
    /// people alone.
    pub fn from_text(text: &str) -> Self {
        let setting = |line: &str| {
            let [name, value, origin, note, option] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
            let (origin, _) = *Origin::ALL.iter().find(|(_, known)| *known == origin)?;
            let [name, value, note, option] = [name, value, note, option].map(|part: &str| part.to_string());
            Some(Setting { name, value, origin, note, option })
        };
        Self(text.lines().filter_map(setting).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_way_through_a_file_and_no_field_leaves_its_place() {
        let mut settings = Settings::default();
        assert_eq!(settings.decide("heads", "--heads", Said::assumed(3, "usual for 192"), i32::to_string), 3);
        let hostile = Said::by_file("a\tb\nheads\t4\tfile\t\t".to_string(), "config\u{1b}.json");
        settings.decide("mean", "--mean", hostile, String::clone);
        let back = Settings::from_text(&settings.to_text());
        assert_eq!(back.iter().count(), 2);
        assert_eq!(back.iter().next(), settings.iter().next());
        assert!(back.iter().all(|s| !s.value.contains('\t') && !s.note.contains('\u{1b}')));
        assert_eq!(back.assumed_in_words().unwrap(), "heads 3");
        assert_eq!(back.warnings().next().unwrap(), "heads 3 is assumed: usual for 192; else pass --heads");
        assert_eq!(back.options_of_assumed(), None);
        let two = Settings::from_text("heads\t3\tassumed\t\t--heads\npool\ttoken\tassumed\t\t--pool\n");
        assert_eq!(two.options_of_assumed().unwrap(), "--heads 3 --pool token");
        assert!(Settings::from_text("one line\nheads\t3\tguess\t\t\n").iter().next().is_none());
    }

    #[test]
    fn the_last_decision_counts_and_strictness_refuses_what_is_assumed() {
        let mut settings = Settings::default();
        settings.decide("heads", "--heads", Said::assumed(3, ""), i32::to_string);
        let refused = settings.refuse_assumed(Path::new("x")).unwrap_err().to_string();
        assert!(refused.contains("heads 3") && refused.contains("--heads"), "{refused}");
        settings.decide("heads", "--heads", Said::by_option(12), i32::to_string);
        settings.refuse_assumed(Path::new("x")).unwrap();
        assert_eq!(settings.iter().count(), 1);
    }
}
