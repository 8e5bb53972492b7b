//! A store of one's own behind the machine's effects: a map of keys to JSON texts, in a few lines.
//!
//! No socket and no runtime: the conversation is an array. `cargo run -p noex-core --example key_value`

use noex_core::{
    Body, Code, Config, Connection, Effect, Frame, Instant, Message, Now, Peer, Refusal, Solitary, StoreCall,
};
use noex_json::Value;
use std::{collections::BTreeMap, sync::Arc};

#[expect(clippy::wildcard_enum_match_arm, reason = "this store knows two calls")]
/// Answers the calls that this little store knows.
fn execute(store: &mut BTreeMap<String, String>, call: StoreCall) -> Result<Body, Refusal> {
    match call {
        StoreCall::Insert { data, .. } => {
            let key = data.get("id").map(Value::to_json).ok_or_else(|| Refusal::validation("no \"id\""))?;
            let text = Value::from(data).to_json();
            store.insert(key, text.clone());
            Ok(Body::Owned(text))
        }
        StoreCall::Get { key, .. } => {
            Ok(store.get(&key.to_json()).map_or(Body::Static("null"), |text| Body::Owned(text.clone())))
        }
        other => Err(Refusal::new(Code::UnknownOperation, format!("not in this store: {other:?}"))),
    }
}

fn main() {
    let now = Now { mono: Instant::from_millis(0), unix_ms: 1_700_000_000_000 };
    let shared = Solitary::default();
    let mut store = BTreeMap::new();
    let mut connection = Connection::new(Arc::new(Config::default()), Peer::new("nowhere"), now);
    for text in [
        r#"{"id":1,"type":"store.insert","bucket":"any","data":{"id":"a","n":1}}"#,
        r#"{"id":2,"type":"store.get","bucket":"any","key":"a"}"#,
        r#"{"id":3,"type":"store.get","bucket":"any","key":"b"}"#,
        r#"{"id":4,"type":"store.get"}"#,
    ] {
        println!("> {text}");
        connection.handle_message(now, &shared, Message::Text(text));
        while let Some(effect) = connection.poll_effect() {
            if let Effect::Store { token, call } = effect {
                let outcome = execute(&mut store, call);
                connection.reply(now, &shared, token, outcome);
            }
        }
        while let Some(frame) = connection.poll_frame() {
            if let Frame::Text(text) = frame {
                println!("< {}", text.into_string());
            }
        }
    }
}
