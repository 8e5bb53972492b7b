use super::*;

fn check(format: Format, accepted: &[&str], refused: &[&str]) {
    for text in accepted {
        assert!(format.accepts(text), "{text:?}");
    }
    for text in refused {
        assert!(!format.accepts(text), "{text:?}");
    }
}

#[test]
fn email() {
    check(
        Format::Email,
        &[
            "ann@example.com",
            "a@b.c",
            "a@b..c",
            "á@é.ü",
            "first.last+tag@sub.example.org",
            "a@b.c.",
            "a@.b.c",
        ],
        &[
            "a@b",
            "a@.c",
            "@b.c",
            "a@b.",
            "a b@c.d",
            "a@@b.c",
            "ann@exam ple.com",
            "",
            "a@b.c\n",
            "x@y .z",
            "a@.",
            "a@..",
            "a@",
            "@",
            "\u{A0}a@b.c",
            "a@b.c\u{FEFF}",
            "a@b\u{2028}.c",
            "a@b@c.d",
        ],
    );
    assert!(Format::Email.accepts("a\u{85}@b.c"), "NEL is no white space in ECMAScript");
    assert!(Format::Email.accepts("a@..."), "a dot between dots");
}

#[test]
fn url() {
    check(
        Format::Url,
        &[
            "https://example.com",
            "http://localhost:8080/a?b=c#d",
            "ftp://x/y",
            "mailto:a@b",
            "urn:isbn:1",
            "http:x",
            " http://x ",
            "http://[::1]/",
            "C:\\x",
            "urn:x",
            "mailto:x",
        ],
        &[
            "//example.com/x",
            "//x",
            "example.com",
            "nope",
            "http://",
            "1a:b",
            "",
            "http://a b/",
            "http://x:99999/",
        ],
    );
}

#[test]
fn iso_date() {
    check(
        Format::IsoDate,
        &[
            "2024-01-15",
            "2024-02-29",
            "2000-02-29",
            "2024-01-15T10:30:00Z",
            "2024-01-15T10:30:00.123Z",
            "2024-01-15T12:00:00+02:00",
            "2024-01-15T10:30:00",
            "2024-01-15T23:59:59.999999999999",
            "2024-01-15T02:00:00+02:00",
            "2024-01-15T18:59:59-05:00",
            "9999-12-31",
            "1000-01-01",
        ],
        &[
            "2023-02-29",
            "1900-02-29",
            "2024-02-30",
            "2024-13-01",
            "2024-00-10",
            "2024-04-31",
            "2024-01-00",
            "2024-01-32",
            "2024-01-15T23:30:00-05:00",
            "2024-01-15T00:30:00+02:00",
            "2024-01-15T24:00:00Z",
            "2024-01-15T10:61:00Z",
            "2024-01-15T10:00:60Z",
            "2024-1-5",
            "15.01.2024",
            "2024-01-15 10:00:00",
            "2024-01-15T10:30Z",
            "",
            "20240115",
            "0999-12-31",
            "2024-01-15T",
            "2024-01-15Z",
            "2024-01-15\n",
            "2024-01-15T10:30:00.Z",
            "2024-01-15T10:30:00z",
            "2024-01-15T10:30:00+0200",
            "2024-01-15T10:30:00+24:00",
            "2024-01-15T10:30:00+02:60",
            "2024-01-15T10:30:00ZZ",
            "+002024-01-15",
            "2024-01-15T10:30:00,5Z",
            "٢٠٢٤-01-15",
        ],
    );
}
