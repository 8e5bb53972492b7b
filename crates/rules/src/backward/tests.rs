use super::producers::{can_be, can_match};
use crate::{Pattern, Space, Template};

#[test]
fn a_template_can_be_any_text_between_its_literals() {
    for (template, text, expected) in [
        ("c:${event.id}:points", "c:1:points", true),
        ("c:${event.id}:points", "c::points", true),
        ("c:${event.id}:points", "c:1:2:points", true),
        ("c:${event.id}:points", "c:points", false),
        ("c:${event.id}:points", "c:1:point", false),
        ("${a}", "", true),
        ("${a}x${b}x${c}", "axbxc", true),
        ("${a}x${b}x${c}", "axbc", false),
        ("ab${a}ba", "aba", false),
        ("ab${a}ba", "abba", true),
        ("plain", "plain", true),
        ("plain", "plains", false),
    ] {
        assert_eq!(can_be(&Template::parse(template).literals(), text), expected, "{template} {text}");
    }
}

#[test]
fn a_template_can_match_a_pattern() {
    for (template, pattern, expected) in [
        ("c:${event.id}:points", "c:*:points", true),
        ("c:${event.id}:points", "c:*", true),
        ("c:${event.id}:points", "d:*", false),
        ("c:${event.id}:points", "*:tier", false),
        ("${a}", "**", true),
        ("c${a}", "c:**", true),
        ("c:1${a}", "c:1", true),
    ] {
        let parsed = Pattern::parse(pattern, Space::Key).expect("a pattern");
        assert_eq!(
            can_match(&Template::parse(template).literals(), &parsed),
            expected,
            "{template} {pattern}"
        );
    }
}
