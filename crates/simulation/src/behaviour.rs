//! What clients do, at random.

use crate::{
    client::{Ask, Client, Stage},
    frame,
    plan::{BUCKETS, Plan, TOKENS, TOPICS},
    trace::Trace,
    watch::{Kind, Subject},
};
use noex_host::Instant;
use std::time::Duration;

/// What acting clients know of the world.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) now: Instant,
    pub(crate) plan: &'a Plan,
    pub(crate) trace: &'a mut Trace,
    /// Records that were inserted, as far as anybody knows.
    pub(crate) keys: &'a mut Vec<(&'static str, String)>,
}

/// Does something, and decides when to act again.
pub(crate) fn act(client: &mut Client, scene: &mut Scene<'_>) {
    let think_ms = scene.plan.think_ms;
    let wait_ms = client.random.between(1, 2 * think_ms);
    client.act_at = scene.now + Duration::from_millis(wait_ms);
    if client.stage != Stage::Open || client.spoiled {
        return;
    }
    if client.session.is_none() && scene.plan.rights.tokens && client.random.chance(40) {
        return login(client, scene);
    }
    for _ in 0..=client.random.below(4) {
        if client.stage == Stage::Open && !client.spoiled {
            one(client, scene);
        }
    }
}

fn one(client: &mut Client, scene: &mut Scene<'_>) {
    match client.random.below(1000) {
        0..220 => subscribe(client, scene),
        220..270 => unsubscribe(client, scene),
        270..480 => insert(client, scene),
        480..590 => update(client, scene),
        590..670 => delete(client, scene),
        670..725 => transaction(client, scene),
        725..750 => clear(client, scene),
        750..800 => read(client, scene),
        800..850 => emit(client, scene),
        850..870 => administer(client, scene),
        870..890 => login(client, scene),
        890..900 => client.ask(scene.now, scene.trace, Ask::Logout, "auth.logout", ""),
        900..915 => client.ask(scene.now, scene.trace, Ask::Whoami, "auth.whoami", ""),
        915..930 => nonsense(client, scene),
        930..935 => client.send(scene.now, scene.trace, frame::PING, b"?"),
        935..945 => flood(client, scene),
        945..975 if client.habits.pauses => {
            let span = Duration::from_millis(client.random.between(50, 8_000));
            scene.trace.note(scene.now, client.serial, "pauses", "");
            client.pause(Some(scene.now + span));
        }
        975..990 if client.habits.pauses => leave(client, scene),
        _ => {
            client.ask(scene.now, scene.trace, Ask::Anything, "server.health", "");
        }
    }
}

