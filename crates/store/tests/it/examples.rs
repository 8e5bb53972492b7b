//! The worked examples of the store's specification, with the required outcome where the reference differs.

use crate::support::{Wire, json, options};
use noex_json::Value;
use noex_store::StoreError;

#[test]
fn worked_examples() {
    let mut player = Player::new(Wire::new(options()));
    for (at, line) in include_str!("examples.txt").lines().enumerate() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        player.line = at + 1;
        match mark {
            "##" => {
                player.settle();
                player = Player::new(Wire::new(options()));
            }
            "replace" => player = Player::new(Wire::replacing()),
            ">" | "?" => player.request(rest, mark == "?"),
            "=" => player.expect(Ok(rest)),
            "!" => player.expect(Err(rest)),
            "<" => player.expect_push(rest),
            "+" => {
                player.settle();
                player.wire.now_ms += rest.parse::<u64>().unwrap();
            }
            "events" => {
                player.settle();
                assert_eq!(player.wire.events(), rest, "line {}", player.line);
            }
            "" | "#" => {}
            _ => panic!("line {}: {line}", player.line),
        }
    }
    player.settle();
}

struct Player {
    wire: Wire,
    line: usize,
    answer: Option<Result<String, StoreError>>,
    pushes: Vec<String>,
    request: String,
}

impl Player {
    fn new(wire: Wire) -> Self {
        Self { wire, line: 0, answer: None, pushes: Vec::new(), request: String::new() }
    }

    /// Checks that nothing is left of the previous request but, perhaps, an answer without interest.
    fn settle(&mut self) {
        if let Some(answer) = self.answer.take() {
            assert!(answer.is_ok(), "before line {}: {:?}", self.line, answer);
        }
        assert!(self.pushes.is_empty(), "before line {}: {:?}", self.line, self.pushes);
    }

    fn request(&mut self, request: &str, ids: bool) {
        self.settle();
        self.request = request.into();
        let answer = if request.contains("\"activeSubscriptions\"") {
            Ok(self.wire.store.stats().active_subscriptions.to_string())
        } else {
            self.wire.call(request)
        };
        self.answer = Some(answer.map(|answer| if ids { keys(&answer) } else { mask(&answer) }));
        let push = |(subscriber, state): (noex_store::SubscriberId, noex_store::ViewState)| {
            format!("sub-{} {}", subscriber.0, state.result.as_deref().unwrap_or_default())
        };
        self.pushes = self.wire.pushes().into_iter().map(push).collect();
    }

    fn expect(&mut self, expected: Result<&str, &str>) {
        let answer = self.answer.take().unwrap_or_else(|| panic!("line {}: no request", self.line));
        let answer = answer.map_err(|error| error.to_string());
        let same = match (&answer, expected) {
            (Ok(answer), Ok(expected)) => expected == "*" || answer == expected,
            (Err(error), Err(expected)) => expected.is_empty() || error == expected,
            _ => false,
        };
        assert!(same, "line {}: {}\n  got {answer:?}\n want {expected:?}", self.line, self.request);
    }

    fn expect_push(&mut self, expected: &str) {
        let at = self.pushes.iter().position(|push| push == expected);
        let at =
            at.unwrap_or_else(|| panic!("line {}: {expected} is not among {:?}", self.line, self.pushes));
        self.pushes.remove(at);
    }
}

/// Hides generated ids as the examples do.
fn mask(text: &str) -> String {
    let text = hide(text, "\"00000000-0000-4000-8", 38, "\"<uuid-v4>\"");
    hide(&text, "\"c00000000000000000000", 35, "\"<cuid>\"")
}

/// Replaces what starts with `prefix` and is `len` bytes long.
fn hide(text: &str, prefix: &str, len: usize, by: &str) -> String {
    let mut text = text.to_owned();
    while let Some(at) = text.find(prefix) {
        text.replace_range(at..at + len, by);
    }
    text
}

fn keys(text: &str) -> String {
    let Value::Array(records) = json(text) else { panic!("no list: {text}") };
    let id =
        |record: &Value| record.as_object().and_then(|record| record.get("id")).cloned().unwrap_or_default();
    Value::Array(records.iter().map(id).collect()).to_json()
}
