//! Laws over random procedures.

use crate::world::{World, value};
use noex_procedures::{CallError, Limits, Procedure};
use proptest::{prelude::*, sample::select};

/// A template or a literal.
fn template() -> impl Strategy<Value = &'static str> {
    select(vec![
        "1",
        "null",
        r#""x""#,
        r#""{{input.n}}""#,
        r#""{{input}}""#,
        r#""{{a}}""#,
        r#""{{b.0}}""#,
        r#""{{b.length}}{{a}}""#,
        r#"{"k":"{{a}}","l":["{{b}}"]}"#,
        r#""{{c.n}}""#,
        r#""{{nowhere.x}}""#,
    ])
}

fn name() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c"])
}

fn step() -> impl Strategy<Value = String> {
    let bucket = || select(vec!["one", "two", "gone"]);
    let leaf = prop_oneof![
        (bucket(), template(), name()).prop_map(|(bucket, value, into)| format!(
            r#"{{"action":"store.insert","bucket":"{bucket}","data":{{"id":{value},"n":{value}}},"as":"{into}"}}"#
        )),
        (bucket(), template(), name()).prop_map(|(bucket, value, into)| format!(
            r#"{{"action":"store.where","bucket":"{bucket}","filter":{{"n":{value}}},"as":"{into}"}}"#
        )),
        (bucket(), template()).prop_map(|(bucket, value)| format!(
            r#"{{"action":"store.update","bucket":"{bucket}","key":"{{{{a.id}}}}","data":{{"n":{value}}}}}"#
        )),
        (bucket(), name()).prop_map(|(bucket, into)| format!(
            r#"{{"action":"store.findOne","bucket":"{bucket}","filter":{{}},"as":"{into}"}}"#
        )),
        bucket().prop_map(|bucket| format!(
            r#"{{"action":"store.delete","bucket":"{bucket}","key":"{{{{input.n}}}}"}}"#
        )),
        (name(), name(), select(vec!["sum", "avg", "min", "max", "count"])).prop_map(|(from, into, op)| format!(
            r#"{{"action":"aggregate","source":"{from}","as":"{into}","op":"{op}","field":"n"}}"#
        )),
        (name(), name(), select(vec!["map", "filter", "pick", "pluck"]), template()).prop_map(
            |(from, into, operation, value)| format!(
                r#"{{"action":"transform","source":"{from}","as":"{into}","operation":"{operation}","args":{{"n":{value}}}}}"#
            )
        ),
        template().prop_map(|value| format!(r#"{{"action":"rules.setFact","key":"f","value":{value}}}"#)),
        name().prop_map(|into| format!(r#"{{"action":"rules.getFact","key":"f","as":"{into}"}}"#)),
        template().prop_map(|value| format!(r#"{{"action":"return","value":{value}}}"#)),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let operator = select(vec!["eq", "neq", "gt", "gte", "lt", "lte", "exists", "not_exists"]);
        let steps = || prop::collection::vec(inner.clone(), 1..4).prop_map(|steps| steps.join(","));
        (select(vec!["a", "b.0", "input.n"]), operator, template(), steps(), steps()).prop_map(
            |(reference, operator, value, then, otherwise)| {
                format!(
                    r#"{{"action":"if","condition":{{"ref":"{reference}","operator":"{operator}","value":{value}}},
                        "then":[{then}],"else":[{otherwise}]}}"#
                )
            },
        )
    })
}

proptest! {
    /// A procedure that was accepted runs to an end within its bounds, the same way each time; what it answers can be
    /// read again.
    #[test]
    fn calls_are_total_and_deterministic(
        steps in prop::collection::vec(step(), 1..12),
        input in template(),
        bytes_max in select(vec![500_usize, 20_000, 1 << 24]),
    ) {
        let definition = value(&format!(r#"{{"name":"p","steps":[{}]}}"#, steps.join(",")));
        let limits = Limits { bytes_max, depth_max: 16, steps_max: 1000, ..Limits::default() };
        let procedure = Procedure::parse(&definition, &limits).expect("valid");
        let mut world = World { limits, ..World::with("one", r#"[{"id":1,"n":1},{"id":"x"}]"#) };
        let mut again = world.clone();
        let input = Some(value(&format!(r#"{{"n":{input}}}"#)));
        let outcome = world.call(&procedure, input.clone());
        prop_assert_eq!(&outcome, &again.call(&procedure, input));
        prop_assert_eq!(format!("{:?}", world), format!("{:?}", again));
        match outcome {
            Ok(outcome) => {
                let text = outcome.to_json();
                prop_assert_eq!(value(&text).to_json(), text);
            }
            Err(CallError::Engine(_) | CallError::Step(_)) => {}
            Err(error) => prop_assert!(false, "{:?}", error),
        }
    }
}
