use super::*;
use proptest::prelude::*;

fn pattern(text: &str, space: Space) -> Pattern {
    Pattern::parse(text, space).expect(text)
}

fn matching<'a>(text: &str, space: Space, candidates: &[&'a str]) -> Vec<&'a str> {
    let pattern = pattern(text, space);
    candidates.iter().copied().filter(|candidate| pattern.matches(candidate)).collect()
}

/// Example 29 with the decision of its target line.
#[test]
fn topics() {
    let topics =
        ["order", "order.created", "order.item.added", "orders.created", "x.order.created", "order.", "a.b"];
    let below = ["order.created", "order.item.added", "order."];
    let several = ["order.created", "order.item.added", "orders.created", "x.order.created", "order.", "a.b"];
    for (text, expected) in [
        ("order.*", &below[..]),
        ("order.created", &["order.created"]),
        ("*.created", &["order.created", "orders.created"]),
        ("order.*.added", &["order.item.added"]),
        ("*.*", &several),
        ("order.*.*", &["order.item.added"]),
        ("**", &topics),
        ("order.**", &["order", "order.created", "order.item.added", "order."]),
        ("ord*", &["order"]),
        ("*ed", &[]),
        ("**.created", &["order.created", "orders.created", "x.order.created"]),
        ("order.*ed", &["order.created"]),
        ("**.*", &topics),
        ("", &[]),
    ] {
        assert_eq!(matching(text, Space::Trigger, &topics), expected, "trigger {text}");
        assert_eq!(matching(text, Space::Subscription, &topics), expected, "subscription {text}");
    }
    assert_eq!(matching("*", Space::Trigger, &topics), ["order"]);
    assert_eq!(matching("*", Space::Subscription, &topics), topics);
}

/// Example 30 with the decision of its target line.
#[test]
fn keys() {
    let keys = [
        "user",
        "user:1",
        "user:1:name",
        "user:2:name",
        "user:1:name:x",
        "users:1",
        "user:",
        "x:user:1",
        "user:a.b",
    ];
    let below = ["user", "user:1", "user:1:name", "user:2:name", "user:1:name:x", "user:", "user:a.b"];
    for (text, expected) in [
        ("*", &["user"][..]),
        ("user:*", &["user:1", "user:a.b"]),
        ("user:*:name", &["user:1:name", "user:2:name"]),
        ("*:1", &["user:1", "users:1"]),
        ("*:*", &["user:1", "users:1", "user:a.b"]),
        ("user:*:*", &["user:1:name", "user:2:name"]),
        ("user:1:*", &["user:1:name"]),
        ("us*", &["user"]),
        ("us*:1", &["user:1", "users:1"]),
        ("user:**", &below),
        ("**", &keys),
        ("user.*", &[]),
        ("user:*.*", &["user:a.b"]),
        ("**:name:**", &["user:1:name", "user:2:name", "user:1:name:x"]),
    ] {
        assert_eq!(matching(text, Space::Key, &keys), expected, "{text}");
    }
}

#[test]
fn everything_but_the_star_is_literal() {
    for text in ["(.*.x", "a+b.*", "[a-z].*", "a?.\\*", "^$.*", "price(usd).*"] {
        let pattern = pattern(text, Space::Trigger);
        assert!(pattern.matches(&text.replace('*', "mid")), "{text}");
        assert!(!pattern.matches("good") && !pattern.matches("aab.x"), "{text}");
    }
}

#[test]
fn each_star_of_a_segment_takes_at_least_one_character() {
    for (text, candidate, expected) in [
        ("a*", "a", false),
        ("a*", "ab", true),
        ("*a", "a", false),
        ("a*a", "aa", false),
        ("a*a", "aaa", true),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "abYbYc", true),
        ("a*b*c", "abbc", false),
        ("a**b", "aXb", false),
        ("a**b", "aXYb", true),
        ("***", "ab", false),
        ("***", "abc", true),
        ("*é*", "aéž", true),
        ("*é*", "é", false),
    ] {
        assert_eq!(pattern(text, Space::Key).matches(candidate), expected, "{text} {candidate}");
    }
}

