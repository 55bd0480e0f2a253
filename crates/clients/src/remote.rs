//! The traits of `contracts`, each over a [`Transport`].

use async_trait::async_trait;
use contracts::auth::{self, Jwks, NewUser, ServiceSignIn, SignIn, Token, UserList, UserView};
use contracts::drift::{self, Summary, SummaryRequest};
use contracts::feedback::{self, FeedbackList, NewFeedback, Submitted};
use contracts::inference::{self, Answered, Loaded, LoadedList, PredictTask, Target};
use contracts::router::{
    self, Change, ModelDetail, ModelList, NewModel, NewVersion, PredictRequest, PredictionView,
    PutPolicy, PutRoute, Readiness, SetAlias, SetEnabled,
};
use contracts::{
    ApiError, AuthApi, Call, Done, DriftApi, FeedbackApi, Framed, InferenceApi, RouterApi,
};
use domain::{Model, ModelName, ModelPolicy, PredictionId, Route, Version};

use crate::Transport;

macro_rules! remote {
    ($(#[$doc:meta])* $name:ident: $api:ident {
        $($method:ident($($request:ident: $req:ty)?) -> $res:ty = $endpoint:path;)+
    }) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(pub Transport);

        #[async_trait]
        impl $api for $name {
            $(async fn $method(&self, call: Call $(, $request: $req)?) -> Result<$res, ApiError> {
                self.0.call(&$endpoint, &call, &($($request)?)).await
            })+
        }
    };
}

remote! {
    /// The auth service, far away.
    Auth: AuthApi {
        sign_in(request: SignIn) -> Token = auth::SIGN_IN;
        oidc_begin() -> auth::OidcBegun = auth::OIDC_BEGIN;
        oidc_finish(request: auth::OidcFinish) -> Token = auth::OIDC_FINISH;
        refresh(request: auth::Refresh) -> Token = auth::REFRESH;
        sign_out(request: auth::SignOut) -> Done = auth::SIGN_OUT;
        change_password(request: auth::ChangePassword) -> Token = auth::CHANGE_PASSWORD;
        exchange_key(request: auth::KeySignIn) -> Token = auth::EXCHANGE_KEY;
        service_token(request: ServiceSignIn) -> Token = auth::SERVICE_TOKEN;
        jwks() -> Jwks = auth::JWKS;
        rotate_signing_key() -> Jwks = auth::ROTATE_SIGNING_KEY;
        revocations(request: auth::Since) -> auth::Revocations = auth::REVOCATIONS;
        users() -> UserList = auth::USERS;
        create_user(request: NewUser) -> UserView = auth::CREATE_USER;
        change_user(request: auth::UserChange) -> UserView = auth::CHANGE_USER;
        api_keys() -> auth::ApiKeyList = auth::API_KEYS;
        create_api_key(request: auth::NewApiKey) -> auth::ShownKey = auth::CREATE_API_KEY;
        rotate_api_key(request: auth::RotateKey) -> auth::ShownKey = auth::ROTATE_API_KEY;
        revoke_api_key(request: auth::RevokeKey) -> auth::ApiKeyView = auth::REVOKE_API_KEY;
        record(request: auth::Entries) -> Done = auth::RECORD;
        audit(request: auth::AuditQuery) -> auth::AuditPage = auth::AUDIT;
        verify_audit() -> auth::AuditVerdict = auth::VERIFY_AUDIT;
    }
}

remote! {
    /// The router service, far away.
    Router: RouterApi {
        predict(request: Framed<PredictRequest>) -> Framed<Answered> = router::PREDICT;
        prediction(id: PredictionId) -> PredictionView = router::PREDICTION;
        models() -> ModelList = router::MODELS;
        model(name: ModelName) -> ModelDetail = router::MODEL;
        create_model(request: NewModel) -> Model = router::CREATE_MODEL;
        create_version(request: Framed<NewVersion>) -> Version = router::CREATE_VERSION;
        version(target: Target) -> Version = router::VERSION;
        policy(model: ModelName) -> ModelPolicy = router::POLICY;
        put_policy(request: PutPolicy) -> ModelPolicy = router::PUT_POLICY;
        set_alias(request: SetAlias) -> Model = router::SET_ALIAS;
        route(model: ModelName) -> Route = router::ROUTE;
        put_route(request: PutRoute) -> Route = router::PUT_ROUTE;
        set_enabled(request: SetEnabled) -> Done = router::SET_ENABLED;
        follow(change: Change) -> Done = router::FOLLOW;
        flush() -> Done = router::FLUSH;
        readiness() -> Readiness = router::READINESS;
    }
}

remote! {
    /// An inference replica, far away.
    Inference: InferenceApi {
        predict(request: Framed<PredictTask>) -> Framed<Answered> = inference::PREDICT;
        check(version: Version) -> Loaded = inference::CHECK;
        load(version: Version) -> Loaded = inference::LOAD;
        unload(target: Target) -> Done = inference::UNLOAD;
        loaded() -> LoadedList = inference::LOADED;
    }
}

remote! {
    /// The feedback service, far away.
    Feedback: FeedbackApi {
        submit(request: NewFeedback) -> Submitted = feedback::SUBMIT;
        of_prediction(id: PredictionId) -> FeedbackList = feedback::OF_PREDICTION;
    }
}

remote! {
    /// The drift service, far away.
    Drift: DriftApi {
        summary(request: SummaryRequest) -> Summary = drift::SUMMARY;
    }
}
