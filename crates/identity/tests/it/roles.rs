//! Roles and assignments: answers, errors in their order, effects.

use crate::bench::{Bench, START_MS, member, settings};
use crate::{forbidden, invalid, missing, refused};
use noex_core::{Code, IdentityCall as C};
use noex_identity::{Notice, SUPERADMIN};
use noex_json::{Value, parse};

fn create(name: &str, permissions: &str) -> C {
    let permissions = parse(permissions, 16).unwrap().as_array().unwrap().to_vec();
    C::CreateRole { name: name.into(), description: Some("d".into()), permissions }
}

fn assign(user_id: &str, role_name: &str) -> C {
    C::AssignRole { user_id: user_id.into(), role_name: role_name.into() }
}

fn remove(user_id: &str, role_name: &str) -> C {
    C::RemoveRole { user_id: user_id.into(), role_name: role_name.into() }
}

#[test]
fn system_roles() {
    let mut bench = Bench::new(settings());
    let mut root = bench.root();
    let json = bench.call(&mut root, C::ListRoles).unwrap();
    let value = parse(&json, 16).unwrap();
    let roles = value.as_object().unwrap().get("roles").unwrap().as_array().unwrap().to_vec();
    let names: Vec<String> = roles.iter().map(|role| member(&role.to_json(), "name")).collect();
    assert_eq!(names, ["superadmin", "admin", "writer", "reader"]);
    let id = member(&roles[0].to_json(), "id");
    assert_eq!(
        roles[0].to_json(),
        format!(
            r#"{{"id":"{id}","name":"superadmin","description":"Full access to everything including identity management","system":true,"permissions":[{{"allow":"*"}}],"_createdAt":{START_MS},"_updatedAt":{START_MS}}}"#
        )
    );
    assert_eq!(
        roles[3].as_object().unwrap().get("permissions").unwrap().to_json(),
        concat!(
            r#"[{"allow":["store.get","store.all","store.where","store.findOne","store.count"]},"#,
            r#"{"allow":["store.first","store.last","store.paginate"]},"#,
            r#"{"allow":["store.sum","store.avg","store.min","store.max"]},"#,
            r#"{"allow":["store.subscribe","store.unsubscribe","store.buckets","store.stats"]},"#,
            r#"{"allow":["rules.getFact","rules.queryFacts","rules.getAllFacts"]},"#,
            r#"{"allow":["rules.subscribe","rules.unsubscribe","rules.stats"]},"#,
            r#"{"allow":["procedures.get"]}]"#
        )
    );
    // Nothing is missing, so nothing is made again.
    assert!(bench.identity.bootstrap(&mut bench.world).is_empty());
    for role in &roles {
        let role_id = member(&role.to_json(), "id");
        let call = C::DeleteRole { role_id: role_id.clone() };
        assert_eq!(bench.call(&mut root, call), forbidden("Cannot delete system role"));
        let call =
            C::UpdateRole { role_id, description: Some(Some("x".into())), permissions: Some(Vec::new()) };
        assert!(
            bench
                .call(&mut root, call)
                .unwrap()
                .contains(r#""description":"x","system":true,"permissions":[]"#)
        );
    }
}

#[test]
fn creating_changing_and_deleting() {
    let mut bench = Bench::new(settings());
    let mut root = bench.root();
    let name = invalid("Role name must be between 1 and 64 characters");
    assert_eq!(bench.call(&mut root, create(&"x".repeat(65), "[1]")), name);
    assert_eq!(bench.call(&mut root, create("", "[]")), name);
    let malformed = |at| invalid(&format!("Invalid \"permissions[{at}]\": expected object with \"allow\""));
    assert_eq!(bench.call(&mut root, create("reader", "[1]")), malformed(0));
    assert_eq!(bench.call(&mut root, create("ops", r#"[{"allow":"*"},{"allow":[1]}]"#)), malformed(1));
    let exists = refused(Code::AlreadyExists, "Role \"reader\" already exists");
    assert_eq!(bench.call(&mut root, create("reader", "[]")), exists);
    let permissions = r#"[{"allow":["store.get"],"buckets":["t"]}]"#;
    let role = bench.call(&mut root, create("ops", permissions)).unwrap();
    let id = member(&role, "id");
    assert_eq!(
        role,
        format!(
            r#"{{"id":"{id}","name":"ops","description":"d","system":false,"permissions":{permissions},"_createdAt":{START_MS},"_updatedAt":{START_MS}}}"#
        )
    );
    bench.world.now_ms += 7;
    let update = |role_id: &str, permissions: Option<Vec<Value>>| C::UpdateRole {
        role_id: role_id.into(),
        description: Some(None),
        permissions,
    };
    assert_eq!(bench.call(&mut root, update("zz", None)), missing("Role not found"));
    assert_eq!(bench.call(&mut root, update(&id, Some(vec![Value::Null]))), malformed(0));
    let changed = bench.call(&mut root, update(&id, Some(Vec::new()))).unwrap();
    let now_ms = START_MS + 7;
    assert_eq!(
        changed,
        format!(
            r#"{{"id":"{id}","name":"ops","system":false,"permissions":[],"_createdAt":{START_MS},"_updatedAt":{now_ms}}}"#
        )
    );
    assert_eq!(bench.notices, [Notice::AccessChanged]);
    // Its assignments and access entries go with it.
    let ann = bench.user("ann", &["reader", "ops"]);
    let before = bench.records.len();
    let on = crate::bench::resource("bucket", "t");
    bench.call(&mut root, crate::bench::grant(crate::bench::subject("role", &id), on, &["read"])).unwrap();
    let delete = C::DeleteRole { role_id: id };
    assert_eq!(bench.call(&mut root, delete.clone()), Ok(r#"{"deleted":true}"#.into()));
    let notices = [Notice::RolesChanged { user_ids: vec![ann.clone()] }, Notice::AccessChanged];
    assert_eq!(bench.notices, notices);
    assert_eq!(bench.records.len(), before - 2);
    assert_eq!(bench.identity.role_names(&ann), ["reader"]);
    assert_eq!(bench.call(&mut root, delete), missing("Role not found"));
    assert!(bench.reloaded().records().eq(bench.identity.records()));
}

#[test]
fn assigning_and_removing() {
    let mut bench = Bench::new(settings());
    bench.role("ops", "[]");
    let ann = bench.user("ann", &[]);
    let mut root = bench.root();
    assert_eq!(bench.call(&mut root, assign("zz", "zz")), missing("User not found"));
    assert_eq!(bench.call(&mut root, assign(SUPERADMIN, "ops")), missing("User not found"));
    assert_eq!(bench.call(&mut root, assign(&ann, "zz")), missing("Role \"zz\" not found"));
    assert_eq!(bench.call(&mut root, assign(&ann, "ops")), Ok(r#"{"assigned":true}"#.into()));
    assert_eq!(bench.notices, [Notice::RolesChanged { user_ids: vec![ann.clone()] }]);
    let has = refused(Code::AlreadyExists, "User already has role \"ops\"");
    assert_eq!(bench.call(&mut root, assign(&ann, "ops")), has);
    assert_eq!(bench.identity.role_names(&ann), ["ops"]);
    let of = |user_id: &str| C::GetUserRoles { user_id: user_id.into() };
    assert!(bench.call(&mut root, of(&ann)).unwrap().starts_with(r#"{"roles":[{"id":"#));
    assert!(bench.call(&mut root, of(SUPERADMIN)).unwrap().contains(r#""name":"superadmin""#));
    assert_eq!(bench.call(&mut root, of("zz")), missing("User not found"));
    assert_eq!(bench.call(&mut root, remove("zz", "zz")), missing("Role \"zz\" not found"));
    let has_not = missing("User does not have role \"ops\"");
    assert_eq!(bench.call(&mut root, remove("zz", "ops")), has_not);
    assert_eq!(bench.call(&mut root, remove(&ann, "ops")), Ok(r#"{"removed":true}"#.into()));
    assert_eq!(bench.call(&mut root, remove(&ann, "ops")), has_not);
    assert!(bench.identity.role_names(&ann).is_empty());
}

#[test]
fn only_a_superadmin_touches_superadmins() {
    let mut bench = Bench::new(settings());
    let (adam, sara) = (bench.user("adam", &["admin"]), bench.user("sara", &["reader", "superadmin"]));
    let mut peer = bench.logged_in("adam");
    let required = forbidden("Superadmin role required");
    let calls = [
        assign(&adam, "superadmin"),
        assign(&sara, "writer"),
        remove(&sara, "superadmin"),
        remove(&sara, "reader"),
        C::ResetPassword { user_id: sara.clone(), new_password: "new-password-1".into() },
        C::DisableUser { user_id: sara.clone() },
        C::EnableUser { user_id: sara.clone() },
        C::DeleteUser { user_id: sara.clone() },
        C::UpdateUser { user_id: sara.clone(), changes: noex_core::UserChanges::default() },
    ];
    for call in &calls {
        assert_eq!(bench.call(&mut peer, call.clone()), required, "{call:?}");
    }
    let has = refused(Code::AlreadyExists, "User already has role \"superadmin\"");
    assert_eq!(bench.call(&mut peer, assign(&sara, "superadmin")), has);
    // Also while the holder is disabled, and by no other way round.
    let mut root = bench.root();
    bench.call(&mut root, C::DisableUser { user_id: sara.clone() }).unwrap();
    assert_eq!(bench.call(&mut peer, C::EnableUser { user_id: sara.clone() }), required);
    bench.call(&mut root, C::EnableUser { user_id: sara.clone() }).unwrap();
    // A superadmin may.
    let mut sara_peer = bench.logged_in("sara");
    for call in [assign(&adam, "superadmin"), remove(&adam, "superadmin")] {
        assert!(bench.call(&mut sara_peer, call).is_ok());
    }
}
