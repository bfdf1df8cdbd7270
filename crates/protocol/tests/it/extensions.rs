//! Extension echoes: a payer may add, and may not change.

use serde_json::json;
use tollway_protocol::Reason;
use tollway_protocol::extensions::check_echo;
use tollway_protocol::json::Object;

use crate::samples::object;

fn advertised() -> Object {
    object(json!({
        "payment-identifier": { "info": { "required": true, "deep": { "a": [1, 2], "b": "c" } }, "schema": { "type": "object" } },
        "whole": { "no": "info" },
    }))
}

fn verdict(echo: serde_json::Value) -> Result<(), Reason> {
    check_echo(&advertised(), &object(echo), &[]).map_err(|refusal| refusal.reason)
}

#[test]
fn no_echo_and_unadvertised_echoes_pass() {
    assert_eq!(verdict(json!({})), Ok(()));
    assert_eq!(verdict(json!({ "mine": { "info": { "x": 1 } } })), Ok(()));
}

#[test]
fn a_payer_may_add_members_at_any_depth_and_drop_the_schema() {
    let info = json!({ "required": true, "id": "pay_1", "deep": { "a": [1, 2], "b": "c", "d": 1 } });
    assert_eq!(verdict(json!({ "payment-identifier": { "info": info } })), Ok(()));
    assert_eq!(verdict(json!({ "whole": { "no": "info", "more": 1 } })), Ok(()));
}

#[test]
fn a_payer_may_not_change_or_drop_a_member() {
    for info in [
        json!({ "required": false, "deep": { "a": [1, 2], "b": "c" } }),
        json!({ "deep": { "a": [1, 2], "b": "c" } }),
        json!({ "required": "true", "deep": { "a": [1, 2], "b": "c" } }),
        json!({ "required": true, "deep": { "a": [1, 2, 3], "b": "c" } }),
        json!({ "required": true, "deep": { "a": [2, 1], "b": "c" } }),
        json!({ "required": true, "deep": "c" }),
        json!({}),
    ] {
        let echo = json!({ "payment-identifier": { "info": info } });
        assert_eq!(verdict(echo.clone()), Err(Reason::ExtensionMismatch), "{echo}");
    }
    assert_eq!(verdict(json!({ "whole": { "no": "thing" } })), Err(Reason::ExtensionMismatch));
    assert_eq!(verdict(json!({ "whole": "info" })), Err(Reason::ExtensionMismatch));
}

#[test]
fn members_named_dynamic_may_differ_and_only_those() {
    let dynamic: &[(&str, &[&str])] = &[("payment-identifier", &["deep"])];
    let echo = |required: bool| {
        object(json!({ "payment-identifier": { "info": { "required": required, "deep": 7 } } }))
    };
    assert!(check_echo(&advertised(), &echo(true), dynamic).is_ok());
    assert!(check_echo(&advertised(), &echo(false), dynamic).is_err());
}
