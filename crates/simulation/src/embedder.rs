//! What the program around the server does to its engines, in the midst of everything.

use crate::{plan::TOPICS, random::Random};
use noex_host::{Hub, Now, store::Operation};
use noex_json::{Object, Value};

/// Changes something directly; `keys` are records that were inserted, as far as anybody knows.
pub(crate) fn act(
    hub: &Hub,
    now: Now,
    random: &mut Random,
    keys: &mut Vec<(&'static str, String)>,
    serial: u64,
) {
    let n = random.below(100);
    match random.below(10) {
        0..4 => {
            let bucket = *random.pick(&["open", "red", "blue", "log", "brief", "ring"]);
            let key = format!("e-{serial}");
            let data = object(&format!(r#"{{"id":"{key}","n":{n},"m":"@{bucket}"}}"#));
            keys.push((bucket, key));
            // Refusals are as good as any other outcome.
            let _ = hub.with_store(now, |store| store.insert(now.unix_ms, bucket, data));
        }
        4 | 5 => {
            let place = random.below(keys.len());
            let Some((bucket, key)) = keys.get(place).filter(|(bucket, _)| *bucket != "log") else { return };
            let (key, changes) = (Value::from(key.as_str()), object(&format!(r#"{{"n":{n}}}"#)));
            if random.chance(70) {
                let _ = hub.with_store(now, |store| store.update(now.unix_ms, bucket, &key, changes));
            } else {
                let _ = hub.with_store(now, |store| store.delete(now.unix_ms, bucket, &key));
            }
        }
        6 | 7 => {
            let update = |key: &str| Operation::Update {
                bucket: "twins".into(),
                key: Value::from(key),
                changes: object(&format!(r#"{{"n":{}}}"#, 1_000 + n)),
            };
            let operations = vec![update("a"), update(if random.chance(20) { "nobody" } else { "b" })];
            let _ = hub.with_store(now, |store| store.transaction(now.unix_ms, operations));
        }
        8 => {
            let family = *random.pick(&TOPICS);
            let topic = format!("{family}.{}", *random.pick(&["ping", "arm", "write", "other"]));
            let data =
                object(&format!(r#"{{"m":"@{family}","from":"e","seq":{serial},"key":"e-{serial}"}}"#));
            let _ =
                hub.with_rules(now, |engine| engine.emit(now.unix_ms, &topic, data, None, None).map(drop));
        }
        _ => {
            let _ = hub.stats(now);
        }
    }
}

fn object(text: &str) -> Object {
    noex_json::parse(text, 8).ok().and_then(|value| value.as_object().cloned()).unwrap_or_default()
}