fn login(client: &mut Client, scene: &mut Scene<'_>) {
    let token = 1 + client.random.below(TOKENS.len() - 1);
    let text = if client.random.chance(5) { "t-nobody" } else { TOKENS[token].text };
    client.ask(scene.now, scene.trace, Ask::Login(token), "auth.login", &format!(r#""token":"{text}""#));
}

fn any_bucket(client: &mut Client) -> &'static str {
    if client.random.chance(4) { "temp" } else { client.random.pick(&BUCKETS).0 }
}

fn subscribe(client: &mut Client, scene: &mut Scene<'_>) {
    if client.random.chance(25) {
        let topic = *client.random.pick(&TOPICS);
        let pattern = match client.random.below(12) {
            0 => "*".to_owned(),
            1 => format!("bucket.{topic}.*"),
            2 => format!("{topic}.ping"),
            _ => format!("{topic}.*"),
        };
        let rest = format!(r#""pattern":"{pattern}","topic":"open.x""#);
        let ask = Ask::Subscribe { subject: Subject::Events { pattern }, certain: true };
        return client.ask(scene.now, scene.trace, ask, "rules.subscribe", &rest);
    }
    let bucket = any_bucket(client);
    let n = i64::try_from(client.random.below(5) * 20).unwrap_or(0);
    let (kind, name, certain) = match client.random.below(7) {
        _ if bucket == "temp" => (Kind::All, "dyn0".to_owned(), false),
        0 | 1 => (Kind::All, "all".to_owned(), true),
        2 => (Kind::Above(n), "above".to_owned(), true),
        3 => (Kind::Count, "count".to_owned(), true),
        4 => (Kind::Sum, "sum".to_owned(), true),
        5 => (Kind::Top, "top".to_owned(), true),
        _ => (Kind::All, format!("dyn{}", client.random.below(2)), false),
    };
    let rest = format!(r#""query":"{bucket}-{name}","params":{{"n":{n}}},"bucket":"open""#);
    let ask = Ask::Subscribe { subject: Subject::Query { bucket: bucket.to_owned(), kind }, certain };
    client.ask(scene.now, scene.trace, ask, "store.subscribe", &rest);
}

fn unsubscribe(client: &mut Client, scene: &mut Scene<'_>) {
    let place = client.random.below(client.watches.len() + 1);
    let Some((id, watch)) = client.watches.iter().nth(place) else {
        let (id, events) = ("sub-999999".to_owned(), false);
        let ask = Ask::Unsubscribe { id, events };
        return client.ask(
            scene.now,
            scene.trace,
            ask,
            "store.unsubscribe",
            r#""subscriptionId":"sub-999999""#,
        );
    };
    let (id, events) = (id.clone(), matches!(watch.subject, Subject::Events { .. }));
    let operation = if events { "rules.unsubscribe" } else { "store.unsubscribe" };
    let rest = format!(r#""subscriptionId":"{id}""#);
    client.ask(scene.now, scene.trace, Ask::Unsubscribe { id, events }, operation, &rest);
}

fn call(client: &mut Client, scene: &mut Scene<'_>, operation: &'static str, resource: &str, rest: &str) {
    let ask = Ask::Call { operation, resource: resource.to_owned() };
    client.ask(scene.now, scene.trace, ask, operation, rest);
}

fn new_key(client: &mut Client) -> String {
    client.keys += 1;
    format!("c{}-{}", client.serial, client.keys)
}

fn insert(client: &mut Client, scene: &mut Scene<'_>) {
    let bucket = match any_bucket(client) {
        "twins" => "log",
        other => other,
    };
    let key = new_key(client);
    let n = client.random.below(100);
    let rest = format!(r#""bucket":"{bucket}","data":{{"id":"{key}","n":{n},"m":"@{bucket}"}}"#);
    scene.keys.push((bucket, key.clone()));
    let ask = Ask::Insert { bucket: bucket.to_owned(), key };
    client.ask(scene.now, scene.trace, ask, "store.insert", &rest);
}

/// A record that can be changed.
fn any_key(client: &mut Client, scene: &Scene<'_>) -> (&'static str, String) {
    // Rather a young one: old ones are often gone.
    let len = scene.keys.len();
    let place = len.saturating_sub(1 + client.random.below(len.clamp(1, 60)));
    scene
        .keys
        .get(place)
        .filter(|(bucket, _)| *bucket != "log")
        .cloned()
        .unwrap_or(("open", "none".to_owned()))
}

fn update(client: &mut Client, scene: &mut Scene<'_>) {
    let (bucket, key) = any_key(client, scene);
    let n = client.random.below(100);
    let rest = format!(r#""bucket":"{bucket}","key":"{key}","data":{{"n":{n}}}"#);
    call(client, scene, "store.update", bucket, &rest);
}

fn delete(client: &mut Client, scene: &mut Scene<'_>) {
    let (bucket, key) = any_key(client, scene);
    let rest = format!(r#""bucket":"{bucket}","key":"{key}""#);
    call(client, scene, "store.delete", bucket, &rest);
}

fn transaction(client: &mut Client, scene: &mut Scene<'_>) {
    let n = client.random.below(1000);
    // Sometimes the second half fails, and nothing of the first may show.
    let second = if client.random.chance(20) { "nobody" } else { "b" };
    let one = |key: &str| format!(r#"{{"op":"update","bucket":"twins","key":"{key}","data":{{"n":{n}}}}}"#);
    let rest = format!(r#""bucket":"open","operations":[{},{}]"#, one("a"), one(second));
    call(client, scene, "store.transaction", "twins", &rest);
}

fn clear(client: &mut Client, scene: &mut Scene<'_>) {
    let bucket = *client.random.pick(&["open", "red", "blue", "brief", "ring", "temp"]);
    call(client, scene, "store.clear", bucket, &format!(r#""bucket":"{bucket}""#));
}

fn read(client: &mut Client, scene: &mut Scene<'_>) {
    let bucket = any_bucket(client);
    let operation = *client.random.pick(&["store.all", "store.count", "store.get"]);
    call(client, scene, operation, bucket, &format!(r#""bucket":"{bucket}","key":"a","name":"open""#));
}

fn emit(client: &mut Client, scene: &mut Scene<'_>) {
    let family = *client.random.pick(&TOPICS);
    if client.random.chance(20) {
        let key = format!("{family}.fact");
        let rest = format!(r#""key":"{key}","value":{{"m":"@{family}"}}"#);
        return call(client, scene, "rules.setFact", &key, &rest);
    }
    let topic = format!("{family}.{}", *client.random.pick(&["ping", "arm", "write", "other"]));
    let key = new_key(client);
    let (from, seq) = (client.serial, client.keys);
    let rest =
        format!(r#""topic":"{topic}","data":{{"m":"@{family}","from":"c{from}","seq":{seq},"key":"{key}"}}"#);
    let ask = Ask::Emit { topic, seq };
    client.ask(scene.now, scene.trace, ask, "rules.emit", &rest);
}

fn administer(client: &mut Client, scene: &mut Scene<'_>) {
    let bucket = if client.random.chance(50) { "temp" } else { client.random.pick(&BUCKETS).0 };
    let name = format!("{bucket}-dyn{}", client.random.below(2));
    match client.random.below(6) {
        0..3 => {
            let rest = format!(r#""name":"{name}","config":{{"bucket":"{bucket}"}}"#);
            call(client, scene, "store.defineQuery", &name, &rest);
        }
        3 => call(client, scene, "store.undefineQuery", &name, &format!(r#""name":"{name}""#)),
        4 => call(client, scene, "store.dropBucket", "temp", r#""name":"temp""#),
        _ => {
            let rest = format!(r#""name":"temp","config":{}"#, crate::plan::bucket(""));
            call(client, scene, "store.defineBucket", "temp", &rest);
        }
    }
}

fn nonsense(client: &mut Client, scene: &mut Scene<'_>) {
    let text =
        *client.random.pick(&["", "x", "{}", "[]", r#"{"id":"7","type":"store.get"}"#, "{\"a\":", "7"]);
    client.send_nonsense(scene.now, scene.trace, text);
}

/// Many requests at once.
fn flood(client: &mut Client, scene: &mut Scene<'_>) {
    for _ in 0..client.random.between(20, 300) {
        if client.random.chance(50) {
            call(client, scene, "store.all", "ring", r#""bucket":"ring""#);
        } else {
            update(client, scene);
        }
    }
}

/// Goes, in one way or another.
fn leave(client: &mut Client, scene: &mut Scene<'_>) {
    let (now, way) = (scene.now, client.random.below(8));
    scene.trace.note(now, client.serial, "leaves", &way.to_string());
    client.spoiled = true;
    match way {
        0 => client.send(now, scene.trace, frame::CLOSE, &3000_u16.to_be_bytes()),
        1 => client.link.iter().for_each(|link| link.end()),
        2 => client.send(now, scene.trace, frame::BINARY, b"binary"),
        3 => client.send(now, scene.trace, frame::TEXT, &[b'x'; 5000]),
        4 => client.send(now, scene.trace, frame::TEXT, &[0xC3, 0x28]),
        5 => client.send_raw(&[0x81, 0x01, b'x']),
        // A hole in the network: it neither reads nor ends.
        6 => client.pause(None),
        _ => {
            client.stage = Stage::Gone;
            client.link = None;
        }
    }
}
