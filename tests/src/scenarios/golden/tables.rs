//! Golden rows in our own form: many at once, one as a list, one by name, a table.

use serde_json::{Map, Value, json};
use testkit::Client;
use testkit::models::ModelFolder;
use testkit::tensor::Tensor;

use super::{assert_near, classes};

pub(super) async fn check(client: &Client, folder: &ModelFolder) {
    let name = &folder.name;
    let (_, input) = folder.golden["inputs"].as_object().unwrap().iter().next().unwrap();
    let rows = Tensor::golden("input", input).rows();
    let many = client.predict(name, &json!({"instances": rows})).await.expect_status(200).json();
    let predictions = many["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), rows.len(), "{name}");
    assert_eq!(many["model_version"], "1", "{name}");
    for (row, prediction) in predictions.iter().enumerate() {
        compare(folder, row, prediction);
    }
    for (row, values) in rows.iter().enumerate().take(3) {
        let answer = client.predict(name, &json!({"features": values})).await;
        compare(folder, row, &answer.expect_status(200).json());
        let names = folder.features().into_iter();
        let by_name: Map<String, Value> = names.zip(values.iter().cloned()).collect();
        let answer = client.predict(name, &json!({"features": by_name})).await;
        compare(folder, row, &answer.expect_status(200).json());
    }
    check_csv(client, folder, &rows).await;
}

async fn check_csv(client: &Client, folder: &ModelFolder, rows: &[Vec<Value>]) {
    let line = |row: &Vec<Value>| row.iter().map(Value::to_string).collect::<Vec<_>>().join(",");
    let lines: Vec<String> = rows.iter().map(line).collect();
    let table = format!("{}\n{}\n", folder.features().join(","), lines.join("\n"));
    let path = format!("/api/v1/models/{}/predict", folder.name);
    let answer = client.post_bytes(&path, "text/csv", table).await.expect_status(200).json();
    for (row, prediction) in answer["predictions"].as_array().unwrap().iter().enumerate() {
        compare(folder, row, prediction);
    }
}

fn compare(folder: &ModelFolder, row: usize, answer: &Value) {
    let golden = &folder.golden;
    let what = format!("{}, row {row}: {answer}", folder.name);
    let outputs = &golden["outputs"];
    if outputs["value"].is_object() {
        let want = Tensor::golden("value", &outputs["value"]).numbers()[row];
        let tolerance = golden["tolerance"]["value_abs"].as_f64().unwrap();
        assert_near(&[answer["prediction"].as_f64().unwrap()], &[want], tolerance, &what);
        return;
    }
    let classes = classes(folder);
    let want = &Tensor::golden("probabilities", &outputs["probabilities"]).rows()[row];
    let want: Vec<f64> = want.iter().map(|value| value.as_f64().unwrap()).collect();
    let got: Vec<f64> =
        classes.iter().map(|class| answer["probabilities"][class].as_f64().expect(&what)).collect();
    let tolerance = golden["tolerance"]["probabilities_abs"].as_f64().unwrap();
    assert_near(&got, &want, tolerance, &what);
    let highest = want.iter().copied().fold(0.0, f64::max);
    assert_near(&[answer["confidence"].as_f64().unwrap()], &[highest], tolerance, &what);
    match &outputs["label"]["data"][row] {
        Value::String(label) => assert_eq!(answer["label"], label.as_str(), "{what}"),
        class => {
            assert_eq!(&answer["prediction"], class, "{what}");
            let index = usize::try_from(class.as_u64().unwrap()).unwrap();
            assert_eq!(answer["label"], classes[index].as_str(), "{what}");
        }
    }
}
