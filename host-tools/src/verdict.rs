//! What a report concludes, in one line: whether its limits are met, and what it cannot judge.

use crate::checkpoint::Settings;
use serde::Serialize;

/// What a comparison of a model with its float weights cannot judge.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Unjudged {
    /// Values that nobody says and both sides assume: a wrong one does not show in the report.
    pub assumed: Settings,
    /// Whether the model was made from just these weights, by their files' SHA-256; `None` where a side has
    /// none.
    pub same_weights: Option<bool>,
}

impl Unjudged {
    /// Of a model against a reference: settings of both, and the SHA-256 of the files that the weights of
    /// both come from.
    pub fn new(model: (&Settings, [u8; 32]), reference: (&Settings, [u8; 32])) -> Self {
        let known = model.1 != [0; 32] && reference.1 != [0; 32];
        Self { assumed: model.0.unjudged(reference.0), same_weights: known.then_some(model.1 == reference.1) }
    }

    fn other_weights(&self) -> Option<&'static str> {
        (self.same_weights == Some(false))
            .then_some("the reference is another file than the one that the model was made from")
    }

    fn in_words(&self) -> Vec<String> {
        let assumed = self.assumed.assumed_in_words();
        let assumed =
            assumed.map(|values| format!("{values} are assumed by both sides: a wrong value would not show"));
        assumed.into_iter().chain(self.other_weights().map(str::to_owned)).collect()
    }

    /// Why a comparison without limits fails: then nothing but the source of the weights says that both are
    /// one network.
    pub fn without_limits(&self) -> Option<String> {
        let other = self.other_weights()?;
        Some(format!("{other}; a limit, such as --min-sqnr 20, compares them all the same"))
    }

    /// Why a strict comparison fails.
    pub fn strict_failures(&self) -> Vec<String> {
        let assumed = self.assumed.assumed_in_words();
        let assumed = assumed.map(|values| format!("nothing says {values}, and --strict assumes nothing"));
        assumed.into_iter().chain(self.other_weights().map(str::to_owned)).collect()
    }
}

/// The conclusion of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One line, which begins with PASS or FAIL where there is a limit.
    pub line: String,
    /// Class of the line on a page: `pass`, `caveat` or `fail`.
    pub class: &'static str,
}

impl Verdict {
    /// The verdict of a report with these failures. `limits` says which limits are met if there are none:
    /// nothing where the caller gave them, or the one that holds without being given. A report without any
    /// limit (`None`) passes no judgement, and says what it can't judge all the same.
    pub fn new(failures: &[String], limits: Option<&str>, unjudged: &Unjudged, more: &[String]) -> Self {
        let caveats: Vec<String> = unjudged.in_words().into_iter().chain(more.iter().cloned()).collect();
        let word = match (failures.is_empty(), limits) {
            (false, _) => "FAIL".to_owned(),
            (true, Some("")) => "PASS".to_owned(),
            (true, Some(limits)) => format!("PASS ({limits})"),
            (true, None) => String::new(),
        };
        let class = match (failures.is_empty(), caveats.is_empty()) {
            (false, _) => "fail",
            (true, true) if limits == Some("") => "pass",
            _ => "caveat",
        };
        let caveats = caveats.join("; ");
        let line = match (word.is_empty(), caveats.is_empty()) {
            (_, true) => word,
            (true, false) => format!("note: {caveats}"),
            (false, false) => format!("{word}, where {caveats}"),
        };
        Self { line, class }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assumed() -> Settings {
        Settings::from_text("heads\t3\tassumed\tusual\t--heads\n")
    }

    #[test]
    fn a_pass_is_plain_only_where_limits_were_given_and_nothing_is_left_unjudged() {
        let none = Unjudged::default();
        let verdict = |failures: &[String], limits, unjudged: &Unjudged, more: &[String]| {
            let verdict = Verdict::new(failures, limits, unjudged, more);
            (verdict.line, verdict.class)
        };
        assert_eq!(verdict(&[], Some(""), &none, &[]), ("PASS".into(), "pass"));
        assert_eq!(verdict(&[], None, &none, &[]), (String::new(), "caveat"));
        assert_eq!(verdict(&[], Some("no limit"), &none, &[]), ("PASS (no limit)".into(), "caveat"));
        assert_eq!(verdict(&["x".into()], Some(""), &none, &[]), ("FAIL".into(), "fail"));
        let unjudged = Unjudged { assumed: assumed(), same_weights: Some(false) };
        let (line, class) = verdict(&[], Some(""), &unjudged, &["values saturate".into()]);
        assert!(line.starts_with("PASS, where heads 3 are assumed") && line.ends_with("values saturate"));
        assert!(line.contains("another file") && class == "caveat", "{line}");
        assert!(verdict(&[], None, &unjudged, &[]).0.starts_with("note: heads 3"));
        assert_eq!(unjudged.strict_failures().len(), 2);
    }

    #[test]
    fn weights_are_compared_only_where_both_sides_say_whose_they_are() {
        let settings = Settings::default();
        let same = |a: u8, b: u8| Unjudged::new((&settings, [a; 32]), (&settings, [b; 32])).same_weights;
        assert_eq!([same(1, 1), same(1, 2), same(0, 2), same(1, 0)], [Some(true), Some(false), None, None]);
    }
}
