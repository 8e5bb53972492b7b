use super::*;

fn issue(field: &str, message: &str, code: &'static str) -> Issue {
    Issue { field: field.to_owned(), message: message.to_owned(), code }
}

fn conflict(reason: ConflictReason) -> StoreError {
    StoreError::Conflict { bucket: "u".to_owned(), key: "a".into(), reason }
}

#[test]
fn texts_and_details_are_those_of_the_protocol() {
    let (bucket, field) = ("b".to_owned(), "f".to_owned());
    let table = [
        (
            StoreError::Validation {
                bucket: bucket.clone(),
                issues: vec![
                    issue("id", "Field is required", "required"),
                    issue("a[0].q", "Minimum value is 1", "min"),
                ],
            },
            r#"Validation failed for bucket "b": id: Field is required; a[0].q: Minimum value is 1"#,
            Some(
                r#"[{"field":"id","message":"Field is required","code":"required"},{"field":"a[0].q","message":"Minimum value is 1","code":"min"}]"#,
            ),
        ),
        (
            StoreError::Unique { bucket: bucket.clone(), field: field.clone(), value: 1.5.into() },
            r#"Unique constraint violation in bucket "b": field "f" already has value "1.5""#,
            Some(r#"{"bucket":"b","field":"f","value":1.5}"#),
        ),
        (
            StoreError::DuplicateKey { bucket: bucket.clone(), field, key: "k".into() },
            r#"Record with key "k" already exists in bucket "b""#,
            Some(r#"{"bucket":"b","field":"f","value":"k"}"#),
        ),
        (
            StoreError::DuplicateInBatch { bucket: bucket.clone(), key: 50.0.into() },
            r#"Duplicate key "50" in batch for bucket "b""#,
            None,
        ),
        (
            StoreError::RecordNotFound { bucket: bucket.clone(), key: "zz".into() },
            r#"Record with key "zz" not found in bucket "b""#,
            None,
        ),
        (StoreError::BucketNotDefined { bucket: bucket.clone() }, r#"Bucket "b" is not defined"#, None),
        (StoreError::BucketDoesNotExist { bucket: bucket.clone() }, r#"Bucket "b" does not exist"#, None),
        (StoreError::BucketExists { bucket }, r#"Bucket "b" already exists"#, None),
        (StoreError::QueryNotDefined { query: "q".to_owned() }, r#"Query "q" is not defined"#, None),
        (StoreError::QueryExists { query: "q".to_owned() }, r#"Query "q" is already defined"#, None),
        (
            conflict(ConflictReason::AlreadyExists),
            r#"Transaction conflict in bucket "u" for key "a": Record with key "a" already exists"#,
            Some(r#"{"bucket":"u","key":"a"}"#),
        ),
        (
            conflict(ConflictReason::NotFound),
            r#"Transaction conflict in bucket "u" for key "a": Record with key "a" not found"#,
            Some(r#"{"bucket":"u","key":"a"}"#),
        ),
        (
            conflict(ConflictReason::VersionMismatch { expected: 1, actual: 2 }),
            r#"Transaction conflict in bucket "u" for key "a": Version mismatch: expected 1, got 2"#,
            Some(r#"{"bucket":"u","key":"a"}"#),
        ),
        (
            StoreError::ReferenceMissing {
                source_bucket: "posts".to_owned(),
                source_field: "a".to_owned(),
                target_bucket: "authors".to_owned(),
                target_key: "9".into(),
            },
            r#"Foreign key violation in bucket "posts": field "a" references bucket "authors" with key "9", but no such record exists"#,
            None,
        ),
        (
            StoreError::ReferenceRestricted {
                source_bucket: "posts".to_owned(),
                source_key: "p1".into(),
                source_field: "a".to_owned(),
                target_bucket: "authors".to_owned(),
                target_key: "1".into(),
            },
            r#"Cannot delete from bucket "authors" (key "1"): referenced by bucket "posts" (key "p1") via field "a""#,
            None,
        ),
        (StoreError::InvalidDefinition("whole text".to_owned()), "whole text", None),
        (StoreError::InvalidFilter("what".to_owned()), "Invalid filter: what", None),
        (
            StoreError::InvalidQuery { query: "q".to_owned(), problem: "sort must be an object".to_owned() },
            r#"Invalid query "q": sort must be an object"#,
            None,
        ),
        (StoreError::LimitReached { max: 2, kind: "buckets" }, "Limit reached: at most 2 buckets", None),
    ];
    for (error, text, details) in table {
        assert_eq!(error.to_string(), text);
        assert_eq!(error.details().map(|value| value.to_json()).as_deref(), details, "{text}");
    }
}
