//! What holds a rollout back although its evidence allows the next step: the split of units, a
//! person's approval, gates.

use std::time::{Duration, Instant};

use bytes::Bytes;
use contracts::outbound::Post;
use domain::rollout::{Gate, Rollout};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;

use super::Service;
use crate::error::RouterError;
use crate::rollouts::{next_share, ppm, share, words::percent};

/// Records read of the log at once.
const PAGE: u32 = 1_000;
/// Records read of the log in one look at a rollout.
const MOST_AT_ONCE: usize = 20_000;
/// How much of a gate's answer is read.
const MAX_ANSWER: usize = 64 << 10;
/// How much of what a gate says is told on, characters.
const MAX_SAID: usize = 200;

/// What a gate answers.
#[derive(Deserialize)]
struct GateAnswer {
    pass: bool,
    #[serde(default)]
    reason: String,
}

impl Service {
    /// What holds it back, in a sentence. The split of units is looked at first, as people and gates
    /// need not be asked where it is wrong.
    pub(super) async fn held_by(&self, rollout: &Rollout) -> Result<Option<String>, RouterError> {
        if let Some(why) = self.split_is_wrong(rollout).await? {
            return Ok(Some(why));
        }
        let next = next_share(rollout);
        let wanted = rollout.plan.approve.iter().any(|share| ppm(*share) == ppm(next));
        if wanted && rollout.approved_by.is_none() {
            return Ok(Some(format!(
                "the evidence is there for {}: waits for a person to approve it (`POST /api/v1/rollouts/{}/approve`)",
                percent(next),
                rollout.id
            )));
        }
        Ok(self.gates_say_no(rollout).await)
    }

    async fn split_is_wrong(&self, rollout: &Rollout) -> Result<Option<String>, RouterError> {
        let mut all = self.rolling.units.lock().await;
        let units = all.entry(rollout.id.clone()).or_default();
        let most = self.settings.rollouts.max_counted_units;
        let until = self.settled();
        let mut read = 0;
        while units.len() < most {
            let page =
                self.deps.documents.predictions.exposures(&rollout.id, units.after, PAGE).await?;
            let settled = units.count(&page, rollout.canary, until);
            if !settled || page.len() < PAGE as usize {
                break;
            }
            read += page.len();
            if read >= MOST_AT_ONCE {
                return Ok(Some(format!(
                    "the evidence is there for {}: units are being counted, {} so far",
                    percent(next_share(rollout)),
                    units.len()
                )));
            }
        }
        Ok(units.mismatch(rollout))
    }

    /// Records of no earlier time come to the log, but of a router that lost touch with it.
    pub(super) fn settled(&self) -> OffsetDateTime {
        let ago = i64::try_from(self.settings.rollouts.settled_s).unwrap_or(i64::MAX);
        let now = self.deps.clock.now();
        now.checked_sub(time::Duration::seconds(ago)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    async fn gates_say_no(&self, rollout: &Rollout) -> Option<String> {
        if rollout.plan.gates.is_empty() {
            return None;
        }
        let pause = Duration::from_millis(self.settings.rollouts.gate_interval_ms);
        let mut asked = self.rolling.asked.lock().await;
        if let Some((at, no)) = asked.get(&rollout.id)
            && at.elapsed() < pause
        {
            return Some(no.clone());
        }
        for gate in &rollout.plan.gates {
            if let Err(why) = self.ask_gate(rollout, gate).await {
                let next = percent(next_share(rollout));
                let no = format!("the evidence is there for {next}: gate `{}` {why}", gate.name);
                asked.insert(rollout.id.clone(), (Instant::now(), no.clone()));
                return Some(no);
            }
        }
        asked.remove(&rollout.id);
        None
    }

    /// Whether a gate lets the next step begin; else why not.
    async fn ask_gate(&self, rollout: &Rollout, gate: &Gate) -> Result<(), String> {
        let question = json!({
            "rollout": rollout.id, "model": rollout.model, "canary": rollout.canary,
            "baseline": rollout.baseline, "gate": gate.name,
            "share": share(rollout), "next_share": next_share(rollout),
        });
        let post = Post {
            url: gate.url.clone(),
            headers: vec![("content-type", "application/json".to_owned())],
            body: Bytes::from(question.to_string()),
            timeout: Duration::from_millis(self.settings.rollouts.gate_timeout_ms.max(1)),
            max_answer_bytes: MAX_ANSWER,
        };
        let reply = self.deps.outbound.post(post).await;
        let reply = reply.map_err(|error| format!("could not be asked: {error}"))?;
        if !(200..300).contains(&reply.status) {
            return Err(format!("answered {} where 2xx lets it go on", reply.status));
        }
        let answer: GateAnswer = serde_json::from_slice(&reply.body).map_err(|_cause| {
            "answered something else than `{\"pass\": true}` or `{\"pass\": false}`".to_owned()
        })?;
        match (answer.pass, answer.reason.as_str()) {
            (true, _) => Ok(()),
            (false, "") => Err("says no".to_owned()),
            (false, reason) => {
                let said = reason.chars().filter(|c| !c.is_control()).take(MAX_SAID);
                Err(format!("says no: {}", said.collect::<String>()))
            }
        }
    }
}
