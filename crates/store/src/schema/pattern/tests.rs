use super::*;
use proptest::prelude::*;

/// Patterns with texts in which they are found and texts in which they are not.
const MATCHES: &[(&str, &[&str], &[&str])] = &[
    // Unanchored search without flags.
    ("ab+c", &["xxabbbcyy", "abc"], &["ac", "ABC"]),
    ("", &["", "x"], &[]),
    ("^[A-Z]{2}-", &["AB-1"], &["ab-1", "xAB-"]),
    (r"^\d{5}$", &["12345"], &["1234", "x12345", "12345\n", "١٢٣٤٥"]),
    ("a$", &["ba"], &["a\n", "ab"]),
    ("^a", &["ab"], &["\na"]),
    ("@corp", &["x@corp.io"], &["x@corq"]),
    // The dot and line terminators.
    ("^.$", &["a", "é", "\u{85}", "\u{B}"], &["", "\n", "\r", "\u{2028}", "\u{2029}", "ab"]),
    ("a.b", &["axb"], &["a\nb"]),
    // Classes and their escapes.
    (r"^\w+$", &["aZ_9"], &["é", "a-b"]),
    (r"^\s$", &[" ", "\t", "\u{A0}", "\u{FEFF}", "\u{2003}", "\u{2028}"], &["\u{85}", "x", "\u{180E}"]),
    (r"^\S$", &["\u{85}", "x"], &["\u{FEFF}"]),
    (r"^\W\D\S$", &["é x"], &["ax1"]),
    ("^[]$", &[], &["", "a", "]"]),
    ("^[^]$", &["a", "\n", "é"], &["", "ab"]),
    ("[[]", &["["], &["]"]),
    ("^[a-c[d]$", &["a", "[", "d"], &["e", "]"]),
    ("^[a&&b]$", &["a", "&", "b"], &["c"]),
    ("^[~~]$", &["~"], &["a"]),
    ("^[a-]$", &["a", "-"], &["b"]),
    ("^[-a]$", &["a", "-"], &["b"]),
    ("^[+--]$", &["+", ",", "-"], &[".", "*"]),
    (r"^[\w-z]$", &["-", "z", "a"], &["+"]),
    (r"^[a-\d]$", &["a", "-", "5"], &["b"]),
    (r"^[^\d\s]$", &["x"], &["1", " "]),
    (r"^[\D]$", &["x"], &["1"]),
    (r"^[\b]$", &["\u{8}"], &["b"]),
    (r"^[\]\\^-]$", &["]", "\\", "^", "-"], &["a"]),
    (r"^[[:alpha:]]$", &["[]", "a]", ":]"], &["b", "[:alpha:]"]),
    (r"^[(?i)]$", &["?", "i", ")"], &["I"]),
    // Escapes of characters.
    (r"^\/\.\-\#\ \@$", &["/.-# @"], &["/x-# @"]),
    (r"^\x41\u0042\u{2}\x4$", &["ABuux4"], &["AB\u{2}x4"]),
    (r"^\cA\ca\t\n\v\f\r\0$", &["\u{1}\u{1}\t\n\u{B}\u{C}\r\0"], &["cAca"]),
    (r"^\c$", &[r"\c"], &["c"]),
    (r"^\c*$", &[r"\", r"\cc"], &["c"]),
    (r"^[\c]$", &[r"\", "c"], &["x"]),
    (r"^[\c1]$", &["\u{11}"], &["c", "1"]),
    (r"^[\c_]$", &["\u{1F}"], &["c", "_"]),
    (r"^\101\60\8\400$", &["A08\u{20}0"], &["101"]),
    (r"^[\1\12]$", &["\u{1}", "\n"], &["1", "2"]),
    (r"^\p{L}$", &["p{L}"], &["L", "é"]),
    (r"^\k\a\z\A\G$", &["kazAG"], &[""]),
    (r"^\$\^\{\}\(\)\*\+\?\|$", &["$^{}()*+?|"], &[""]),
    // Quantifiers and braces.
    ("^a{2}$", &["aa"], &["a", "aaa"]),
    ("^a{2,}$", &["aa", "aaaa"], &["a"]),
    ("^a{1,02}$", &["a", "aa"], &["aaa"]),
    ("^a{,2}$", &["a{,2}"], &["a"]),
    ("^a{$", &["a{"], &["a"]),
    ("^a{1$", &["a{1"], &["a"]),
    ("^a{x}$", &["a{x}"], &["a"]),
    ("^{}]$", &["{}]"], &[""]),
    ("^a+?b*?c??$", &["aab", "abc"], &["b"]),
    ("^a{0}$", &[""], &["a"]),
    ("^(?:){3}$", &[""], &["a"]),
    // Groups and alternatives.
    ("^(?:ab|cd)+$", &["abcd"], &["abc"]),
    ("^(?<year>[0-9]{4})-(?<$_é1>x)$", &["2024-x"], &["year"]),
    ("^(|a)*$", &["", "aa"], &["b"]),
    ("a|", &["", "b"], &[]),
    // Word boundaries are those of ASCII.
    (r"\bfoo\b", &["a foo.", "éfoo"], &["afoo"]),
    (r"^\Bé", &["é"], &["e"]),
    (r"a\Bb", &["ab"], &["a b"]),
    (r"é\Bé", &["éé"], &["é"]),
    // Characters beyond U+FFFF are two units.
    ("^.$", &["a"], &["😀"]),
    ("^..$", &["😀", "ab"], &["😀x"]),
    ("😀", &["x😀y"], &["😁"]),
    (r"^\uD83D\uDE00$", &["😀"], &["😁"]),
    (r"^\uD83D", &["😀", "😁"], &["a"]),
    ("^[😀]$", &[], &["😀"]),
    ("^[😀]{2}$", &["😀"], &["a"]),
    ("^[^a]{2}$", &["😀", "éé"], &["é"]),
    ("^[\u{E000}-\u{FFFF}]$", &["\u{E000}", "\u{FFFD}"], &["😀", "a"]),
    (r"^[\uD800-\uDFFF]+$", &["😀"], &["\u{E000}", "\u{D7FF}"]),
    (r"^[^\uD800-\uDFFF]+$", &["aé\u{E000}"], &["😀", "\u{10D83D}x"]),
    (r"^[\0-\uFFFF]+$", &["a😀\u{E000}"], &[""]),
    // What the other syntax would take for flags, comments, sets or spaces.
    ("^# x$", &["# x"], &["x"]),
    (r"^\#\&\~$", &["#&~"], &[""]),
    ("^a b$", &["a b"], &["ab"]),
];

const REFUSED: &[&str] = &[
    "[",
    "(",
    ")",
    "a)",
    "(?",
    "(?:",
    r"\",
    "*",
    "+a",
    "?",
    "a**",
    "a+*",
    "a{2}{3}",
    "a+??",
    "^*",
    "$+",
    r"\b+",
    "|*",
    "(*)",
    "{1}",
    "{1,2}a",
    "a|{2}",
    "a{2,1}",
    "a{10,9}",
    "[b-a]",
    "[a",
    r"[a\",
    "[a--b]",
    "[😀-😂]",
    "(?i)a",
    "(?i:a)",
    "(?P<n>a)",
    "(?#c)",
    "(?<n",
    "(?<>a)",
    "(?<1>a)",
    "(?<a b>c)",
    // More than linear time.
    r"(a)\1",
    r"\1(a)",
    r"(?<n>a)\k<n>",
    r"(?<n>a)\k",
    r"(?<n>a)[\k]",
    "(?=a)",
    "(?!a)",
    "(?<=a)",
    "(?<!a)",
    r"(\1)",
    // Too large.
    "a{99999999999999999999}",
    "(?:a{1000}){1000}",
    "(?:(?:a{0,200}){0,200}){0,200}",
];

#[test]
fn patterns_mean_what_they_mean_in_ecmascript() {
    for (source, found, missing) in MATCHES {
        let Some(pattern) = Pattern::parse(source) else { panic!("{source} is refused") };
        for text in *found {
            assert!(pattern.is_match(text), "{source} in {text:?}");
        }
        for text in *missing {
            assert!(!pattern.is_match(text), "{source} not in {text:?}");
        }
    }
}

#[test]
fn ill_formed_and_costly_patterns_are_refused() {
    for source in REFUSED {
        assert!(Pattern::parse(source).is_none(), "{source}");
    }
    assert!(Pattern::parse(&"a".repeat(SOURCE_BYTES_MAX)).is_some());
    assert!(Pattern::parse(&"a".repeat(SOURCE_BYTES_MAX + 1)).is_none());
    assert!(Pattern::parse(&"(".repeat(2000)).is_none());
    assert!(Pattern::parse(&format!("{}{}", "(".repeat(2000), ")".repeat(2000))).is_none());
}

#[test]
fn ordinary_lengths_are_not_too_large() {
    for source in [
        r"^[^\s@]{1,64}@[^\s@]{1,255}$",
        "^.{1,500}$",
        r"^[\w\s.,'-]{0,1000}$",
        r"^\S{3,250}$",
        r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$",
    ] {
        assert!(Pattern::parse(source).is_some(), "{source}");
    }
}

proptest! {
    #[test]
    fn any_pattern_is_accepted_or_refused(
        source in "[\\\\\\[\\](){}?*+|^$.,:<>=!a-c0-9uxkpcbBdDwWsS😀é&~-]{0,24}",
        text in "[a-c0-9uxk😀é\\n -]{0,12}",
    ) {
        if let Some(pattern) = Pattern::parse(&source) {
            pattern.is_match(&text);
        }
    }

    #[test]
    fn arbitrary_texts_are_no_danger(source in "\\PC{0,40}", text in "\\PC{0,40}") {
        if let Some(pattern) = Pattern::parse(&source) {
            pattern.is_match(&text);
        }
    }

    /// A text with every special character escaped is found exactly where it is contained.
    #[test]
    fn an_escaped_text_is_a_plain_search(
        needle in "[a-b\\\\\\[\\](){}?*+|^$./😀é]{0,3}",
        text in "[a-b\\\\\\[\\](){}?*+|^$./😀é]{0,12}",
    ) {
        let mut source = String::new();
        for c in needle.chars() {
            if c.is_ascii_punctuation() {
                source.push('\\');
            }
            source.push(c);
        }
        let pattern = Pattern::parse(&source);
        prop_assert!(pattern.is_some_and(|pattern| pattern.is_match(&text) == text.contains(&needle)));
    }
}