#[test]
fn captures_of_wildcards() {
    for (text, space, candidate, expected) in [
        ("user:*:name", Space::Key, "user:1:name", Some(&["1"][..])),
        ("order.*", Space::Trigger, "order.item.added", Some(&["item.added"])),
        ("order.*", Space::Trigger, "order.", Some(&[""])),
        ("*.*", Space::Trigger, "a.b.c", Some(&["a", "b.c"])),
        ("a.**", Space::Trigger, "a", Some(&[""])),
        ("a.**.z", Space::Trigger, "a.b.c.z", Some(&["b.c"])),
        ("**.m.**", Space::Trigger, "a.m.m.z", Some(&["a", "m.z"])),
        ("us*:v*1", Space::Key, "users:v21", Some(&["ers", "2"])),
        ("*", Space::Subscription, "a.b", Some(&["a.b"])),
        ("**.*", Space::Trigger, "a.b", Some(&["", "a.b"])),
        ("a.b", Space::Trigger, "a.b", Some(&[])),
        ("a.*", Space::Trigger, "b.c", None),
        ("a.b", Space::Trigger, "a.c", None),
    ] {
        assert_eq!(pattern(text, space).captures(candidate).as_deref(), expected, "{text} {candidate}");
    }
}

#[test]
fn literal_parts_never_become_wildcards() {
    let parts = |user| [Part::Pattern("acl:"), Part::Literal(user), Part::Pattern(":*")];
    let pattern = |user| Pattern::from_parts(parts(user), Space::Key).expect("valid");
    assert!(pattern("*").matches("acl:*:role") && !pattern("*").matches("acl:root:role"));
    assert!(pattern("**").matches("acl:**:role") && !pattern("**").matches("acl:a:b:role"));
    assert!(pattern("a:b").matches("acl:a:b:role"));
    assert_eq!(pattern("x*").text(), "acl:x*:*");
    let exact = Pattern::from_parts([Part::Literal("a:*")], Space::Key).expect("valid");
    assert!(exact.is_exact() && exact.matches("a:*") && !exact.matches("a:b"));
    let empty =
        Pattern::from_parts([Part::Pattern("a:*"), Part::Literal(""), Part::Pattern("*")], Space::Key);
    let empty = empty.expect("valid");
    assert!(empty.matches("a:xy") && !empty.matches("a") && !empty.matches("a:x:y"));
}

#[test]
fn patterns_are_bounded_only_where_they_have_wildcards() {
    let long = vec!["a"; 1000].join(".");
    assert!(pattern(&long, Space::Trigger).matches(&long));
    let wild = format!("*.{long}");
    assert_eq!(Pattern::parse(&wild, Space::Trigger).err(), Some(PatternError::TooManySegments));
    assert_eq!(Pattern::parse("**.a.**.b.**", Space::Trigger).err(), Some(PatternError::TooManyGlobstars));
    assert!(Pattern::parse("**.a.**", Space::Trigger).is_ok());
}

#[test]
fn trie_gives_values_in_order_of_insertion_and_forgets_removed_ones() {
    let mut trie = PatternTrie::new();
    let texts = ["**", "a.b", "a.*", "*.b", "a.b", "*b.b", "a*", "*.**.*", "**.b"];
    let patterns: Vec<_> = texts.iter().map(|text| pattern(text, Space::Trigger)).collect();
    let ids: Vec<_> = patterns.iter().zip(texts).map(|(pattern, text)| trie.insert(pattern, text)).collect();
    assert_eq!(trie.matches("a.b"), [&"**", &"a.b", &"a.*", &"*.b", &"a.b", &"*.**.*", &"**.b"]);
    assert_eq!((trie.remove(&patterns[1], ids[1]), trie.remove(&patterns[1], ids[1])), (Some("a.b"), None));
    assert_eq!(trie.matches("a.b"), [&"**", &"a.*", &"*.b", &"a.b", &"*.**.*", &"**.b"]);
    assert!(trie.any_matches("zb.b") && trie.len() == 8);
    for (pattern, id) in patterns.iter().zip(ids) {
        trie.remove(pattern, id);
    }
    assert!(trie.is_empty() && !trie.any_matches("a.b"));
    assert_eq!(format!("{:?}", PatternTrie::<u8>::new().matches("a")), "[]");
}

/// The grammar, word by word.
mod naive {
    use super::Space;

    pub(super) fn matches(pattern: &str, text: &str, space: Space) -> bool {
        let separator = if space == Space::Key { ':' } else { '.' };
        if !pattern.contains('*') {
            return pattern == text;
        }
        if pattern == "*" && space == Space::Subscription {
            return true;
        }
        let pattern: Vec<&str> = pattern.split(separator).collect();
        let text: Vec<&str> = text.split(separator).collect();
        let open = space != Space::Key && pattern.len() > 1 && pattern.last() == Some(&"*");
        segments(&pattern, &text, open)
    }

