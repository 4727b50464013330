//! Patches that are none, that do not apply, or that leave something that is no state.

use serde_json::json;

use super::{Bench, JSON_PATCH, MERGE, PATH};

#[tokio::test]
async fn patches_that_do_not_apply() {
    let bench = Bench::new().await;
    for (index, operations) in [
        (0, json!([{ "op": "test", "path": "/n", "value": 3 }])),
        (0, json!([{ "op": "test", "path": "/none", "value": null }])),
        (0, json!([{ "op": "remove", "path": "/none" }])),
        (0, json!([{ "op": "replace", "path": "/none", "value": 1 }])),
        (0, json!([{ "op": "add", "path": "/none/deeper", "value": 1 }])),
        (0, json!([{ "op": "add", "path": "/list/3", "value": 1 }])),
        (0, json!([{ "op": "add", "path": "/list/01", "value": 1 }])),
        (0, json!([{ "op": "add", "path": "/list/-1", "value": 1 }])),
        (0, json!([{ "op": "add", "path": "/list/x", "value": 1 }])),
        (0, json!([{ "op": "add", "path": "/list/99999999999999999999", "value": 1 }])),
        (0, json!([{ "op": "remove", "path": "/list/-" }])),
        (0, json!([{ "op": "add", "path": "/n/x", "value": 1 }])),
        (0, json!([{ "op": "copy", "from": "/none", "path": "/x" }])),
        (0, json!([{ "op": "move", "from": "/none", "path": "/x" }])),
        (0, json!([{ "op": "move", "from": "/a", "path": "/a/b" }])),
        (0, json!([{ "op": "move", "from": "/a", "path": "/a/c" }])),
        (1, json!([{ "op": "add", "path": "/x", "value": 1 }, { "op": "test", "path": "/x", "value": 2 }])),
        (
            2,
            json!([{ "op": "remove", "path": "/n" }, { "op": "add", "path": "/y", "value": 1 },
            { "op": "remove", "path": "/n" }]),
        ),
    ] {
        let reply = bench.server.json_patch(PATH, &operations).await;
        let problem = bench.refused(&operations.to_string(), reply, 422, "patch-failed").await;
        assert_eq!(problem["operation"], index, "{operations}");
    }
}

#[tokio::test]
async fn patches_that_are_none() {
    let bench = Bench::new().await;
    for body in [
        json!({}),
        json!(null),
        json!("x"),
        json!([1]),
        json!([[]]),
        json!([{}]),
        json!([{ "op": "add" }]),
        json!([{ "op": "add", "path": "/x" }]),
        json!([{ "op": "add", "path": "x", "value": 1 }]),
        json!([{ "op": "add", "path": 1, "value": 1 }]),
        json!([{ "op": "add", "path": "/a~2", "value": 1 }]),
        json!([{ "op": "add", "path": "/a~", "value": 1 }]),
        json!([{ "op": "copy", "path": "/x" }]),
        json!([{ "op": "move", "from": "n", "path": "/x" }]),
        json!([{ "op": "ADD", "path": "/x", "value": 1 }]),
        json!([{ "op": "spell", "path": "/x", "value": 1 }]),
    ] {
        let reply = bench.server.json_patch(PATH, &body).await;
        bench.refused(&body.to_string(), reply, 400, "invalid-request").await;
    }
}

#[tokio::test]
async fn what_would_leave_something_that_is_no_state() {
    let bench = Bench::new().await;
    for value in [json!(null), json!(1), json!([]), json!("x"), json!({ "private": 1 }), json!({ "private": [] })] {
        let operations = json!([{ "op": "replace", "path": "", "value": value }]);
        let reply = bench.server.json_patch(PATH, &operations).await;
        bench.refused(&operations.to_string(), reply, 400, "invalid-request").await;
        let reply = bench.server.tell("PATCH", PATH, &[MERGE], &value).await;
        bench.refused(&format!("merge {value}"), reply, 400, "invalid-request").await;
        let reply = bench.server.tell("PUT", PATH, &[], json!({ "state": value })).await;
        bench.refused(&format!("put {value}"), reply, 400, "invalid-request").await;
        let action = json!({ "type": "x", "patch": value });
        // A patch that is null is one that is left out.
        if !value.is_null() {
            let reply = bench.server.tell("POST", &format!("{PATH}/actions"), &[], &action).await;
            bench.refused(&action.to_string(), reply, 400, "invalid-request").await;
        }
    }
    let reply = bench.server.tell("PATCH", PATH, &[JSON_PATCH], json!([{ "op": "remove", "path": "" }])).await;
    assert!(matches!(reply.status, 400 | 422), "{}", reply.text);
    bench.unchanged("the root removed").await;
}

#[tokio::test]
async fn action_types_that_are_none() {
    let bench = Bench::new().await;
    let long = "x".repeat(65);
    for kind in ["", " ", "a b", "a\nb", "a/b", "ä", "\u{0}", long.as_str()] {
        let reply = bench.server.tell("POST", &format!("{PATH}/actions"), &[], json!({ "type": kind })).await;
        let problem = bench.refused(&format!("type {kind:?}"), reply, 400, "invalid-request").await;
        assert_eq!(problem["errors"][0]["field"], "type");
    }
}

#[tokio::test]
async fn every_operation_that_is_none_is_named() {
    let bench = Bench::new().await;
    let mut operations = vec![
        json!({ "op": "spell", "path": "/x", "value": 1 }),
        json!({ "op": "add" }),
        json!({ "op": "test", "path": "/n", "value": 1 }),
        json!({ "op": "remove", "path": 5 }),
        json!({ "op": "replace", "path": "nope", "value": 1 }),
        json!(7),
        json!({ "op": "move", "path": "/a" }),
        json!({ "path": "/a" }),
    ];
    let fields = |problem: &serde_json::Value| -> Vec<String> {
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    };
    let indices = |fields: &[String]| -> Vec<usize> {
        let index = |field: &String| field.split(['[', ']']).nth(1).unwrap().parse().unwrap();
        let mut indices: Vec<usize> = fields.iter().map(index).collect();
        indices.dedup();
        indices
    };
    let reply = bench.server.json_patch(PATH, &json!(operations)).await;
    let named = fields(&bench.refused("eight operations", reply, 400, "invalid-request").await);
    assert_eq!(indices(&named), [0, 1, 3, 4, 5, 6, 7], "{named:?}");
    assert!(named[0].ends_with("[0].op"), "{named:?}");
    let action = json!({ "type": "x", "patch": operations });
    let reply = bench.server.tell("POST", &format!("{PATH}/actions"), &[], &action).await;
    let named = fields(&bench.refused("an action", reply, 400, "invalid-request").await);
    assert!(named.iter().all(|field| field.starts_with("patch[")) && named.len() >= 7, "{named:?}");
    // Not more than anybody reads.
    operations = (0..500).map(|_| json!({ "op": "spell" })).collect();
    let reply = bench.server.json_patch(PATH, &json!(operations)).await;
    let named = fields(&bench.refused("500 operations", reply, 400, "invalid-request").await);
    assert_eq!(indices(&named), (0..20).collect::<Vec<_>>());
}
