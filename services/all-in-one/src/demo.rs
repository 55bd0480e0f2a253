//! The sample models: registered as anybody's would be, with lines to try them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use auth::FirstStart;
use bytes::{Bytes, BytesMut};
use contracts::router::{FilePart, NewModel, NewVersion};
use contracts::{ApiError, Call, ErrorCode, Framed, RouterApi};
use domain::{ModelName, Principal, Role};

use crate::Settings;

struct Sample {
    name: &'static str,
    description: &'static str,
    manifest: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! file {
    ($folder:literal, $name:literal) => {
        ($name, include_bytes!(concat!("../demo/", $folder, "/", $name)))
    };
}

const SAMPLES: [Sample; 3] = [
    Sample {
        name: "iris",
        description: "Tells three species of iris apart by four lengths of the flower.",
        manifest: include_str!("../demo/iris/manifest.json"),
        files: &[file!("iris", "model.onnx"), file!("iris", "labels.json")],
    },
    Sample {
        name: "sentiment",
        description: "Tells whether a short English text sounds negative, neutral or positive.",
        manifest: include_str!("../demo/sentiment/manifest.json"),
        files: &[file!("sentiment", "model.onnx"), file!("sentiment", "labels.json")],
    },
    Sample {
        name: "imagenet",
        description: "Names what a photo shows, out of 1,000 things.",
        manifest: include_str!("../demo/imagenet/manifest.json"),
        files: &[file!("imagenet", "model.onnx"), file!("imagenet", "labels.json")],
    },
];

const PHOTO: &[u8] = include_bytes!("../demo/imagenet/images/flower.jpg");

/// Registers the samples that are not there yet, telling each step.
///
/// # Errors
/// If one cannot be registered.
pub async fn register(router: &dyn RouterApi, tell: impl Fn(&str)) -> Result<(), ApiError> {
    for sample in SAMPLES {
        let name: ModelName = sample.name.parse()?;
        let new = NewModel { name: name.clone(), description: sample.description.to_owned() };
        match router.create_model(call(), new).await {
            Err(error) if error.code != ErrorCode::Conflict => return Err(error),
            _ => {}
        }
        if !router.model(call(), name.clone()).await?.versions.is_empty() {
            tell(&format!("model `{name}` is there already"));
            continue;
        }
        let mut body = BytesMut::new();
        let mut files = Vec::new();
        for (file, bytes) in sample.files {
            files.push(FilePart { name: (*file).to_owned(), bytes: bytes.len() as u64 });
            body.extend_from_slice(bytes);
        }
        let manifest = serde_json::from_str(sample.manifest).ok();
        let meta = NewVersion { model: name.clone(), manifest, files };
        router.create_version(call(), Framed { meta, body: Bytes::from(body) }).await?;
        tell(&format!("registered model `{name}`"));
    }
    Ok(())
}

fn call() -> Call {
    let mut call = Call::service("demo", Duration::from_secs(120));
    call.principal = Some(Principal::user("demo", "demo", Role::Engineer));
    call
}

/// Lines to paste, each answered by a sample model.
pub fn hints(url: &str, settings: &Settings, first_start: &FirstStart) -> String {
    let photo = settings.data_dir.join("flower.jpg");
    let photo = match fs::write(&photo, PHOTO) {
        Ok(()) => photo,
        Err(error) => {
            tracing::warn!(%error, "the sample photo cannot be written to the data folder");
            PathBuf::from("photo.jpg")
        }
    };
    let password = match first_start {
        FirstStart::AdminCreated { generated_password: Some(password), .. } => password.as_str(),
        _ => "<password>",
    };
    let ask = |model: &str, body: &str| {
        format!(
            "curl -s {url}/api/v1/models/{model}/predict -H \"Authorization: Bearer $ENGINE_TOKEN\" {body}"
        )
    };
    let json = |body: &str| format!("-H 'Content-Type: application/json' -d '{body}'");
    format!(
        "\nTry it in another terminal:\n\n\
         export ENGINE_URL={url}\n\
         export ENGINE_TOKEN=$(curl -s {url}/api/v1/auth/token -H 'Content-Type: application/json' -d '{{\"username\":\"admin\",\"password\":\"{password}\"}}' | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\
         {}\n{}\n{}\n",
        ask("iris", &json("{\"features\":[5.1,3.5,1.4,0.2]}")),
        ask("sentiment", &json("{\"text\":\"what a wonderful day\"}")),
        ask("imagenet", &format!("-F file=@{}", photo.display())),
    )
}

/// What to do next where there is no demo.
pub fn next_step(url: &str) -> String {
    format!(
        "\nNext: sign in at {url}/docs and register a model (docs/bring-your-model.md),\n\
         or stop this and run `decision-engine demo` to see sample models at work.\n"
    )
}
