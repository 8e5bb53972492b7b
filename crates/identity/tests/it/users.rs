//! Users and passwords: answers, errors in their order, effects.

use crate::bench::{Bench, Peer, START_MS, login, member, new_user, settings};
use crate::{all_calls, forbidden, invalid, missing, refused, unauthorized};
use noex_core::{Code, IdentityCall as C, NewUser, UserChanges};
use noex_identity::{Notice, SUPERADMIN, Settings};
use noex_json::{Object, Value, parse};

fn object(text: &str) -> Object {
    parse(text, 16).unwrap().as_object().unwrap().clone()
}

fn create(user: NewUser) -> C {
    C::CreateUser { user }
}

fn get(user_id: &str) -> C {
    C::GetUser { user_id: user_id.into() }
}

#[test]
fn nobody_may_do_anything_without_a_login() {
    let mut bench = Bench::new(settings());
    let id = bench.user("ann", &[]);
    for call in all_calls(&id) {
        assert_eq!(bench.call(&mut Peer::at("x"), call), unauthorized("Authentication required"));
    }
}

#[test]
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest needs no role")]
fn needed_roles() {
    let mut bench = Bench::new(settings());
    bench.user("plain", &[]);
    bench.user("adam", &["admin"]);
    let (mut plain, mut adam) = (bench.logged_in("plain"), bench.logged_in("adam"));
    for call in all_calls("nobody") {
        let (admin, superadmin) = match &call {
            C::CreateRole { .. } | C::UpdateRole { .. } | C::DeleteRole { .. } => (false, true),
            C::CreateUser { .. }
            | C::GetUser { .. }
            | C::UpdateUser { .. }
            | C::DeleteUser { .. }
            | C::ListUsers { .. }
            | C::EnableUser { .. }
            | C::DisableUser { .. }
            | C::ResetPassword { .. }
            | C::ListRoles
            | C::AssignRole { .. }
            | C::RemoveRole { .. }
            | C::GetUserRoles { .. } => (true, false),
            _ => continue,
        };
        let superadmin_required = forbidden("Superadmin role required");
        let expected = if admin { forbidden("Admin role required") } else { superadmin_required.clone() };
        assert_eq!(bench.call(&mut plain, call.clone()), expected, "{call:?}");
        let by_admin = bench.call(&mut adam, call.clone());
        assert_eq!(by_admin == superadmin_required, superadmin, "{call:?}: {by_admin:?}");
    }
}

