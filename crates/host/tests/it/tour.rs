//! A server with the built-in identity, and the words to talk to it.

use crate::{
    client::{Client, Item, close},
    world::{World, options},
};
use noex_host::{
    IdentityOptions, Options, ProceduresOptions, RulesOptions,
    accounts::{PasswordCost, Settings},
};
use serde_json::{Value as Json, json};

/// Hashes that cost nothing, computed in place.
pub(crate) fn identity() -> IdentityOptions {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };
    let settings = Settings { password_cost, max_sessions_per_user: 2, ..Settings::new("a-long-secret") };
    IdentityOptions { hash_threads: 0, ..IdentityOptions::new(settings) }
}

pub(crate) fn with_identity() -> Options {
    let rules = RulesOptions { store_events: true, ..RulesOptions::default() };
    Options {
        identity: Some(identity()),
        rules: Some(rules),
        procedures: Some(ProceduresOptions::default()),
        ..options()
    }
}

/// A server, and the client of its superadmin.
pub(crate) struct Tour {
    pub(crate) world: World,
    pub(crate) root: Client,
}

impl Tour {
    pub(crate) fn new() -> Self {
        Self::of(with_identity())
    }

    pub(crate) fn of(options: Options) -> Self {
        let mut world = World::new(options);
        let mut root = world.connect();
        let secret = json!({"secret": "a-long-secret"});
        ok(&mut world, &mut root, "identity.loginWithSecret", secret);
        Self { world, root }
    }

    /// Asks the superadmin's way, which succeeds.
    pub(crate) fn root(&mut self, kind: &str, fields: Json) -> Json {
        ok(&mut self.world, &mut self.root, kind, fields)
    }

    /// Creates a user with roles; gives the id.
    pub(crate) fn user(&mut self, name: &str, roles: &[&str]) -> String {
        let user = self.root("identity.createUser", json!({"username": name, "password": "password"}));
        let id = user["id"].as_str().expect("an id").to_owned();
        for role in roles {
            self.root("identity.assignRole", json!({"userId": id, "roleName": role}));
        }
        id
    }

    pub(crate) fn role(&mut self, name: &str, permissions: Json) {
        self.root("identity.createRole", json!({"name": name, "permissions": permissions}));
    }

    pub(crate) fn grant(&mut self, user: &str, kind: &str, name: &str, operations: &[&str]) {
        let subject = json!({"subjectType": "user", "subjectId": user, "resourceType": kind,
            "resourceName": name, "operations": operations});
        self.root("identity.grant", subject);
    }

    pub(crate) fn revoke(&mut self, user: &str, kind: &str, name: &str) {
        let subject =
            json!({"subjectType": "user", "subjectId": user, "resourceType": kind, "resourceName": name});
        self.root("identity.revoke", subject);
    }

    pub(crate) fn login(&mut self, name: &str) -> Client {
        self.login_with_token(name).0
    }

    pub(crate) fn login_with_token(&mut self, name: &str) -> (Client, String) {
        let mut client = self.world.connect();
        let fields = json!({"username": name, "password": "password"});
        let answer = ok(&mut self.world, &mut client, "identity.login", fields);
        (client, answer["token"].as_str().expect("a token").to_owned())
    }

    pub(crate) fn ok(&mut self, client: &mut Client, kind: &str, fields: Json) -> Json {
        ok(&mut self.world, client, kind, fields)
    }

    /// Asks for what is refused; gives code and message.
    pub(crate) fn refused(&mut self, client: &mut Client, kind: &str, fields: Json) -> String {
        let answer = ask(&mut self.world, client, kind, fields);
        assert_eq!(answer["type"], "error", "{kind}: {answer}");
        format!(
            "{} {}",
            answer["code"].as_str().expect("a code"),
            answer["message"].as_str().expect("a text")
        )
    }

    pub(crate) fn no_access(&mut self, client: &mut Client, kind: &str, fields: Json, resource: &str) {
        let expected = format!("FORBIDDEN No access to {kind} on {resource}");
        assert_eq!(self.refused(client, kind, fields), expected);
    }

    /// What has come without being asked for.
    pub(crate) fn news(&mut self, client: &mut Client) -> Vec<Json> {
        self.world.exchange(client).iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
    }

    pub(crate) fn assert_revoked(&mut self, client: &mut Client) {
        self.world.run();
        let items = client.received();
        let notice = matches!(items.first(), Some(Item::Text(text)) if text.contains("session_revoked"));
        assert!(notice && items.get(1) == Some(&close(4002, "session_revoked")), "{items:?}");
    }
}

/// Sends a request and gives its answer; pushes before and after it are dropped.
pub(crate) fn ask(world: &mut World, client: &mut Client, kind: &str, mut fields: Json) -> Json {
    fields["id"] = json!(77);
    fields["type"] = json!(kind);
    let seen = world.ask(client, &fields.to_string());
    let answers = seen.iter().map(|text| serde_json::from_str::<Json>(text).expect("JSON"));
    answers.rev().find(|answer| answer["id"] == 77).unwrap_or_else(|| panic!("{kind}: {seen:?}"))
}

pub(crate) fn ok(world: &mut World, client: &mut Client, kind: &str, fields: Json) -> Json {
    let answer = ask(world, client, kind, fields);
    assert_eq!(answer["type"], "result", "{kind}: {answer}");
    answer["data"].clone()
}

pub(crate) fn define(name: &str) -> Json {
    json!({"name": name, "config": {"key": "id", "schema": {"id": {"type": "string", "required": true}}}})
}
