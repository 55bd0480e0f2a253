//! What the engine costs in process: one tabular prediction through the router (check the role, choose
//! the version, parse, validate, run, write the answer, log it) beside the model alone.

#![allow(
    clippy::allow_attributes,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark fails by panicking and prints its table"
)]

use std::path::Path;
use std::time::Duration;

use all_in_one::settings::DEFAULTS;
use all_in_one::{Engine, Settings, demo};
use bytes::Bytes;
use contracts::inference::Protocol;
use contracts::router::PredictRequest;
use contracts::{Call, Framed};
use criterion::{Criterion, criterion_group, criterion_main};
use domain::{Principal, Role};
use models::{Package, Tensor, Values};

const LIBRARY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/onnxruntime/libonnxruntime.so");
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/iris/model.onnx");

fn prediction(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one tabular prediction");
    models::library::start(Some(Path::new(LIBRARY)), &[]).unwrap();
    let files = [("model.onnx".to_owned(), std::fs::read(MODEL).unwrap().into())];
    let package = Package::assemble("iris", None, files.into()).unwrap();
    let predictor = package.predictor(1, std::time::Duration::from_secs(60)).unwrap();
    group.bench_function("the model alone", |bencher| {
        bencher.iter(|| {
            let values = Values::Fp32(vec![5.1, 3.5, 1.4, 0.2]);
            let input = Tensor { name: "input".to_owned(), shape: vec![1, 4], values };
            predictor.run(vec![input]).unwrap()
        });
    });

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let engine = runtime.block_on(async {
        let environment = [
            ("ENGINE__DATA_DIR".to_owned(), folder.path().display().to_string()),
            ("ENGINE__INFERENCE__ONNXRUNTIME".to_owned(), LIBRARY.to_owned()),
        ];
        let layers = runtime::settings::layers(&DEFAULTS, None, environment.into()).unwrap();
        let engine =
            Engine::start(&Settings::read(&layers).unwrap(), clients::provider()).await.unwrap();
        demo::register(&*engine.router, |_| {}).await.unwrap();
        engine
    });
    let mut call = Call::service("benchmark", Duration::from_secs(3600));
    call.principal = Some(Principal::user("benchmark", "benchmark", Role::Client));
    let meta = PredictRequest {
        model: "iris".parse().unwrap(),
        version: None,
        unit: Some("someone".to_owned()),
        protocol: Protocol::Natural,
        content_type: "application/json".to_owned(),
        cache: contracts::router::CacheWish::Use,
    };
    let body = Bytes::from_static(br#"{"features":[5.1,3.5,1.4,0.2]}"#);
    group.bench_function("through the router, logged", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let request = Framed { meta: meta.clone(), body: body.clone() };
            let (router, call) = (&engine.router, call.clone());
            async move { router.predict(call, request).await.unwrap() }
        });
    });
    group.finish();
    runtime.block_on(engine.process.stop(Duration::from_secs(10)));
}

criterion_group!(benches, prediction);
criterion_main!(benches);
