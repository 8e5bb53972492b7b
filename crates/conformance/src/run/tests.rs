//! Tests of verdicts, of the lines about them and of URLs.

use super::*;

fn played(passed: bool, feature: Option<&str>) -> Played {
    Played {
        id: "g/s".to_owned(),
        name: "s".to_owned(),
        file: PathBuf::from("x/g/s.json"),
        feature: feature.map(str::to_owned),
        outcome: Outcome {
            failure: (!passed).then(|| Failure::new(3, "recv on a", "$.id: expected 1, got 2")),
            server_tail: vec!["err: oops".to_owned()],
            elapsed: Duration::from_millis(5),
        },
    }
}

#[test]
fn every_verdict_has_its_line_and_its_place_in_the_closing_line() {
    for (passed, feature, line, bad, closing) in [
        (true, None, "ok   s (5 ms)", false, "1 passed, 0 failed, 0 skipped"),
        (
            false,
            None,
            "FAIL s [x/g/s.json] step 3 (recv on a): $.id: expected 1, got 2\n     server err: oops",
            true,
            "0 passed, 1 failed, 0 skipped",
        ),
        (false, Some("rule engine"), "WAIT g/s: rule engine", false, "0 passed, 0 failed, 1 skipped"),
        (
            true,
            Some("rule engine"),
            "FAIL s [x/g/s.json]: passes now, remove it from waiting.txt",
            true,
            "0 passed, 1 failed, 0 skipped",
        ),
    ] {
        let report = Report { results: vec![played(passed, feature)] };
        assert_eq!(report.results[0].to_string(), line);
        assert_eq!(report.is_bad(), bad, "{line}");
        assert_eq!(report.closing_line(0), closing);
    }
    assert_eq!(Report::default().closing_line(2), "0 passed, 2 failed, 0 skipped");
}

#[test]
fn urls_name_host_port_and_perhaps_a_path() {
    for (url, expected) in [
        ("ws://127.0.0.1:80", Some(("127.0.0.1", 80, None))),
        ("ws://localhost:8080/a/b", Some(("localhost", 8080, Some("/a/b")))),
        ("wss://localhost:8080/", None),
        ("ws://localhost", None),
        ("ws://:80", None),
        ("ws://a:99999", None),
    ] {
        let got = Target::parse_url(url).ok();
        let got = got.as_ref().and_then(|target| match target {
            Target::Running { host, port, path } => Some((host.as_str(), *port, path.as_deref())),
            Target::Command(_) => None,
        });
        assert_eq!(got, expected, "{url}");
    }
}
