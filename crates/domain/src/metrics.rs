//! Names of metrics, of their labels and of what spans say, as OpenTelemetry has them. In Prometheus
//! dots become underscores, a counter ends in `_total`, a unit in seconds in `_seconds`.
//!
//! They are here and nowhere else. `monitoring/README.md` says what each means.

/// Server time of each request, seconds.
pub const HTTP_DURATION: &str = "http.server.request.duration";
/// Requests under way.
pub const HTTP_ACTIVE: &str = "http.server.active_requests";
/// Time of each call to another service, seconds.
pub const CLIENT_DURATION: &str = "http.client.request.duration";
/// 1, with the version of the program.
pub const BUILD_INFO: &str = "engine_build_info";

/// Predictions asked for, by route and status class.
pub const PREDICTION_REQUESTS: &str = "prediction_requests";
/// Time of a prediction at the gateway, seconds.
pub const PREDICTION_LATENCY: &str = "prediction_latency";
/// Requests that a limit looked at, by policy, decision and where it was counted.
pub const LIMIT_DECISIONS: &str = "rate_limit_decisions";
/// Whether a gateway counts for itself alone, as the cache store does not answer: 1 or 0.
pub const LIMITS_LOCAL: &str = "engine_limits_local";
/// Requests with an `Idempotency-Key`, by what became of them.
pub const IDEMPOTENT_REQUESTS: &str = "engine_idempotent_requests";
/// Predictions that failed, by model and kind of failure.
pub const MODEL_ERRORS: &str = "model_errors";
/// Predictions answered, by model and version.
pub const MODEL_REQUESTS: &str = "model_requests";
/// Time from the router to the answer, seconds, by model and version.
pub const MODEL_LATENCY: &str = "model_request_latency";
/// Highest class probability, by model and version.
pub const MODEL_CONFIDENCE: &str = "model_prediction_confidence";
/// Time of each run of a model, seconds, by model and version.
pub const MODEL_COMPUTE: &str = "engine_model_compute";
/// 1 for each version that is loaded.
pub const MODEL_LOADED: &str = "engine_model_loaded_info";
/// Memory a loaded version is taken to need, bytes.
pub const MODEL_MEMORY: &str = "engine_model_memory_bytes";

/// Outcomes received, by what became of them: `matched`, `pending`, `repeated`, `refused`.
pub const FEEDBACK: &str = "engine_feedback";

/// Shadow versions compared with the ones that answered, by model, version and outcome.
pub const SHADOW_COMPARISONS: &str = "engine_shadow_comparisons";
/// Answers in which a rule of the output found something, by model, rule and action.
pub const OUTPUT_FILTER: &str = "output_filter";

/// Requests that wait for a worker.
pub const QUEUE_LENGTH: &str = "engine_inference_queue_length";
/// Requests that may wait for a worker.
pub const QUEUE_LIMIT: &str = "engine_inference_queue_limit";
/// Workers that run something now.
pub const WORKERS_BUSY: &str = "engine_inference_busy_workers";
/// Workers there are.
pub const WORKERS: &str = "engine_inference_workers";
/// Requests refused as too many waited.
pub const REJECTED: &str = "engine_inference_rejected";

/// The generation of each model's route that is in force at a router.
pub const ROUTE_GENERATION: &str = "engine_route_generation";
/// Rollbacks that were asked for, by model and outcome: `done`, `unconfirmed`, `unstored`, `refused`.
pub const ROLLBACKS: &str = "engine_rollbacks";
/// Time from the call of a rollback until it was in force in all routers, seconds.
pub const ROLLBACK_DURATION: &str = "engine_rollback_duration";
/// The canary's share in each model's route that is in force at a router, 0 to 1; 0 without a rollout.
pub const ROLLOUT_SHARE: &str = "engine_rollout_share";
/// What rollouts came to, by model and decision.
pub const ROLLOUT_DECISIONS: &str = "engine_rollout_decisions";
/// Batches of counts that were lost, as too many waited for the store.
pub const ROLLOUT_BATCHES_LOST: &str = "engine_rollout_lost_batches";
/// Inference replicas that a router knows, by state.
pub const ROUTER_REPLICAS: &str = "engine_router_replicas";
/// Predictions sent to one more replica, by reason.
pub const ROUTER_RETRIES: &str = "engine_router_retries";
/// Predictions not sent to one more replica, as the retry budget was used up.
pub const ROUTER_RETRIES_REFUSED: &str = "engine_router_retries_refused";
/// Breakers of inference replicas that opened.
pub const BREAKER_OPENS: &str = "engine_router_breaker_opens";

/// Predictions asked of models whose answers are kept, by model and outcome: `hit`, `miss`, `bypass`.
pub const RESPONSE_CACHE: &str = "engine_response_cache_requests";

/// Answers by something else in the place of a version that failed, by model and what it was.
pub const DEGRADED_ANSWERS: &str = "engine_degraded_answers";
/// Units of strict experiments, by what became of their first arms: `kept`, `new`, `replaced`,
/// `unavailable`.
pub const STICKY_ASSIGNMENTS: &str = "engine_sticky_assignments";

