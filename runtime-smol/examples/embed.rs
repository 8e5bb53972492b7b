//! A program with the server inside: own authenticator, own permission check.

use noex_smol::{
    FnAuthenticator, Options, Server, Session,
    core::{AuthMode, TokenMode},
};
use std::{sync::Arc, time::Duration};

fn main() -> Result<(), noex_smol::StartError> {
    let mut options = Options { host: "127.0.0.1".into(), port: 0, ..Options::default() };
    let notes = r#"{"key":"id","schema":{"id":{"type":"string","generated":"uuid"}}}"#;
    options.buckets.push(("notes".into(), notes.into()));
    options.queries.push(("all-notes".into(), r#"{"bucket":"notes"}"#.into()));
    options.connection.auth = AuthMode::Token(TokenMode::default());
    // Any async look-up: a database, another service, a signature check.
    options.authenticator = Some(Arc::new(FnAuthenticator(|token: String| async move {
        let ann = Session { user_id: "ann".into(), roles: vec!["writer".into()], ..Session::default() };
        (token == "secret").then_some(ann)
    })));
    options.permission_check = Some(Arc::new(|session: &Session, operation: &str, resource: &str| {
        session.user_id == "ann" || (operation == "store.get" && resource == "notes")
    }));
    smol::block_on(async {
        let server = Server::start(options).await?;
        println!("port {}, {} connections", server.port(), server.connection_count());
        server.stop(Duration::from_secs(1)).await;
        Ok(())
    })
}
