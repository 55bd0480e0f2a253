//! The traits of `contracts`, each over a [`Transport`].

use async_trait::async_trait;
use contracts::auth::{self, Jwks, NewUser, ServiceSignIn, SignIn, Token, UserList, UserView};
use contracts::drift::{self, Summary, SummaryRequest};
use contracts::feedback::{self, FeedbackForm, FeedbackList, SubmitAnswer};
use contracts::inference::{self, Answered, Loaded, LoadedList, PredictTask, Target};
use contracts::router::{
    self, Change, ModelDetail, ModelList, NewModel, NewVersion, PredictRequest, PredictionView,
    PutPolicy, PutRoute, Readiness, SetAlias, SetEnabled,
};
use contracts::{
    ApiError, AuthApi, Call, Done, DriftApi, FeedbackApi, Framed, InferenceApi, RouterApi,
};
use domain::experiment::Experiment;
use domain::layer::Layer;
use domain::{
    Delivery, DeliveryId, Model, ModelName, ModelPolicy, PlanId, PredictionId, Route, Version,
    WebhookId,
};

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
        explain(request: router::Explain) -> router::Explained = router::EXPLAIN;
        rollback(request: router::Rollback) -> router::RolledBack = router::ROLLBACK;
        switch(request: router::Switch) -> Route = router::SWITCH;
        clear_block(request: router::ClearBlock) -> Route = router::CLEAR_BLOCK;
        history(query: router::HistoryQuery) -> router::History = router::HISTORY;
        impose(imposed: router::Imposed) -> router::Acknowledged = router::IMPOSE;
        shadow_report(query: router::ShadowQuery) -> router::ShadowReport = router::SHADOW_REPORT;
        experiments(query: router::ExperimentQuery) -> router::ExperimentList = router::EXPERIMENTS;
        experiment(id: PlanId) -> Experiment = router::EXPERIMENT;
        create_experiment(request: router::NewExperiment) -> Experiment = router::CREATE_EXPERIMENT;
        act_on_experiment(request: router::ActOnExperiment) -> Experiment = router::ACT_ON_EXPERIMENT;
        report(id: PlanId) -> router::Report = router::REPORT;
        what_if(request: router::WhatIf) -> router::WhatIfAnswer = router::WHAT_IF;
        layers() -> router::LayerList = router::LAYERS;
        put_layer(request: router::NewLayer) -> Layer = router::PUT_LAYER;
        rollouts(query: router::RolloutQuery) -> router::RolloutList = router::ROLLOUTS;
        rollout(id: PlanId) -> router::RolloutView = router::ROLLOUT;
        create_rollout(request: router::NewRollout) -> router::RolloutView = router::CREATE_ROLLOUT;
        act_on_rollout(request: router::ActOnRollout) -> router::RolloutView = router::ACT_ON_ROLLOUT;
        events(query: router::EventQuery) -> router::EventPage = router::EVENTS;
        webhooks() -> router::WebhookList = router::WEBHOOKS;
        create_webhook(request: router::NewWebhook) -> router::ShownWebhook = router::CREATE_WEBHOOK;
        change_webhook(request: router::ChangeWebhook) -> router::WebhookView = router::CHANGE_WEBHOOK;
        remove_webhook(id: WebhookId) -> Done = router::REMOVE_WEBHOOK;
        test_webhook(id: WebhookId) -> router::WebhookTested = router::TEST_WEBHOOK;
        deliveries(query: router::DeliveryQuery) -> router::DeliveryPage = router::DELIVERIES;
        retry_delivery(id: DeliveryId) -> Delivery = router::RETRY_DELIVERY;
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
        submit(request: Framed<FeedbackForm>) -> SubmitAnswer = feedback::SUBMIT;
        of_prediction(id: PredictionId) -> FeedbackList = feedback::OF_PREDICTION;
        summary(query: feedback::FeedbackQuery) -> feedback::FeedbackSummary = feedback::SUMMARY;
        pending(query: feedback::PendingQuery) -> feedback::PendingList = feedback::PENDING;
    }
}

remote! {
    /// The drift service, far away.
    Drift: DriftApi {
        summary(request: SummaryRequest) -> Summary = drift::SUMMARY;
    }
}
