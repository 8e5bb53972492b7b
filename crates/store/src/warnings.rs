//! What the owner may want to log: operators that filters contain and that are ignored.

use crate::filter::Filter;

/// Differing warnings per minute; further ones are dropped, since clients choose what they say.
const WARNINGS_MAX: usize = 64;
/// Time after which a warning is given again, in ms.
const PERIOD_MS: u64 = 60_000;
/// Characters of a name in a warning.
const NAME_CHARS_MAX: usize = 64;

/// Warnings of the present minute.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    texts: Vec<String>,
    /// How many of them the owner has taken.
    taken: usize,
    since_ms: u64,
}

impl Warnings {
    /// Notes operators that a filter ignores.
    pub(crate) fn note(&mut self, now_ms: u64, bucket: &str, filter: &Filter) {
        for operator in filter.unknown_operators() {
            if now_ms.saturating_sub(self.since_ms) >= PERIOD_MS {
                self.since_ms = now_ms;
                self.texts.drain(..std::mem::take(&mut self.taken));
            }
            let (operator, bucket) = (shown(operator), shown(bucket));
            let text = format!("ignored unknown filter operator {operator} on bucket {bucket}");
            if self.texts.len() < WARNINGS_MAX && !self.texts.contains(&text) {
                self.texts.push(text);
            }
        }
    }

    /// Tells whether there is something that the owner has not taken.
    pub(crate) fn has_new(&self) -> bool {
        self.texts.len() > self.taken
    }

    /// Takes what is new.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let new = self.texts.get(self.taken..).unwrap_or_default().to_vec();
        self.taken = self.texts.len();
        new
    }
}

/// A name in quotes, on one line and of bounded length.
fn shown(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", name.get(..end).unwrap_or_default()),
        None => format!("{name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noex_json::{Object, Value};

    fn filter(operator: &str) -> Filter {
        let condition: Object = [(operator.into(), Value::Null)].into_iter().collect();
        let filter: Object = [("n".into(), condition.into())].into_iter().collect();
        Filter::compile(&filter, false).expect("unknown operators are ignored")
    }

    #[test]
    fn a_warning_comes_once_a_minute() {
        let mut warnings = Warnings::default();
        let count = |warnings: &mut Warnings, now_ms| {
            warnings.note(now_ms, "b", &filter("$x"));
            warnings.take().len()
        };
        let counts = [5, 6, 60_004, 60_005, 60_006].map(|now_ms| count(&mut warnings, now_ms));
        assert_eq!(counts, [1, 0, 1, 0, 0]);
    }

    #[test]
    fn there_are_few_of_them_whatever_clients_say() {
        let mut warnings = Warnings::default();
        for minute in 0..2 {
            for n in 0..1000 {
                warnings.note(minute * PERIOD_MS + PERIOD_MS, "b", &filter(&format!("$o{n}")));
            }
            let told: Vec<String> = (0..3).flat_map(|_| warnings.take()).collect();
            assert_eq!(told.len(), WARNINGS_MAX);
        }
        // Those that nobody takes stay.
        warnings.note(3 * PERIOD_MS, "b", &filter("$x"));
        warnings.note(4 * PERIOD_MS, "b", &filter("$y"));
        assert_eq!(warnings.take().len(), 2);
    }

    #[test]
    fn names_cannot_break_lines_nor_fill_the_log() {
        let mut warnings = Warnings::default();
        warnings.note(0, "b\n\u{1b}[31m", &filter(&format!("$x\n{}", "ä".repeat(1000))));
        let told = warnings.take().concat();
        let operator = format!("\"$x\\n{}\"…", "ä".repeat(NAME_CHARS_MAX - 3));
        assert_eq!(
            told,
            format!("ignored unknown filter operator {operator} on bucket \"b\\n\\u{{1b}}[31m\"")
        );
    }
}