/// Records in the spool that the prediction log has not got yet.
pub const SPOOL_PENDING: &str = "engine_spool_pending_records";
/// Size of the spool's files, bytes.
pub const SPOOL_BYTES: &str = "engine_spool_bytes";
/// Size that the spool may reach, bytes.
pub const SPOOL_MAX_BYTES: &str = "engine_spool_max_bytes";
/// How long the oldest record has waited, seconds.
pub const SPOOL_AGE: &str = "engine_spool_oldest_record_age";
/// Records that the prediction log has got.
pub const SPOOL_SHIPPED: &str = "engine_spool_shipped_records";
/// Records that could not be kept, as the spool was full or its disk failed.
pub const SPOOL_DROPPED: &str = "engine_spool_dropped_records";

/// Events: changes of state and decisions, by kind.
pub const EVENTS: &str = "engine_events";
/// Events that could not be kept, as the store was down for too long, or takes none like it.
pub const EVENTS_LOST: &str = "engine_events_lost";
/// Events that wait for the store.
pub const EVENTS_WAITING: &str = "engine_events_waiting";
/// Tries to deliver an event to a webhook, by outcome: `delivered`, `failed`, `dead`.
pub const WEBHOOK_DELIVERIES: &str = "engine_webhook_deliveries";

/// Whether a store answers: 1 or 0.
pub const STORE_UP: &str = "engine_store_up";
/// Time of each operation on a store, seconds.
pub const STORE_DURATION: &str = "engine_store_operation_duration";
/// Whether something that predictions do not need is down: 1 or 0.
pub const DEGRADED: &str = "engine_degraded";
/// Batches of spans that the collector did not take.
pub const SPAN_FAILURES: &str = "engine_trace_export_failures";

/// Processor time used, seconds.
pub const PROCESS_CPU: &str = "process_cpu";
/// Memory in use, bytes.
pub const PROCESS_MEMORY: &str = "process_resident_memory_bytes";
/// Address space, bytes.
pub const PROCESS_VIRTUAL: &str = "process_virtual_memory_bytes";
/// Open files.
pub const PROCESS_FILES: &str = "process_open_fds";
/// Files that may be open.
pub const PROCESS_MAX_FILES: &str = "process_max_fds";
/// Threads.
pub const PROCESS_THREADS: &str = "process_threads";
/// When the process began, seconds since 1970.
pub const PROCESS_START: &str = "process_start_time_seconds";

/// Labels of metrics, and attributes of spans.
pub mod keys {
    /// The verb; `_OTHER` for a word that HTTP does not know.
    pub const METHOD: &str = "http.request.method";
    /// The route's template; `unmatched` where there is none.
    pub const ROUTE: &str = "http.route";
    /// The answer's status.
    pub const STATUS_CODE: &str = "http.response.status_code";
    /// How often the request was sent before.
    pub const RESEND_COUNT: &str = "http.request.resend_count";
    /// `http`.
    pub const SCHEME: &str = "url.scheme";
    /// The path, in spans only.
    pub const PATH: &str = "url.path";
    /// The path of an endpoint between services.
    pub const TEMPLATE: &str = "url.template";
    /// The service that is called.
    pub const SERVER: &str = "server.address";
    /// A kind of failure, of a closed list.
    pub const ERROR: &str = "error.type";
    /// The request's id, in spans only.
    pub const REQUEST_ID: &str = "engine.request.id";
    /// The prediction's id, in spans only.
    pub const PREDICTION_ID: &str = "engine.prediction.id";
    /// The model, in spans.
    pub const SPAN_MODEL: &str = "engine.model";
    /// The version, in spans.
    pub const SPAN_VERSION: &str = "engine.model.version";
    /// Why this version, in spans.
    pub const REASON: &str = "engine.decision.reason";
    /// How likely this version was, in spans.
    pub const PROPENSITY: &str = "engine.decision.propensity";
    /// The generation of the route, in spans.
    pub const GENERATION: &str = "engine.route.generation";
    /// Rows of the request, in spans.
    pub const ROWS: &str = "engine.rows";
    /// The name of a span's event that tells who was given what (OpenTelemetry's convention).
    pub const FLAG_EVALUATION: &str = "feature_flag.evaluation";
    /// What was decided on: the model.
    pub const FLAG_KEY: &str = "feature_flag.key";
    /// What was given: the version.
    pub const FLAG_VARIANT: &str = "feature_flag.result.variant";
    /// Why: `split`, `static` and the like.
    pub const FLAG_REASON: &str = "feature_flag.result.reason";
    /// For whom: a digest of the unit.
    pub const FLAG_CONTEXT: &str = "feature_flag.context.id";
    /// Who decided: we.
    pub const FLAG_PROVIDER: &str = "feature_flag.provider.name";
    /// By what: the generation of the route.
    pub const FLAG_VERSION: &str = "feature_flag.version";
}

/// Bounds of histograms of seconds: OpenTelemetry's advice for HTTP, with three below for an engine
/// this fast.
pub const SECONDS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0,
];
