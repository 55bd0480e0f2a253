use router::statistics::srm::{ALARM, Epoch, chi_square, sequential};
use serde_json::Value;

use crate::case::{cases, counts, numbers};

fn epoch(value: &Value) -> Epoch {
    Epoch { units: counts(&value["observed"]), weights: numbers(&value["weights"]) }
}

#[test]
fn chi_square_is_the_golden_one() {
    for case in cases("srm_chi_square") {
        let epochs: Vec<Epoch> = match case.input.get("epochs") {
            Some(epochs) => epochs.as_array().unwrap().iter().map(epoch).collect(),
            None => vec![epoch(&case.input)],
        };
        let got = chi_square(&epochs);
        case.check("chi2", got.map(|got| got.statistic), &case.expected["chi2"]);
        case.check("p", got.map(|got| got.p_value), &case.expected["p_value"]);
        let got = got.unwrap();
        assert_eq!(Some(got.degrees_of_freedom), case.expected["dof"].as_u64(), "{}", case.name);
        let alarm = case.expected["srm_at_0_001"].as_bool();
        assert_eq!(Some(got.p_value < ALARM), alarm, "{}", case.name);
    }
}

#[test]
fn sequential_test_is_the_golden_one() {
    for case in cases("srm_sequential") {
        let weights = numbers(&case.input["weights"]);
        let concentration = case.input["concentration"].as_f64().unwrap();
        let one_unit = |arm: u64| -> Vec<u64> {
            (0..weights.len() as u64).map(|other| u64::from(other == arm)).collect()
        };
        let batches: Vec<Vec<u64>> = match case.input.get("arms") {
            Some(arms) => counts(arms).into_iter().map(one_unit).collect(),
            None => case.input["batches"].as_array().unwrap().iter().map(counts).collect(),
        };
        let expected = &case.expected["log_bayes_factor"];
        assert_eq!(batches.len(), expected.as_array().unwrap().len(), "{}", case.name);
        let mut units = vec![0; weights.len()];
        let mut p_value = 1.0f64;
        for (index, batch) in batches.iter().enumerate() {
            units.iter_mut().zip(batch).for_each(|(units, more)| *units += more);
            let epoch = Epoch { units: units.clone(), weights: weights.clone() };
            let got = sequential(&[epoch], concentration).unwrap();
            p_value = p_value.min(got.p_value);
            let at = |field: &str| format!("{field} at {index}");
            case.check(&at("log BF"), Some(got.log_bayes_factor), &expected[index]);
            case.check(&at("p"), Some(p_value), &case.expected["p_value"][index]);
        }
    }
}
