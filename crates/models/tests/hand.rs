#![allow(clippy::all)]
use bytes::Bytes;
use models::{Package, library, outcome, preprocess::image};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path, time::Instant};
fn load(dir: &str, author: Option<Value>) -> (Package, Box<dyn models::Predictor>) {
    library::start(Some(Path::new("/work/main/target/onnxruntime/libonnxruntime.so")), &[])
        .unwrap();
    let files: BTreeMap<_, _> = fs::read_dir(dir)
        .unwrap()
        .map(Result::unwrap)
        .filter(|e| e.file_type().unwrap().is_file())
        .map(|e| (e.file_name().into_string().unwrap(), Bytes::from(fs::read(e.path()).unwrap())))
        .collect();
    let t = Instant::now();
    let p = Package::assemble("m", author, files).unwrap();
    let pr = p.predictor(1).unwrap();
    eprintln!(
        "{dir} assembled+loaded in {:?}; {:?} {:?} batchable {} assumptions {:?}",
        t.elapsed(),
        p.manifest.task,
        p.manifest.modality,
        p.manifest.batchable,
        p.manifest.assumptions
    );
    (p, pr)
}
#[test]
fn minilm() {
    let d = "/work/shared/models/minilm-sentiment-int8";
    let (p, pr) =
        load(d, Some(json!({"text": {"tokenizer": "tokenizer.json", "max_length": 128}})));
    let tok = p.tokenizer().unwrap().unwrap();
    let g: Value = serde_json::from_slice(&fs::read(format!("{d}/golden.json")).unwrap()).unwrap();
    let (mut worst, mut n) = (0.0f64, 0);
    for s in g["samples"].as_array().unwrap() {
        let t = tok.tensors(&p.manifest, &[s["text"].as_str().unwrap()]).unwrap();
        let models::Values::Int64(ids) = &t.tensors[0].values else { panic!() };
        assert_eq!(json!(ids), s["input_ids"]);
        let o = outcome::outcomes(&p.manifest, &pr.run(t.tensors).unwrap()).unwrap().remove(0);
        let want = &s["expected_int8_onnxruntime_alone"];
        assert_eq!(o.label.as_deref(), want["label"].as_str());
        for (a, b) in o.probabilities.unwrap().iter().zip(want["probabilities"].as_array().unwrap())
        {
            worst = worst.max((f64::from(*a) - b.as_f64().unwrap()).abs());
        }
        n += 1;
    }
    let long = tok.tensors(&p.manifest, &["word ".repeat(500)]).unwrap();
    assert_eq!((long.truncated[0], long.tensors[0].shape[1]), (true, 128));
    eprintln!("minilm: {n} texts, worst {worst}");
}
#[test]
fn lite0() {
    let d = "/work/shared/models/efficientnet-lite0";
    let (p, pr) = load(
        d,
        Some(
            json!({"image": {"width":224,"height":224,"filter":"bicubic","mean":[127.0,127.0,127.0],"std":[128.0,128.0,128.0]}}),
        ),
    );
    let g: Value = serde_json::from_slice(&fs::read(format!("{d}/golden.json")).unwrap()).unwrap();
    for s in g["samples"].as_array().unwrap() {
        for f in ["exact_pixels", "image"] {
            let bytes = fs::read(format!("{d}/{}", s[f].as_str().unwrap())).unwrap();
            let t =
                image::tensor(p.manifest.image.as_ref().unwrap(), &p.manifest.inputs[0], &bytes)
                    .unwrap();
            let o = outcome::outcomes(&p.manifest, &pr.run(vec![t]).unwrap()).unwrap().remove(0);
            let best = &s["top5"][0];
            eprintln!(
                "{f} {} {:?} got {:?} want {}",
                s["image"], o.label, o.confidence, best["probability"]
            );
            assert_eq!(o.label.as_deref(), best["label"].as_str());
            assert!(
                (f64::from(o.confidence.unwrap()) - best["probability"].as_f64().unwrap()).abs()
                    < if f == "image" { 0.1 } else { 0.001 }
            );
        }
    }
}
