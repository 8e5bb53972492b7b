//! Texts with references in them.

use super::{Reference, ResolveError, Scope};
use crate::{Part, Pattern, Space};
use noex_json::{CompactString, Value, text_form, write_value};

/// A compiled template: literal text and `${…}` references. A reference ends at the first `}`; `${}` is literal.
#[derive(Clone, Debug)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Literal(CompactString),
    Reference(Reference),
}

impl Template {
    /// Compiles a template. Every text is one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        // Where literal text began, and where to look for the next reference.
        let (mut from, mut at) = (0, 0);
        while let Some(start) = find(text, at, "${") {
            let Some(end) = find(text, start + 2, "}") else { break };
            if end == start + 2 {
                at = end;
                continue;
            }
            if from < start {
                pieces.push(Piece::Literal(text.get(from..start).unwrap_or_default().into()));
            }
            pieces.push(Piece::Reference(Reference::parse(text.get(start + 2..end).unwrap_or_default())));
            (from, at) = (end + 1, end + 1);
        }
        if from < text.len() {
            pieces.push(Piece::Literal(text.get(from..).unwrap_or_default().into()));
        }
        Self(pieces)
    }

    /// Gives the text with every reference replaced by the text form of its value.
    ///
    /// # Errors
    ///
    /// If a reference cannot be resolved, or the text becomes too long.
    pub fn expand(&self, scope: &dyn Scope) -> Result<String, ResolveError> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Reference(reference) => {
                    if let Some(value) = reference.resolve(scope)? {
                        push_text(&mut out, &value);
                    }
                }
            }
            if out.len() > EXPANDED_BYTES_MAX {
                return Err(ResolveError::TooLong);
            }
        }
        Ok(out)
    }

    /// Gives the pattern that the text makes: `*` of the template is a wildcard, whatever is interpolated is literal.
    ///
    /// # Errors
    ///
    /// As [`Template::expand`], or if the pattern has too many segments.
    pub fn expand_pattern(&self, space: Space, scope: &dyn Scope) -> Result<Pattern, ResolveError> {
        let mut texts = Vec::with_capacity(self.0.len());
        let mut length = 0;
        for piece in &self.0 {
            let mut text = String::new();
            if let Piece::Reference(reference) = piece
                && let Some(value) = reference.resolve(scope)?
            {
                push_text(&mut text, &value);
            }
            length += text.len();
            if length > EXPANDED_BYTES_MAX {
                return Err(ResolveError::TooLong);
            }
            texts.push(text);
        }
        let parts = self.0.iter().zip(&texts).map(|(piece, text)| match piece {
            Piece::Literal(text) => Part::Pattern(text),
            Piece::Reference(_) => Part::Literal(text),
        });
        Pattern::from_parts(parts, space).map_err(ResolveError::Pattern)
    }

    /// Gives the text, if there are no references.
    #[must_use]
    pub fn as_constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Gives the literal text before, between and after the references.
    pub(crate) fn literals(&self) -> Vec<&str> {
        let mut literals = vec![""];
        for piece in &self.0 {
            match piece {
                Piece::Reference(_) => literals.push(""),
                // Two literals never follow each other.
                Piece::Literal(text) => {
                    if let Some(last) = literals.last_mut() {
                        *last = text;
                    }
                }
            }
        }
        literals
    }

    /// Tells whether the literal text has a `*`.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Literal(text) if text.contains('*')))
    }

    /// Tells whether a segment is empty whatever is interpolated.
    pub(crate) fn has_empty_segment(&self, separator: char) -> bool {
        // A character that is no separator stands for each interpolated text.
        let sample: String = self
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.as_str(),
                Piece::Reference(_) => "x",
            })
            .collect();
        sample.split(separator).any(str::is_empty)
    }

    /// Gives the first unknown source of its references.
    pub(crate) fn unknown_source(&self) -> Option<&str> {
        self.0.iter().find_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Reference(reference) => reference.unknown_source(),
        })
    }
}

fn find(text: &str, from: usize, what: &str) -> Option<usize> {
    Some(from + text.get(from..)?.find(what)?)
}

/// Appends the text form that templates use: nothing for `null`, compact JSON for objects.
fn push_text(out: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                push_text(out, item);
            }
        }
        Value::Object(_) => write_value(out, value),
        Value::Bool(_) | Value::Number(_) => out.push_str(&text_form(Some(value))),
    }
}

/// Longest text of a template: longer keys, topics and log lines are no use, and a payload repeated many times would
/// take memory without bound.
pub(super) const EXPANDED_BYTES_MAX: usize = 1 << 20;
