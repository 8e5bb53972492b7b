//! A client that follows a list change by change has what one has that is sent each result whole.

use crate::{
    client::Client,
    duplex::{Behaviour, Dice},
    world::{World, options},
};
use serde_json::Value;

/// A follower's copy of a list.
#[derive(Default)]
struct Copy {
    version: u64,
    rows: Vec<Value>,
}

impl Copy {
    /// Takes a push; tells whether it was a change, and not a whole result.
    fn take(&mut self, push: &Value) -> bool {
        let Some(delta) = push.get("delta") else {
            self.version = push["version"].as_u64().expect("a version");
            self.rows = push["data"].as_array().expect("a list").clone();
            return false;
        };
        assert_eq!(delta["from"], self.version, "no gap");
        self.version = delta["to"].as_u64().expect("a version");
        let list = |name: &str| delta[name].as_array().cloned().unwrap_or_default();
        for key in list("left") {
            self.remove(&key);
        }
        let mut placed: Vec<(u64, Value)> = Vec::new();
        for changed in list("changed") {
            let at = self.rows.iter().position(|row| row["id"] == changed[0]).expect("a known record");
            for (member, value) in changed[1].as_object().expect("members") {
                self.rows[at][member] = value.clone();
            }
            if let Some(place) = changed[2].as_u64() {
                placed.push((place, self.remove(&changed[0])));
            }
        }
        placed.extend(
            list("entered").into_iter().map(|row| (row[0].as_u64().expect("a position"), row[1].clone())),
        );
        placed.sort_by_key(|(place, _)| *place);
        for (place, row) in placed {
            self.rows.insert(usize::try_from(place).expect("a position"), row);
        }
        true
    }

    fn remove(&mut self, key: &Value) -> Value {
        let at = self.rows.iter().position(|row| row["id"] == *key).expect("a known record");
        self.rows.remove(at)
    }
}

fn subscribe(world: &mut World, client: &mut Client, mode: &str) -> Value {
    let text = format!(
        r#"{{"id":1,"type":"store.subscribe","query":"ranked","params":{{"n":20}},"mode":"{mode}"}}"#
    );
    let [answer] = &world.ask(client, &text)[..] else { panic!("one answer") };
    serde_json::from_str::<Value>(answer).expect("JSON")["data"].clone()
}

fn pushes(world: &mut World, client: &mut Client) -> Vec<Value> {
    world.exchange(client).iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
}

fn below(dice: &mut Dice, limit: usize) -> u64 {
    dice.up_to(limit - 1) as u64
}

fn write(dice: &mut Dice, n: u64) -> String {
    let (key, value) = (below(dice, 40), below(dice, 60));
    match below(dice, 4) {
        0 => format!(r#"{{"id":{n},"type":"store.delete","bucket":"items","key":"k{key}"}}"#),
        1 => {
            let one = |key: u64| {
                format!(r#"{{"op":"insert","bucket":"items","data":{{"id":"k{key}","n":{value}}}}}"#)
            };
            let (first, second) = (one(100 + n), one(1000 + n));
            format!(r#"{{"id":{n},"type":"store.transaction","operations":[{first},{second}]}}"#)
        }
        _ => format!(
            r#"{{"id":{n},"type":"store.update","bucket":"items","key":"k{key}","data":{{"n":{value}}}}}"#
        ),
    }
}

#[test]
fn a_follower_has_what_others_are_sent_whole() {
    for seed in 0..8 {
        let mut options = options();
        let ranked = r#"{"bucket":"items","filter":{"n":{"$lt":50}},"sort":{"n":"desc"},"limit":12}"#;
        options.queries.push(("ranked".into(), ranked.into()));
        let mut world = World::new(options);
        let chopped = |more: u64| Behaviour { chop: Some(seed * 3 + more), ..Behaviour::default() };
        let mut writer = world.connect_with(&chopped(0));
        let (mut follower, mut other) = (world.connect_with(&chopped(1)), world.connect_with(&chopped(2)));
        for n in 0..30 {
            let insert = format!(
                r#"{{"id":{n},"type":"store.insert","bucket":"items","data":{{"id":"k{n}","n":{n}}}}}"#
            );
            world.ask(&mut writer, &insert);
        }
        let first = subscribe(&mut world, &mut follower, "delta");
        let mut copy = Copy {
            version: first["version"].as_u64().expect("a version"),
            rows: first["data"].as_array().expect("a list").clone(),
        };
        let mut whole = subscribe(&mut world, &mut other, "full")["data"].clone();
        let mut dice = Dice::new(seed);
        let (mut changes, mut results) = (0, 0);
        for n in 0..200 {
            // Several at once now and then, so that results are skipped on the way.
            for _ in 0..=below(&mut dice, 3) {
                writer.text(&write(&mut dice, n));
            }
            world.exchange(&mut writer);
            for push in pushes(&mut world, &mut follower) {
                if copy.take(&push) { changes += 1 } else { results += 1 }
            }
            if let Some(push) = pushes(&mut world, &mut other).pop() {
                whole = push["data"].clone();
            }
            assert_eq!(Value::Array(copy.rows.clone()), whole, "seed {seed}, step {n}");
        }
        assert!(changes > 5 * results, "{changes} changes, {results} whole results");
    }
}