#[test]
fn creating_and_reading() {
    let mut bench = Bench::new(settings());
    let mut root = bench.root();
    let user = NewUser {
        display_name: Some("Ann".into()),
        email: Some("ann@example.org".into()),
        metadata: Some(object(r#"{"k":[1]}"#)),
        ..new_user("ann")
    };
    let created = bench.call(&mut root, create(user)).unwrap();
    let id = member(&created, "id");
    assert_eq!(
        created,
        format!(
            r#"{{"id":"{id}","username":"ann","displayName":"Ann","email":"ann@example.org","enabled":true,"metadata":{{"k":[1]}},"_createdAt":{START_MS},"_updatedAt":{START_MS}}}"#
        )
    );
    assert_eq!(bench.call(&mut root, get(&id)), Ok(created));
    let bob = NewUser { enabled: Some(false), ..new_user("bob") };
    let bob = bench.call(&mut root, create(bob)).unwrap();
    let id = member(&bob, "id");
    assert_eq!(
        bob,
        format!(
            r#"{{"id":"{id}","username":"bob","enabled":false,"_createdAt":{START_MS},"_updatedAt":{START_MS}}}"#
        )
    );
    assert_eq!(bench.call(&mut root, get("zz")), missing("User not found"));
    assert_eq!(bench.call(&mut root, get(SUPERADMIN)), missing("User not found"));
}

#[test]
fn errors_of_creating_in_order() {
    let mut bench = Bench::new(settings());
    bench.user("ann", &[]);
    let mut root = bench.root();
    let mut user = NewUser {
        username: "ab".into(),
        password: "1234567".into(),
        email: Some("a@b".into()),
        ..NewUser::default()
    };
    let name = invalid("Username must be between 3 and 64 characters");
    assert_eq!(bench.call(&mut root, create(user.clone())), name);
    user.username = "x".repeat(65);
    assert_eq!(bench.call(&mut root, create(user.clone())), name);
    user.username = "ann".into();
    let short = invalid("Password must be at least 8 characters");
    assert_eq!(bench.call(&mut root, create(user.clone())), short);
    user.password = "\u{1F600}".repeat(3); // six code units
    assert_eq!(bench.call(&mut root, create(user.clone())), short);
    user.password = "x".repeat(1025);
    assert_eq!(bench.call(&mut root, create(user.clone())), invalid("Password must be at most 1024 bytes"));
    user.password = "x".repeat(1024);
    let exists = refused(Code::AlreadyExists, "User \"ann\" already exists");
    assert_eq!(bench.call(&mut root, create(user.clone())), exists);
    user.username = SUPERADMIN.into();
    let exists = refused(Code::AlreadyExists, "User \"__superadmin__\" already exists");
    assert_eq!(bench.call(&mut root, create(user.clone())), exists);
    user.username = "x".repeat(64);
    for email in ["", "a", "@", "a@b", "a@.b", "a@b.", "@b.c", "a@b@c.d", "a b@c.d", "a@b.c "] {
        user.email = Some(email.into());
        let wrong = invalid("Validation failed for bucket \"_users\": email: Invalid email format");
        assert_eq!(bench.call(&mut root, create(user.clone())), wrong, "{email}");
    }
    user.email = Some("a@b.c".into());
    assert!(bench.call(&mut root, create(user)).is_ok());
}

#[test]
fn a_shorter_password_is_allowed_if_configured() {
    let mut bench = Bench::new(Settings { password_min_length: 1, ..settings() });
    let mut root = bench.root();
    assert!(bench.call(&mut root, create(NewUser { password: "x".into(), ..new_user("ann") })).is_ok());
}

#[test]
fn the_state_is_checked_again_after_the_hash() {
    let mut bench = Bench::new(settings());
    bench.user("adam", &["admin"]);
    let eve_id = bench.user("eve", &["admin"]);
    let (mut adam, mut eve) = (bench.logged_in("adam"), bench.logged_in("eve"));
    let start = |bench: &mut Bench, peer: &Peer, name: &str| match bench.identity.call(
        &peer.caller,
        create(new_user(name)),
        &mut bench.world,
    ) {
        noex_identity::Step::Work { job, then } => (job.run(), then),
        noex_identity::Step::Done(outcome) => panic!("{outcome:?}"),
    };
    // Somebody else takes the name.
    let (result, then) = start(&mut bench, &adam, "carl");
    assert!(bench.call(&mut eve, create(new_user("carl"))).is_ok());
    let step = bench.identity.resume(then, result, &mut bench.world);
    let exists = refused(Code::AlreadyExists, "User \"carl\" already exists");
    assert_eq!(bench.finish(&mut adam, step), exists);
    // The caller loses his role.
    let (result, then) = start(&mut bench, &eve, "dora");
    let remove = C::RemoveRole { user_id: eve_id, role_name: "admin".into() };
    assert!(bench.call(&mut adam, remove).is_ok());
    let step = bench.identity.resume(then, result, &mut bench.world);
    assert_eq!(bench.finish(&mut eve, step), forbidden("Admin role required"));
}

#[test]
fn listing() {
    let mut bench = Bench::new(settings());
    let ids: Vec<String> = ["ann", "bob", "cat"].iter().map(|name| bench.user(name, &[])).collect();
    let mut root = bench.root();
    let mut list = |page, page_size| {
        let json = bench.call(&mut root, C::ListUsers { page, page_size }).unwrap();
        let value = parse(&json, 16).unwrap();
        let value = value.as_object().unwrap();
        let number = |name: &str| value.get(name).and_then(Value::as_number).unwrap();
        let users = value.get("users").and_then(Value::as_array).unwrap();
        let users: Vec<String> = users.iter().map(|user| member(&user.to_json(), "id")).collect();
        let names: Vec<String> = value.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["users", "total", "page", "pageSize"]);
        (users, number("total"), number("page"), number("pageSize"))
    };
    assert_eq!(list(1, 50), (ids.clone(), 3.0, 1.0, 50.0));
    assert_eq!(list(2, 2), (ids[2..].to_vec(), 3.0, 2.0, 2.0));
    assert_eq!(list(9, 2).0, Vec::<String>::new());
    assert_eq!(list(u64::MAX, u64::MAX).0, Vec::<String>::new());
    assert_eq!(list(0, 0), (ids[..1].to_vec(), 3.0, 1.0, 1.0));
    assert_eq!(list(1, 1000).3, 200.0);
}

#[test]
fn updating() {
    let mut bench = Bench::new(settings());
    let (ann_id, bob_id) = (bench.user("ann", &[]), bench.user("bob", &[]));
    let (mut ann, mut root) = (bench.logged_in("ann"), bench.root());
    let update = |user_id: &str, changes| C::UpdateUser { user_id: user_id.into(), changes };
    let nothing = UserChanges::default();
    // Who may, before whether the user exists.
    let required = forbidden("Admin role required");
    assert_eq!(bench.call(&mut ann, update(&bob_id, nothing.clone())), required);
    assert_eq!(bench.call(&mut ann, update("zz", nothing.clone())), required);
    assert_eq!(bench.call(&mut root, update("zz", nothing.clone())), missing("User not found"));
    assert_eq!(bench.call(&mut root, update(SUPERADMIN, nothing)), missing("User not found"));
    bench.world.now_ms += 5;
    let all = UserChanges {
        display_name: Some(Some("A.".into())),
        email: Some(Some("a@b.c".into())),
        metadata: Some(object(r#"{"k":null}"#)),
    };
    let now_ms = START_MS + 5;
    assert_eq!(
        bench.call(&mut ann, update(&ann_id, all)),
        Ok(format!(
            r#"{{"id":"{ann_id}","username":"ann","displayName":"A.","email":"a@b.c","enabled":true,"metadata":{{"k":null}},"_createdAt":{START_MS},"_updatedAt":{now_ms}}}"#
        ))
    );
    let wrong = UserChanges { email: Some(Some("a".into())), ..UserChanges::default() };
    let format = invalid("Validation failed for bucket \"_users\": email: Invalid email format");
    assert_eq!(bench.call(&mut ann, update(&ann_id, wrong)), format);
    let cleared = UserChanges { display_name: Some(None), email: Some(None), metadata: Some(Object::new()) };
    assert_eq!(
        bench.call(&mut root, update(&ann_id, cleared)),
        Ok(format!(
            r#"{{"id":"{ann_id}","username":"ann","enabled":true,"metadata":{{}},"_createdAt":{START_MS},"_updatedAt":{now_ms}}}"#
        ))
    );
    assert!(bench.reloaded().records().eq(bench.identity.records()));
}

#[test]
fn disabling_and_enabling() {
    let mut bench = Bench::new(settings());
    let id = bench.user("ann", &["writer"]);
    let (mut ann, mut root) = (bench.logged_in("ann"), bench.root());
    let disable = |user_id: &str| C::DisableUser { user_id: user_id.into() };
    let enable = |user_id: &str| C::EnableUser { user_id: user_id.into() };
    let virtual_one = forbidden("Cannot disable virtual superadmin");
    assert_eq!(bench.call(&mut root, disable(SUPERADMIN)), virtual_one);
    assert_eq!(bench.call(&mut root, disable("zz")), missing("User not found"));
    assert_eq!(bench.call(&mut root, enable("zz")), missing("User not found"));
    assert_eq!(bench.call(&mut root, enable(SUPERADMIN)), missing("User not found"));
    assert!(bench.call(&mut root, disable(&id)).unwrap().contains(r#""enabled":false"#));
    assert_eq!(bench.notices, [Notice::CloseUser { user_id: id.clone(), except_caller: false }]);
    // Until the connection is closed it is worth nothing, and so is its token.
    let gone = unauthorized("Authentication required");
    assert_eq!(bench.call(&mut ann, C::MyAccess), gone);
    let refused = unauthorized("Invalid or expired session");
    assert_eq!(bench.call(&mut ann, C::RefreshSession), refused);
    assert!(bench.call(&mut root, enable(&id)).unwrap().contains(r#""enabled":true"#));
    assert!(bench.notices.is_empty());
    assert!(bench.call(&mut Peer::at("x"), login("ann", "ann-password")).is_ok());
}

#[test]
fn deleting_takes_everything_along() {
    let mut bench = Bench::new(settings());
    let (ann, before) = (bench.user("ann", &["writer", "reader"]), bench.records.len());
    let mut peer = bench.logged_in("ann");
    let mut root = bench.root();
    let changes =
        bench.identity.resource_defined(&ann, noex_identity::ResourceKind::Bucket, "t", &mut bench.world);
    bench.commit(changes);
    let on = crate::bench::resource("topic", "t");
    let call = crate::bench::grant(crate::bench::subject("user", &ann), on, &["read"]);
    assert!(bench.call(&mut root, call).is_ok());
    let delete = |user_id: &str| C::DeleteUser { user_id: user_id.into() };
    assert_eq!(bench.call(&mut root, delete(SUPERADMIN)), forbidden("Cannot delete virtual superadmin"));
    assert_eq!(bench.call(&mut root, delete(&ann)), Ok(r#"{"deleted":true}"#.into()));
    assert_eq!(bench.notices, [Notice::CloseUser { user_id: ann.clone(), except_caller: false }]);
    assert_eq!(bench.call(&mut root, delete(&ann)), missing("User not found"));
    // The user and two assignments are gone; the session of this connection has come.
    assert_eq!(bench.records.len(), before - 3 + 1);
    assert_eq!(bench.call(&mut peer, C::MyAccess), missing("User not found"));
    let change = C::ChangePassword {
        user_id: ann.clone(),
        current_password: "x".into(),
        new_password: "long-enough".into(),
    };
    assert_eq!(bench.call(&mut peer, change), missing("User not found"));
    assert_eq!(
        bench.call(&mut Peer::at("x"), login("ann", "ann-password")),
        unauthorized("Invalid credentials")
    );
}

#[test]
fn changing_the_own_password() {
    let mut bench = Bench::new(settings());
    let (ann_id, bob_id) = (bench.user("ann", &[]), bench.user("bob", &[]));
    let (mut ann, mut other, mut root) = (bench.logged_in("ann"), bench.logged_in("ann"), bench.root());
    let change = |user_id: &str, current: &str, new: &str| C::ChangePassword {
        user_id: user_id.into(),
        current_password: current.into(),
        new_password: new.into(),
    };
    let own = forbidden("Can only change your own password (use resetPassword for other users)");
    assert_eq!(bench.call(&mut ann, change(&bob_id, "x", "short")), own);
    assert_eq!(bench.call(&mut root, change(&ann_id, "ann-password", "brand-new-1")), own);
    let short = invalid("Password must be at least 8 characters");
    assert_eq!(bench.call(&mut ann, change(&ann_id, "wrong", "short")), short);
    assert_eq!(bench.call(&mut root, change(SUPERADMIN, "x", "brand-new-1")), missing("User not found"));
    let wrong = unauthorized("Current password is incorrect");
    assert_eq!(bench.call(&mut ann, change(&ann_id, "wrong-one", "brand-new-1")), wrong);
    let changed = bench.call(&mut ann, change(&ann_id, "ann-password", "brand-new-1"));
    assert_eq!(changed, Ok(r#"{"changed":true}"#.into()));
    assert_eq!(bench.notices, [Notice::CloseUser { user_id: ann_id, except_caller: true }]);
    assert_eq!(ann.caller.user_id, None);
    assert_eq!(bench.call(&mut other, C::RefreshSession), unauthorized("Invalid or expired session"));
    let credentials = unauthorized("Invalid credentials");
    assert_eq!(bench.call(&mut Peer::at("x"), login("ann", "ann-password")), credentials);
    assert!(bench.call(&mut Peer::at("x"), login("ann", "brand-new-1")).is_ok());
}

#[test]
fn resetting_a_password() {
    let mut bench = Bench::new(settings());
    let id = bench.user("ann", &[]);
    let (mut ann, mut root) = (bench.logged_in("ann"), bench.root());
    let reset =
        |user_id: &str, new: &str| C::ResetPassword { user_id: user_id.into(), new_password: new.into() };
    assert_eq!(
        bench.call(&mut root, reset("zz", "short")),
        invalid("Password must be at least 8 characters")
    );
    assert_eq!(bench.call(&mut root, reset("zz", "brand-new-2")), missing("User not found"));
    assert_eq!(bench.call(&mut root, reset(SUPERADMIN, "brand-new-2")), missing("User not found"));
    assert_eq!(bench.call(&mut root, reset(&id, "brand-new-2")), Ok(r#"{"reset":true}"#.into()));
    assert_eq!(bench.notices, [Notice::CloseUser { user_id: id, except_caller: false }]);
    assert_eq!(bench.call(&mut ann, C::RefreshSession), unauthorized("Invalid or expired session"));
    assert!(bench.call(&mut Peer::at("x"), login("ann", "brand-new-2")).is_ok());
}

#[test]
fn tables_are_bounded() {
    let mut bench = Bench::new(Settings { max_records: 5, max_sessions_per_user: 1, ..settings() });
    let ids: Vec<String> = (0..5).map(|at| bench.user(&format!("user-{at}"), &[])).collect();
    let mut root = bench.root();
    let full = |what: &str| refused(Code::RateLimited, &format!("Too many {what} (limit 5)"));
    assert_eq!(bench.call(&mut root, create(new_user("one-more"))), full("users"));
    bench.role("fifth", "[]");
    let role = C::CreateRole { name: "sixth".into(), description: None, permissions: Vec::new() };
    assert_eq!(bench.call(&mut root, role), full("roles"));
    let assign = |at: usize, role: &str| C::AssignRole { user_id: ids[at].clone(), role_name: role.into() };
    for at in 0..5 {
        bench.call(&mut root, assign(at, "reader")).unwrap();
    }
    assert_eq!(bench.call(&mut root, assign(0, "writer")), full("role assignments"));
    let grant = |name: &str| {
        crate::bench::grant(
            crate::bench::subject("user", &ids[0]),
            crate::bench::resource("bucket", name),
            &["read"],
        )
    };
    for name in ["a", "b", "c", "d", "e"] {
        bench.call(&mut root, grant(name)).unwrap();
    }
    assert_eq!(bench.call(&mut root, grant("f")), full("access entries"));
    assert!(bench.call(&mut root, grant("a")).is_ok());
    // Two sessions of root, three of users; the secret always gets in.
    let mut peers: Vec<Peer> = (0..3).map(|at| bench.logged_in(&format!("user-{at}"))).collect();
    let last = login("user-4", "user-4-password");
    assert_eq!(bench.call(&mut Peer::at("x"), last.clone()), full("sessions"));
    bench.root();
    for peer in peers.iter_mut().take(2) {
        bench.call(peer, C::Logout).unwrap();
    }
    assert!(bench.call(&mut Peer::at("x"), last).is_ok());
}
