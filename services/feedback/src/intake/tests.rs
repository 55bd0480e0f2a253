//! Bodies, read or refused.

use serde_json::json;

use super::*;

const ID: &str = "0199f3a4-0000-7000-8000-000000000000";

fn many(content_type: &str, body: &str) -> Vec<Item> {
    match read(content_type, body.as_bytes(), 100).unwrap() {
        Given::Many(items) => items,
        Given::One(item) => panic!("one: {item:?}"),
    }
}

fn refused(content_type: &str, body: &[u8]) -> (ErrorCode, String) {
    let error = read(content_type, body, 3).unwrap_err();
    (error.code, error.message)
}

#[test]
fn each_form_says_the_same() {
    let items = json!([
        {"prediction_id": ID, "label": "set,osa"},
        {"model": "iris", "unit": "u 1", "metric": "revenue", "value": 12.5, "at": "2026-01-31T23:59:59+01:00"},
    ]);
    let list = items.to_string();
    let object = json!({"items": items}).to_string();
    let lines = format!("{}\n\r\n{}\r\n", items[0], items[1]);
    let table = format!(
        "\u{feff}prediction_id,label, value ,metric,unit,model,at\n{ID},\"set,osa\",,,,,\n,,12.5,revenue,u 1,iris,2026-01-31T23:59:59+01:00\n"
    );
    let expected: Vec<_> =
        many("application/json", &list).into_iter().map(|item| item.read).collect();
    assert_eq!(expected[0].as_ref().unwrap().label.as_deref(), Some("set,osa"));
    let second = expected[1].as_ref().unwrap();
    assert_eq!((second.unit.as_deref(), second.value), (Some("u 1"), Some(12.5)));
    assert_eq!(second.at, Some(time::macros::datetime!(2026-01-31 22:59:59 UTC)));
    for (content_type, body, before) in [
        ("application/json", &object, "#/items"),
        ("application/x-ndjson", &lines, "#"),
        ("text/csv; charset=utf-8", &table, "#"),
    ] {
        let found = many(content_type, body);
        assert!(found.iter().map(|item| &item.read).eq(&expected), "{found:?}");
        assert_eq!(found[1].pointer, format!("{before}/1"));
    }
    let one = read("", items[0].to_string().as_bytes(), 3).unwrap();
    assert!(matches!(one, Given::One(item) if item.read == expected[0]));
}

#[test]
fn one_bad_item_is_refused_alone_and_names_its_place() {
    let items = json!([
        {"prediction_id": "abc", "label": 3, "lable/": "x", "value": "1"},
        {"prediction_id": ID, "label": "a", "unit": null},
        7,
        {"prediction_id": ID, "metric": "a b", "at": "yesterday", "model": ""},
    ]);
    let found = many("application/json", &items.to_string());
    let pointers = |place: usize| -> Vec<String> {
        let errors = found[place].read.as_ref().err().map(|error| error.errors.clone());
        errors.unwrap_or_default().into_iter().map(|error| error.pointer).collect()
    };
    assert_eq!(pointers(0), ["#/0/label", "#/0/lable~1", "#/0/prediction_id", "#/0/value"]);
    assert!(found[1].read.is_ok());
    assert_eq!(pointers(2), ["#/2"]);
    assert_eq!(pointers(3), ["#/3/at", "#/3/metric", "#/3/model"]);

    let table = format!("prediction_id,value\n{ID},1e3\n{ID},x\n{ID}\n{ID},\"4\n");
    let found = many("text/csv", &table);
    let values: Vec<_> =
        found.iter().map(|item| item.read.as_ref().ok().and_then(|read| read.value)).collect();
    assert_eq!(values, [Some(1000.0), None, None, Some(4.0)]);
    let found = many("application/x-ndjson", &format!("{{\n{}", json!({"prediction_id": ID})));
    assert!(found[0].read.is_err() && found[1].read.is_ok());
}

#[test]
fn a_body_that_holds_nothing_or_too_much_is_refused_as_a_whole() {
    let unprocessable = ErrorCode::Unprocessable;
    for (content_type, body, code, why) in [
        ("application/json", "{", ErrorCode::BadRequest, "not JSON"),
        ("application/json", "[]", unprocessable, "at least one"),
        ("application/json", r#"{"items": {}}"#, unprocessable, "must be a list"),
        ("application/json", r#"{"items": [1], "label": "a"}"#, unprocessable, "`#/label`"),
        ("application/json", "[1, 2, 3, 4]", ErrorCode::TooLarge, "4 items are more than the 3"),
        ("application/x-ndjson", "\n \n", unprocessable, "at least one"),
        ("application/x-ndjson", "1\n2\n3\n4\n5", ErrorCode::TooLarge, "5 items"),
        ("text/csv", "", unprocessable, "at least one"),
        ("text/csv", "label", unprocessable, "at least one"),
        ("text/csv", "lable,label,label\nx,y,z", unprocessable, "`#/header/lable`"),
        ("text/csv", "label\n1\n2\n3\n4\n5\n6", ErrorCode::TooLarge, "6 items"),
        ("image/png", "x", ErrorCode::BadRequest, "`image/png`"),
    ] {
        let (found, message) = refused(content_type, body.as_bytes());
        assert_eq!(found, code, "{body}: {message}");
        assert!(message.contains(why), "{body}: {message}");
    }
    assert_eq!(refused("text/csv", b"\xff\nx").0, unprocessable);
    let lines = read("application/x-ndjson", b"\xff\n{}", 3).unwrap();
    assert!(matches!(lines, Given::Many(items) if items[0].read.is_err() && items[1].read.is_ok()));
}
