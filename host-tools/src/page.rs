//! What all HTML pages share: one file without scripts or outside resources. The template engine escapes all
//! that is put into a page.

use maud::{html, Markup, PreEscaped, Render, DOCTYPE};

use crate::text::printable;
use crate::verdict::Verdict;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 \
                     1rem;color:#222}h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.1rem;\
                     margin-top:2rem}.wide{overflow-x:auto}table{border-collapse:collapse;\
                     font-variant-numeric:tabular-nums}td,th{padding:.2rem .8rem;border-bottom:1px solid \
                     #ddd;text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left;\
                     white-space:normal;overflow-wrap:anywhere}td.chart{text-align:left}.bar{background:#\
                     3b7a9e;height:.8rem;display:inline-block}.pass{color:#176b2c}.fail{color:#a11}.\
                     caveat{color:#8a5a00}img{max-width:100%}figure{margin:1rem \
                     0}figcaption{overflow-wrap:anywhere}";

/// A name from a file: shown so that nothing in it acts.
pub struct Name<'a>(pub &'a str);

impl Render for Name<'_> {
    fn render_to(&self, buffer: &mut String) {
        printable(self.0).render_to(buffer);
    }
}

/// A whole page.
pub fn page(title: &str, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (Name(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (Name(title)) }
                (body)
            }
        }
    };
    page.into_string()
}

/// What a report concludes, and each failure.
pub fn verdict(verdict: &Verdict, failures: &[String]) -> Markup {
    html! {
        @if !verdict.line.is_empty() { p class=(verdict.class) { (Name(&verdict.line)) } }
        @for failure in failures { p.fail { (Name(failure)) } }
    }
}

/// A table: its first column names the row, the others are figures.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr { @for cell in header { th { (cell) } } } }
                tbody {
                    @for row in rows { tr { @for cell in &row { td { (Name(cell)) } } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_text_wherever_it_stands() {
        let name = "<script>\"' onload=x &\u{202e}\n";
        let body = html! {
            (verdict(&Verdict { line: "FAIL".into(), class: "fail" }, &[name.into()]))
            (table(&["x"], [vec![name.into()]]))
            img alt=(Name(name));
        };
        let page = page(name, body);
        let shown = "&lt;script&gt;&quot;' onload=x &amp;\\u{202e}\\n";
        assert_eq!(page.matches(shown).count(), 5, "{page}");
        assert!(!page.contains("<script>") && !page.contains('\u{202e}'));
        assert!(page.contains(&format!("alt=\"{shown}\"")));
    }
}
