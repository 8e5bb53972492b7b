//! Tests of the identity management through its public interface.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod attacks;
mod bench;
mod durability;
mod grants;
mod logins;
mod model;
mod permissions;
mod roles;
mod users;

use noex_core::{Code, IdentityCall as C};

/// The error with this code and text.
fn refused(code: Code, message: &str) -> bench::Reply {
    Err((code, message.to_owned()))
}

fn forbidden(message: &str) -> bench::Reply {
    refused(Code::Forbidden, message)
}

fn invalid(message: &str) -> bench::Reply {
    refused(Code::ValidationError, message)
}

fn missing(message: &str) -> bench::Reply {
    refused(Code::NotFound, message)
}

fn unauthorized(message: &str) -> bench::Reply {
    refused(Code::Unauthorized, message)
}

/// A call of every kind but the logins, about a user.
fn all_calls(user_id: &str) -> Vec<C> {
    let (user_id, resource) = (user_id.to_owned(), bench::resource("bucket", "t"));
    let subject = bench::subject("user", &user_id);
    vec![
        C::Logout,
        C::RefreshSession,
        C::CreateUser { user: bench::new_user("new") },
        C::GetUser { user_id: user_id.clone() },
        C::UpdateUser { user_id: user_id.clone(), changes: noex_core::UserChanges::default() },
        C::DeleteUser { user_id: user_id.clone() },
        C::ListUsers { page: 1, page_size: 50 },
        C::EnableUser { user_id: user_id.clone() },
        C::DisableUser { user_id: user_id.clone() },
        C::ChangePassword {
            user_id: user_id.clone(),
            current_password: "current".into(),
            new_password: "new-password".into(),
        },
        C::ResetPassword { user_id: user_id.clone(), new_password: "new-password".into() },
        C::CreateRole { name: "new".into(), description: None, permissions: Vec::new() },
        C::UpdateRole { role_id: "r".into(), description: None, permissions: None },
        C::DeleteRole { role_id: "r".into() },
        C::ListRoles,
        C::AssignRole { user_id: user_id.clone(), role_name: "reader".into() },
        C::RemoveRole { user_id: user_id.clone(), role_name: "reader".into() },
        C::GetUserRoles { user_id: user_id.clone() },
        bench::grant(subject.clone(), resource.clone(), &["read"]),
        C::Revoke { subject, resource: resource.clone(), operations: None },
        C::GetAcl { resource: resource.clone() },
        C::MyAccess,
        C::GetOwner { resource: resource.clone() },
        C::TransferOwner { resource, new_owner_id: user_id },
    ]
}
