//! What calls answer. Members stand in the order of the specification.

use crate::{
    row::{Role, User, millis, permissions, text},
    state::{SUPERADMIN, State},
};
use noex_json::{Object, Value};

pub(crate) fn object<const N: usize>(members: [(&'static str, Value); N]) -> Object {
    members.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// `{"<member>":true}`
pub(crate) fn done(member: &'static str) -> String {
    Value::from(object([(member, true.into())])).to_json()
}

/// A user as clients see him.
pub(crate) fn user_info(user: &User) -> Value {
    let mut out = object([("id", text(&user.id)), ("username", text(&user.username))]);
    set_text(&mut out, "displayName", user.display_name.as_deref());
    set_text(&mut out, "email", user.email.as_deref());
    out.set("enabled", user.enabled);
    if let Some(metadata) = &user.metadata {
        out.set("metadata", metadata.clone());
    }
    out.set("_createdAt", millis(user.created_ms));
    out.set("_updatedAt", millis(user.updated_ms));
    out.into()
}

pub(crate) fn role_info(role: &Role) -> Value {
    let mut out = object([("id", text(&role.id)), ("name", text(&role.name))]);
    set_text(&mut out, "description", role.description.as_deref());
    out.set("system", role.system);
    out.set("permissions", permissions(role));
    out.set("_createdAt", millis(role.created_ms));
    out.set("_updatedAt", millis(role.updated_ms));
    out.into()
}

pub(crate) fn roles<'a>(roles: impl Iterator<Item = &'a Role>) -> String {
    Value::from(object([("roles", roles.map(role_info).collect::<Vec<_>>().into())])).to_json()
}

pub(crate) fn login(state: &State, user_id: &str, token: &str, expires_ms: u64) -> String {
    let user = state.users.get(user_id);
    let username = user.map_or(SUPERADMIN, |user| &user.username);
    let mut shown = object([("id", text(user_id)), ("username", text(username))]);
    set_text(&mut shown, "displayName", user.and_then(|user| user.display_name.as_deref()));
    shown.set("roles", state.roles_of(user_id).map(|role| text(&role.name)).collect::<Vec<_>>());
    let out = object([("token", text(token)), ("expiresAt", millis(expires_ms)), ("user", shown.into())]);
    Value::from(out).to_json()
}

fn set_text(out: &mut Object, name: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        out.set(name, value);
    }
}
