//! The closed table of operations: their names and tiers.

use alloc::string::String;

/// How much a role must be trusted to run an operation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Tier {
    /// Looks at data.
    Read,
    /// Changes data.
    Write,
    /// Changes structure, or looks at the server itself.
    Admin,
}

impl Tier {
    /// The name that messages show.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident $name:literal $tier:expr;)*) => {
        /// Every operation of the protocol, served or not.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Operation {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Operation {
            /// All operations.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Finds an operation by its exact name.
            #[must_use]
            pub fn by_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The tier; `None` = no role is asked for.
            #[must_use]
            pub const fn tier(self) -> Option<Tier> {
                match self {
                    $(Self::$variant => $tier,)*
                }
            }
        }
    };
}

const READ: Option<Tier> = Some(Tier::Read);
const WRITE: Option<Tier> = Some(Tier::Write);
const ADMIN: Option<Tier> = Some(Tier::Admin);

operations! {
    StoreGet "store.get" READ;
    StoreInsert "store.insert" WRITE;
    StoreUpdate "store.update" WRITE;
    StoreDelete "store.delete" WRITE;
    StoreAll "store.all" READ;
    StoreWhere "store.where" READ;
    StoreFindOne "store.findOne" READ;
    StoreCount "store.count" READ;
    StoreFirst "store.first" READ;
    StoreLast "store.last" READ;
    StorePaginate "store.paginate" READ;
    StoreClear "store.clear" WRITE;
    StoreSum "store.sum" READ;
    StoreAvg "store.avg" READ;
    StoreMin "store.min" READ;
    StoreMax "store.max" READ;
    StoreBuckets "store.buckets" READ;
    StoreStats "store.stats" READ;
    StoreSubscribe "store.subscribe" READ;
    StoreUnsubscribe "store.unsubscribe" READ;
    StoreSnapshot "store.snapshot" READ;
    StoreTransaction "store.transaction" WRITE;
    StoreDefineBucket "store.defineBucket" ADMIN;
    StoreDropBucket "store.dropBucket" ADMIN;
    StoreUpdateBucket "store.updateBucket" ADMIN;
    StoreGetBucketSchema "store.getBucketSchema" ADMIN;
    StoreDefineQuery "store.defineQuery" ADMIN;
    StoreUndefineQuery "store.undefineQuery" ADMIN;
    StoreListQueries "store.listQueries" ADMIN;
    StorePurgeTtl "store.purgeTtl" ADMIN;
    RulesEmit "rules.emit" WRITE;
    RulesSetFact "rules.setFact" WRITE;
    RulesGetFact "rules.getFact" READ;
    RulesDeleteFact "rules.deleteFact" WRITE;
    RulesQueryFacts "rules.queryFacts" READ;
    RulesGetAllFacts "rules.getAllFacts" READ;
    RulesSubscribe "rules.subscribe" READ;
    RulesUnsubscribe "rules.unsubscribe" READ;
    RulesStats "rules.stats" READ;
    RulesRegisterRule "rules.registerRule" ADMIN;
    RulesUnregisterRule "rules.unregisterRule" ADMIN;
    RulesUpdateRule "rules.updateRule" ADMIN;
    RulesEnableRule "rules.enableRule" ADMIN;
    RulesDisableRule "rules.disableRule" ADMIN;
    RulesGetRule "rules.getRule" ADMIN;
    RulesGetRules "rules.getRules" ADMIN;
    RulesValidateRule "rules.validateRule" ADMIN;
    AuthLogin "auth.login" None;
    AuthLogout "auth.logout" None;
    AuthWhoami "auth.whoami" None;
    ServerStats "server.stats" ADMIN;
    ServerConnections "server.connections" ADMIN;
    ServerHealth "server.health" None;
    ServerRevokeSession "server.revokeSession" ADMIN;
    ServerRevokeSessions "server.revokeSessions" ADMIN;
    ServerUnrevoke "server.unrevoke" ADMIN;
    AuditQuery "audit.query" ADMIN;
    ProceduresRegister "procedures.register" ADMIN;
    ProceduresUnregister "procedures.unregister" ADMIN;
    ProceduresUpdate "procedures.update" ADMIN;
    ProceduresGet "procedures.get" READ;
    ProceduresList "procedures.list" ADMIN;
    ProceduresCall "procedures.call" WRITE;
    IdentityLogin "identity.login" ADMIN;
    IdentityLoginWithSecret "identity.loginWithSecret" ADMIN;
    IdentityLogout "identity.logout" ADMIN;
    IdentityWhoami "identity.whoami" None;
    IdentityRefreshSession "identity.refreshSession" None;
    IdentityCreateUser "identity.createUser" ADMIN;
    IdentityGetUser "identity.getUser" None;
    IdentityUpdateUser "identity.updateUser" None;
    IdentityDeleteUser "identity.deleteUser" ADMIN;
    IdentityListUsers "identity.listUsers" None;
    IdentityEnableUser "identity.enableUser" ADMIN;
    IdentityDisableUser "identity.disableUser" ADMIN;
    IdentityChangePassword "identity.changePassword" ADMIN;
    IdentityResetPassword "identity.resetPassword" ADMIN;
    IdentityCreateRole "identity.createRole" ADMIN;
    IdentityUpdateRole "identity.updateRole" None;
    IdentityDeleteRole "identity.deleteRole" ADMIN;
    IdentityListRoles "identity.listRoles" None;
    IdentityAssignRole "identity.assignRole" ADMIN;
    IdentityRemoveRole "identity.removeRole" ADMIN;
    IdentityGetUserRoles "identity.getUserRoles" None;
    IdentityGrant "identity.grant" ADMIN;
    IdentityRevoke "identity.revoke" ADMIN;
    IdentityGetAcl "identity.getAcl" None;
    IdentityMyAccess "identity.myAccess" None;
    IdentityGetOwner "identity.getOwner" None;
    IdentityTransferOwner "identity.transferOwner" ADMIN;
}

/// Text of an unknown name, by its prefix.
pub(crate) fn unknown(kind: &str) -> String {
    let family = ["store", "rules", "identity", "auth", "audit", "procedures", "server"]
        .into_iter()
        .find(|family| kind.strip_prefix(family).is_some_and(|rest| rest.starts_with('.')));
    match family {
        Some(family) => alloc::format!("Unknown {family} operation \"{kind}\""),
        None => alloc::format!("Unknown operation \"{kind}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_closed_and_complete() {
        // 84 operations of the protocol and six of ours.
        assert_eq!(Operation::ALL.len(), 90);
        for operation in Operation::ALL {
            assert_eq!(Operation::by_name(operation.name()), Some(*operation));
        }
        for name in ["constructor", "Store.get", "store.get ", "store", "pong", ""] {
            assert_eq!(Operation::by_name(name), None);
        }
    }

    #[test]
    fn unknown_names_are_told_by_prefix() {
        assert_eq!(unknown("store."), "Unknown store operation \"store.\"");
        assert_eq!(unknown("storex"), "Unknown operation \"storex\"");
        assert_eq!(unknown("a.b"), "Unknown operation \"a.b\"");
    }
}
