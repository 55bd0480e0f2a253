//! The way of one prediction: a replica is chosen, and another when the first one does not answer.
//!
//! A prediction changes nothing on a replica, and the router logs it once, after the answer. So a
//! request may run twice, and the first answer counts:
//!
//! | a replica | the request | counts against the replica |
//! |---|---|---|
//! | cannot be reached, breaks off | goes to another at once, within the budget | yes |
//! | is slow (`hedge_after_ms`) | goes to another as well, within the budget | if the other is faster |
//! | has too much to do | goes to one other, once, within the budget | no |
//! | lost the version | goes to another at once | no; the version is loaded again there |
//! | refuses (4xx), fails (500) | has its answer | no |
//!
//! What nobody waits for is asked of one replica, once, and counts against none: it may wait there
//! as long as others have work for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::inference::{Answered, PredictTask, Target};
use contracts::{ApiError, Call, Deadline, ErrorCode, Framed};
use domain::Version;
use futures_util::stream::{FuturesUnordered, StreamExt};
use runtime::telemetry::{label, metrics};

use super::breaker::Standing;
use super::member::{Attempt, Member};
use super::{Fleet, contains, none_reached, within};

type Answer = Result<Framed<Answered>, ApiError>;

/// What came of asking the replicas that hold a version.
enum Outcome {
    /// The answer, or an error that asking on does not mend.
    Final(Answer),
    /// No replica that holds it is left.
    NoneLeft,
}

/// Which replicas a choice may fall on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// Also those with an open breaker, if there is no other.
    All,
    /// Those that are well.
    Well,
}

/// What is known of a prediction under way.
struct Trial<'a> {
    call: &'a Call,
    request: &'a Framed<PredictTask>,
    members: Arc<Vec<Arc<Member>>>,
    tried: Vec<Arc<Member>>,
    /// Attempts without a result yet.
    running: Vec<(Arc<Member>, Instant)>,
    /// Whether nobody else can take it, so that only waiting is left.
    only_waits: bool,
    overloads: u32,
    last: Option<ApiError>,
}

impl Fleet {
    /// Runs a version on a replica that holds it; if none does, it is loaded first.
    pub(crate) async fn predict(
        &self,
        call: &Call,
        version: &Version,
        request: &Framed<PredictTask>,
    ) -> Answer {
        if request.meta.background {
            return self.ask_in_background(call, request).await;
        }
        self.budget.earn();
        for round in 0..2 {
            if let Outcome::Final(answer) = self.ask_holders(call, request).await {
                return answer;
            }
            if round == 0 {
                let loaded = within(call.deadline, self.load_on_one(version)).await;
                loaded.map_err(with_time_to_try_again)?;
            }
        }
        Err(none_reached())
    }

    async fn ask_in_background(&self, call: &Call, request: &Framed<PredictTask>) -> Answer {
        let wanted = &request.meta.target;
        let members = self.members.load_full();
        let well: Vec<_> = members
            .iter()
            .filter(|member| member.holds(wanted) && member.answers())
            .filter(|member| member.breaker.standing() == Standing::Closed)
            .collect();
        let member = self.less_busy_of_two(&well).ok_or_else(none_reached)?;
        let attempt = Attempt::new(Arc::clone(member));
        let answer = attempt.member.api.predict(call.clone(), request.clone());
        within(call.deadline, answer).await
    }