    fn segments(pattern: &[&str], text: &[&str], open: bool) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            (["*"], _) if open => !text.is_empty(),
            (["**", rest @ ..], _) => (0..=text.len()).any(|taken| segments(rest, &text[taken..], open)),
            ([_, ..], []) => false,
            ([first, rest @ ..], [part, others @ ..]) => {
                let first: Vec<char> = first.chars().collect();
                let part: Vec<char> = part.chars().collect();
                characters(&first, &part) && segments(rest, others, open)
            }
        }
    }

    fn characters(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            (['*', rest @ ..], _) => (1..=text.len()).any(|taken| characters(rest, &text[taken..])),
            ([first, rest @ ..], [c, others @ ..]) => first == c && characters(rest, others),
            ([_, ..], []) => false,
        }
    }
}

fn space() -> impl Strategy<Value = Space> {
    prop_oneof![Just(Space::Subscription), Just(Space::Trigger), Just(Space::Key)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn matching_follows_the_grammar(text in "[ab.:*]{0,9}|[ab*]{0,3}([.:][ab*]{0,3}){0,4}", candidate in "[ab.:*é]{0,9}", space in space()) {
        if let Ok(pattern) = Pattern::parse(&text, space) {
            let expected = naive::matches(&text, &candidate, space);
            prop_assert_eq!(pattern.matches(&candidate), expected);
            let captures = pattern.captures(&candidate);
            prop_assert_eq!(captures.is_some(), expected);
            if expected {
                prop_assert!(candidate.starts_with(pattern.literal_prefix()));
            }
        }
    }

    /// Literal text and captures together are the text that was matched.
    #[test]
    fn captures_fill_the_gaps(text in "[ab]{0,2}\\*[ab]{0,2}(\\.[ab]{0,2}\\*?[ab]{0,2}){0,3}", candidate in "[ab.]{0,9}") {
        let pattern = Pattern::parse(&text, Space::Trigger).expect("few segments");
        if let Some(captures) = pattern.captures(&candidate) {
            let mut rebuilt = String::new();
            let mut captures = captures.into_iter();
            for c in text.chars() {
                if c == '*' { rebuilt.push_str(captures.next().expect("one per star")) } else { rebuilt.push(c) }
            }
            prop_assert_eq!((rebuilt.as_str(), captures.next()), (candidate.as_str(), None));
        }
    }

    #[test]
    fn literal_parts_match_only_themselves(before in "[a:*]{0,3}", value in "[a:*]{0,4}", after in "[a:*]{0,3}", candidate in "[a:*]{0,9}") {
        let parts = [Part::Pattern(&before), Part::Literal(&value), Part::Pattern(&after)];
        if let Ok(pattern) = Pattern::from_parts(parts, Space::Key)
            && pattern.matches(&candidate)
        {
            prop_assert!(candidate.contains(&value));
        }
    }

    #[test]
    fn trie_finds_what_a_scan_finds(
        steps in prop::collection::vec(("[ab*]{1,3}([.][ab*]{0,2}){0,3}", any::<bool>(), any::<prop::sample::Index>()), 1..40),
        candidates in prop::collection::vec("[ab]{0,3}([.][ab]{0,2}){0,4}", 1..6),
    ) {
        let mut trie = PatternTrie::new();
        let mut entries: Vec<(Pattern, EntryId, usize)> = Vec::new();
        for (i, (text, subscription, remove)) in steps.into_iter().enumerate() {
            let space = if subscription { Space::Subscription } else { Space::Trigger };
            if let Ok(pattern) = Pattern::parse(&text, space) {
                let id = trie.insert(&pattern, i);
                entries.push((pattern, id, i));
            }
            if i % 3 == 2 && !entries.is_empty() {
                let (pattern, id, value) = entries.remove(remove.index(entries.len()));
                prop_assert_eq!(trie.remove(&pattern, id), Some(value));
            }
            prop_assert_eq!(trie.len(), entries.len());
            for candidate in &candidates {
                let scan: Vec<_> = entries.iter().filter(|(p, ..)| p.matches(candidate)).map(|(.., i)| i).collect();
                prop_assert_eq!(trie.matches(candidate), scan.clone());
                prop_assert_eq!(trie.any_matches(candidate), !scan.is_empty());
            }
        }
        for (pattern, id, _) in entries {
            trie.remove(&pattern, id);
        }
        prop_assert!(trie.is_pristine());
    }
}
