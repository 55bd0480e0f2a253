use super::*;
use crate::{Predictor, Tensor, Values};

/// Two clouds around (0, 100) and (10, 0), and a third far off.
fn clouds() -> (Vec<Vec<f64>>, Vec<usize>) {
    let centres = [(0.0, 100.0), (10.0, 0.0), (-10.0, -100.0)];
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for step in 0..30_u32 {
        for (class, (x, y)) in centres.iter().enumerate() {
            let wobble = f64::from(step % 7) - 3.0;
            rows.push(vec![x + wobble * 0.3, y - wobble * 2.0]);
            targets.push(class);
        }
    }
    (rows, targets)
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn ask(model: &LinfaModel, rows: &[[f32; 2]]) -> Vec<Tensor> {
    let values = Values::Fp32(rows.concat());
    model.run(vec![Tensor::new(INPUT, vec![rows.len(), 2], values).unwrap()]).unwrap()
}

const ASKED: [[f32; 2]; 3] = [[0.2, 97.0], [9.0, 3.0], [-11.0, -90.0]];

#[test]
fn a_logistic_model_learns_and_comes_back_the_same() {
    let (rows, targets) = clouds();
    let model = fit_logistic(&rows, &targets, names(&["x", "y"]), names(&["a", "b", "c"])).unwrap();
    let answer = ask(&model, &ASKED);
    assert_eq!(answer[0].values, Values::Int64(vec![0, 1, 2]));
    let Values::Fp32(probabilities) = &answer[1].values else { panic!() };
    for row in probabilities.chunks(3) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
    let again = LinfaModel::from_json(&model.to_json().unwrap()).unwrap();
    assert_eq!(ask(&again, &ASKED), answer);
}

#[test]
fn a_tree_learns_and_comes_back_the_same() {
    let (rows, targets) = clouds();
    let model = fit_tree(&rows, &targets, names(&["x", "y"]), names(&["a", "b", "c"])).unwrap();
    let answer = ask(&model, &ASKED);
    assert_eq!(answer, [Tensor::new(LABEL, vec![3], Values::Int64(vec![0, 1, 2])).unwrap()]);
    let again = LinfaModel::from_json(&model.to_json().unwrap()).unwrap();
    assert_eq!(ask(&again, &ASKED), answer);
}

#[test]
fn a_class_without_rows_has_probability_zero() {
    let (rows, targets) = clouds();
    let model = fit_logistic(&rows, &targets, names(&["x", "y"]), names(&["a", "b", "c", "never"]))
        .unwrap();
    let Values::Fp32(probabilities) = ask(&model, &ASKED).remove(1).values else { panic!() };
    assert!(probabilities.chunks(4).all(|row| row[3] == 0.0));
}

#[test]
fn rows_that_cannot_be_learnt_from_are_refused() {
    let fit = |rows: &[Vec<f64>], targets: &[usize]| {
        fit_logistic(rows, targets, names(&["x"]), names(&["a", "b"])).unwrap_err().to_string()
    };
    assert!(fit(&[vec![1.0], vec![2.0]], &[0, 0]).contains("two classes"));
    assert!(fit(&[vec![f64::NAN], vec![2.0]], &[0, 1]).contains("finite"));
    assert!(fit(&[vec![1.0, 2.0], vec![2.0]], &[0, 1]).contains("each of the 1 features"));
    assert!(fit(&[vec![1.0], vec![2.0]], &[0, 2]).contains("beyond the 2 labels"));
}

#[test]
fn a_tampered_file_is_refused_and_never_panics() {
    let (rows, targets) = clouds();
    let model = fit_tree(&rows, &targets, names(&["x", "y"]), names(&["a", "b", "c"])).unwrap();
    let good = String::from_utf8(model.to_json().unwrap()).unwrap();
    for (from, to) in [
        ("\"features\":[\"x\",\"y\"]", "\"features\":[\"x\"]"),
        ("\"labels\":[\"a\",\"b\",\"c\"]", "\"labels\":[\"a\",\"b\"]"),
        ("decision-engine/linfa/1", "decision-engine/linfa/9"),
        ("\"feature_idx\":", "\"feature_idx\":9"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "`{from}` was not found");
        assert!(LinfaModel::from_json(bad.as_bytes()).is_err(), "{to}");
    }
}