    async fn ask_holders(&self, call: &Call, request: &Framed<PredictTask>) -> Outcome {
        let mut trial = Trial {
            call,
            request,
            members: self.members.load_full(),
            tried: Vec::new(),
            running: Vec::new(),
            only_waits: false,
            overloads: 0,
            last: None,
        };
        let Some(first) = self.pick(&trial, From::All) else { return Outcome::NoneLeft };
        let mut attempts = FuturesUnordered::new();
        attempts.push(trial.begin(first));
        let hedge_after = Duration::from_millis(self.settings.hedge_after_ms.max(1));
        let deadline = call.deadline.instant();
        loop {
            let untried = trial.members.len() > trial.tried.len();
            let spare = untried && !trial.only_waits && trial.running.len() < 2;
            let newest = trial.running.last().map_or(deadline, |(_, began)| *began);
            let wake = if spare { deadline.min(newest + hedge_after) } else { deadline };
            tokio::select! {
                biased;
                Some((attempt, answer)) = attempts.next() => {
                    let again = match trial.judge(attempt, answer, hedge_after) {
                        Ok(answer) => return Outcome::Final(answer),
                        Err(reason) => reason,
                    };
                    if let Some(next) = self.again(&trial, again) {
                        attempts.push(trial.begin(next));
                    } else if attempts.is_empty() {
                        return trial.end();
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    if Instant::now() >= deadline {
                        trial.give_up(hedge_after);
                        return Outcome::Final(Err(Deadline::passed()));
                    }
                    match self.again(&trial, "slow") {
                        Some(next) => attempts.push(trial.begin(next)),
                        None => trial.only_waits = true,
                    }
                }
            }
        }
    }

    /// The replica for one more attempt, if there is one and the budget allows it.
    fn again(&self, trial: &Trial<'_>, reason: &'static str) -> Option<Attempt> {
        // Load is not moved to those that may not bear it.
        let from = if reason == "failed" || reason == "lost" { From::All } else { From::Well };
        let next = self.pick(trial, from)?;
        if reason != "lost" && !self.budget.take() {
            metrics().router_retries_refused.add(1, &[]);
            return None;
        }
        metrics().router_retries.add(1, &[label("reason", reason)]);
        Some(next)
    }

    /// Chooses among the replicas that hold the version and were not tried: first one whose breaker
    /// is half open, as somebody has to try it; else the less busy of two drawn at random from those
    /// that are well, else from those that are silent, else from those with an open breaker.
    fn pick(&self, trial: &Trial<'_>, from: From) -> Option<Attempt> {
        let wanted: &Target = &trial.request.meta.target;
        let mut tiers: [Vec<&Arc<Member>>; 3] = Default::default();
        let [well, silent, open] = &mut tiers;
        for member in trial.members.iter() {
            if !member.holds(wanted) || contains(&trial.tried, member) {
                continue;
            }
            match member.breaker.standing() {
                Standing::HalfOpen if member.breaker.probe() => {
                    return Some(Attempt::new(Arc::clone(member)));
                }
                Standing::Closed if member.answers() => well.push(member),
                Standing::Closed => silent.push(member),
                Standing::HalfOpen | Standing::Open => open.push(member),
            }
        }
        let tiers = tiers.iter().take(if from == From::Well { 1 } else { 3 });
        let member = tiers.into_iter().find_map(|tier| self.less_busy_of_two(tier))?;
        Some(Attempt::new(Arc::clone(member)))
    }

    fn less_busy_of_two<'m>(&self, members: &[&'m Arc<Member>]) -> Option<&'m Arc<Member>> {
        let count = members.len() as u64;
        if count < 2 {
            return members.first().copied();
        }
        let draw = self.draw();
        let one = draw % count;
        let other = (one + 1 + (draw >> 32) % (count - 1)) % count;
        let at = |index: u64| members.get(usize::try_from(index).ok()?).copied();
        let (one, other) = (at(one)?, at(other)?);
        Some(if other.busy() < one.busy() { other } else { one })
    }
}

impl Trial<'_> {
    /// Begins an attempt. Its future owns what it needs, so that several run side by side.
    fn begin(&mut self, attempt: Attempt) -> impl Future<Output = (Attempt, Answer)> + use<> {
        self.tried.push(Arc::clone(&attempt.member));
        self.running.push((Arc::clone(&attempt.member), attempt.began));
        let (call, request) = (self.call.clone(), self.request.clone());
        async move {
            let answer = attempt.member.api.predict(call, request).await;
            (attempt, answer)
        }
    }

    /// What an answer means: the end, or why another replica is to be asked.
    fn judge(
        &mut self,
        attempt: Attempt,
        answer: Answer,
        patience: Duration,
    ) -> Result<Answer, &'static str> {
        self.running.retain(|(member, _)| !Arc::ptr_eq(member, &attempt.member));
        let error = match answer {
            Ok(answer) => {
                for (overtaken, began) in &self.running {
                    if *began < attempt.began {
                        overtaken.failed();
                    }
                }
                attempt.answered();
                return Ok(Ok(answer));
            }
            Err(error) => error,
        };
        let reason = match error.code {
            ErrorCode::NotFound => {
                attempt.member.note(&self.request.meta.target, false);
                attempt.member.wake.notify_one();
                attempt.answered();
                "lost"
            }
            ErrorCode::Unavailable if error.retry_after_s.is_some() => {
                attempt.answered();
                self.overloads += 1;
                if self.overloads > 1 {
                    return Ok(Err(error));
                }
                "overloaded"
            }
            ErrorCode::Unavailable => {
                attempt.failed();
                "failed"
            }
            ErrorCode::Timeout => {
                let hung = attempt.began.elapsed() >= patience;
                if hung {
                    attempt.failed();
                }
                if self.call.deadline.left().is_zero() {
                    return Ok(Err(error));
                }
                "failed"
            }
            _ => {
                attempt.answered();
                return Ok(Err(error));
            }
        };
        self.last = Some(error);
        Err(reason)
    }

    /// The deadline has passed: replicas that had time enough have failed.
    fn give_up(&self, patience: Duration) {
        for (member, began) in &self.running {
            if began.elapsed() >= patience {
                member.failed();
            }
        }
    }

    /// Nobody is left to ask.
    fn end(self) -> Outcome {
        match self.last {
            // Overload is not mended by loading the version once more, and what the budget refused
            // is not asked for by another way.
            Some(error) if self.overloads > 0 || self.some_untried() => {
                Outcome::Final(Err(with_time_to_try_again(error)))
            }
            _ => Outcome::NoneLeft,
        }
    }

    fn some_untried(&self) -> bool {
        let wanted = &self.request.meta.target;
        let untried = |member: &&Arc<Member>| !contains(&self.tried, member);
        self.members.iter().filter(untried).any(|member| member.holds(wanted))
    }
}

/// Clients are told when to try again, also where it was a replica that could not be reached.
fn with_time_to_try_again(error: ApiError) -> ApiError {
    match (error.code, error.retry_after_s) {
        (ErrorCode::Unavailable, None) => error.retry_after(1),
        _ => error,
    }
}
