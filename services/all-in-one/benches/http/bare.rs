//! The least that serves the iris model: an actix handler that parses, runs and answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Result;
use models::{Package, Predictor, Tensor, Values};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Question {
    features: Vec<f32>,
}

/// Serves the model of a folder at `POST /predict` until the process is killed.
pub(crate) fn serve(address: &str, folder: &Path, onnxruntime: &Path) -> Result<()> {
    models::library::start(Some(onnxruntime), &[])?;
    let model = std::fs::read(folder.join("model.onnx"))?;
    let labels = std::fs::read(folder.join("labels.json"))?;
    let files =
        [("model.onnx".to_owned(), model.into()), ("labels.json".to_owned(), labels.into())];
    let package = Package::assemble("iris", None, files.into())?;
    let predictor: Arc<dyn Predictor> = Arc::from(package.predictor(2, Duration::from_secs(60))?);
    let labels = package.manifest.labels.clone();
    let server = HttpServer::new(move || {
        let (predictor, labels) = (Arc::clone(&predictor), labels.clone());
        App::new().route("/health", web::get().to(HttpResponse::Ok)).route(
            "/predict",
            web::post().to(move |question: web::Json<Question>| {
                let (predictor, labels) = (Arc::clone(&predictor), labels.clone());
                async move { answer(&*predictor, &labels, question.into_inner().features) }
            }),
        )
    })
    .workers(2)
    .bind(address)?
    .run();
    Ok(actix_web::rt::System::new().block_on(server)?)
}

fn answer(predictor: &dyn Predictor, labels: &[String], features: Vec<f32>) -> HttpResponse {
    let input =
        Tensor { name: "input".to_owned(), shape: vec![1, 4], values: Values::Fp32(features) };
    let Ok(outputs) = predictor.run(vec![input]) else {
        return HttpResponse::InternalServerError().finish();
    };
    let Some(Values::Fp32(probabilities)) = outputs.get(1).map(|output| &output.values) else {
        return HttpResponse::InternalServerError().finish();
    };
    let best =
        (0..probabilities.len()).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let best = best.unwrap_or_default();
    HttpResponse::Ok().json(json!({
        "prediction": best,
        "label": labels[best],
        "confidence": probabilities[best],
    }))
}
