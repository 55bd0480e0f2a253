//! Answers to repeated requests, in Redis: a hash per key, changed by scripts, each one step.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_redis::redis::Script;

use super::Redis;
use crate::StoreError;
use crate::idempotency::{Begun, Claim};
use crate::ports::Idempotency;

/// ARGV: fingerprint, holder, lease in milliseconds.
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'answer')
if not known[1] then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'holder', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'claimed', ''}
end
if known[1] ~= ARGV[1] then return {'mismatch', ''} end
if known[2] then return {'done', known[2]} end
return {'running', ''}
",
    )
});

/// ARGV: holder, answer, retention in milliseconds.
static COMPLETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'answer', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
",
    )
});

/// ARGV: holder.
static ABANDON: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local known = redis.call('HMGET', KEYS[1], 'holder', 'answer')
if known[1] == ARGV[1] and not known[2] then redis.call('DEL', KEYS[1]) end
return 0
",
    )
});

fn place(claim: &Claim) -> String {
    format!("engine:once:{}", claim.key)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[async_trait]
impl Idempotency for Redis {
    async fn begin(&self, claim: &Claim) -> Result<Begun, StoreError> {
        const ACTION: &str = "claim an idempotency key";
        let (state, answer): (String, Vec<u8>) = self
            .call(ACTION, async |connection| {
                let mut step = BEGIN.key(place(claim));
                step.arg(&claim.fingerprint).arg(&claim.holder).arg(milliseconds(claim.lease));
                step.invoke_async(connection).await
            })
            .await?;
        Ok(match state.as_str() {
            "claimed" => Begun::Claimed,
            "mismatch" => Begun::Mismatch,
            "done" => Begun::Done(answer.into()),
            _ => Begun::Running,
        })
    }

    async fn complete(
        &self,
        claim: &Claim,
        answer: Bytes,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        self.call("keep an answer", async |connection| {
            let mut step = COMPLETE.key(place(claim));
            step.arg(&claim.holder).arg(&answer[..]).arg(milliseconds(retention));
            step.invoke_async(connection).await
        })
        .await
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        self.call("give an idempotency key back", async |connection| {
            ABANDON.key(place(claim)).arg(&claim.holder).invoke_async::<()>(connection).await
        })
        .await
    }
}
