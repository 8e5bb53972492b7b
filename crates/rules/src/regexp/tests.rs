use super::*;

fn matches(source: &str, text: &str) -> bool {
    Regexp::parse(source).expect(source).is_match(text)
}

#[test]
fn expressions_are_searched_as_ecmascript_does() {
    for (source, text, expected) in [
        ("^a", "abc", true),
        ("b", "abc", true),
        ("c$", "abc\n", false),
        ("^(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", false),
        ("^(a+)+$", "aaa", true),
        ("(?i)^urgent", "URGENT: call back", true),
        ("ABC", "abc", false),
        (r"^\d+$", "٣", false),
        (r"^\w+$", "é", false),
        (r"^\s$", "\u{FEFF}", true),
        (r"^\s$", "\u{85}", false),
        (r"^\s$", "\u{3000}", true),
        (r"^\S$", "\u{85}", true),
        (r"^[^\s]$", "\t", false),
        (r"^[\s\d-]+$", "1 -2", true),
        (r"\bcat\b", "a cat sat", true),
        (r"\bcat\b", "écaté", true),
        (r"^a.c$", "a\rc", false),
        (r"^a.c$", "a\u{2028}c", false),
        (r"(?s)^a.c$", "a\nc", true),
        (r"^a\/b$", "a/b", true),
        (r"^\-\_\a\e$", "-_ae", true),
        (r"^a{$", "a{", true),
        (r"^a{,2}$", "a{,2}", true),
        (r"^a{2}$", "aa", true),
        (r"^a{1,}b{1,2}$", "aabb", true),
        (r"^]}$", "]}", true),
        (r"^[[]$", "[", true),
        (r"^[a&&b]+$", "a&", true),
        (r"^[a-c-]+$", "b-", true),
        (r"^[-a]+$", "-a", true),
        (r"^[\w-]+$", "a-b", true),
        (r"^[\b]$", "\u{8}", true),
        (r"^[^]$", "\n", true),
        (r"^\x41\u0042\cJ\0$", "AB\n\0", true),
        (r"^\x4$", "x4", true),
        (r"^\p{L}+$", "čaj", true),
        (r"^(?:a|b)(?<n>c)$", "bc", true),
        (r"^[~#-]+$", "~#-", true),
        (r"^a*?b+?c??(?:d)*$", "aabbcdd", true),
        (r"^[\p{L}-]+$", "č-", true),
    ] {
        assert_eq!(matches(source, text), expected, "{source} {text:?}");
    }
    assert!(!matches(r"[]", "a"));
}

#[test]
fn what_does_not_compile() {
    for source in [
        "(", ")", "*a", "a**", "a+*", "a{2}{3}", "^*", "(?:*)", "a|*", r"\b+", "a???", "[z-a]", "[a", "\\",
        r"(a)\1", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)b", "a{2,1}",
    ] {
        assert!(Regexp::parse(source).is_none(), "{source}");
    }
    assert!(Regexp::parse(&"a".repeat(SOURCE_BYTES_MAX + 1)).is_none());
    assert!(Regexp::parse("((a{1000}){1000}){1000}").is_none());
}

proptest::proptest! {
    #[test]
    fn nothing_panics(source in "[a-z\\\\(){}\\[\\]^$.*+?|,0-9:=!<>-]{0,24}", text in "\\PC{0,12}") {
        if let Some(regexp) = Regexp::parse(&source) {
            let _ = regexp.is_match(&text);
        }
    }
}
