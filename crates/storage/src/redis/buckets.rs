//! Token buckets in Redis: one script per request, so that nobody comes between looking and taking.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use deadpool_redis::redis::{Client, RedisResult, Script};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::{Redis, WAITS};
use crate::StoreError;
use crate::limits::{Take, Taken};
use crate::ports::Limits;

/// Times are microseconds of Redis' own clock, so that no two gateways differ. A bucket is the
/// moment at which it is full; it is gone when it is. The answer has, for each bucket, whether it
/// had a token and how long it now takes to be full.
const TAKE: &str = r"
local time = redis.call('TIME')
-- Not since 1970: a number has 53 bits, and parts of a microsecond are to be left of them.
local now = (time[1] - 1700000000) * 1000000 + time[2]
local debts, all = {}, true
for i, key in ipairs(KEYS) do
  local interval, depth = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local full_at = tonumber(redis.call('GET', key) or now)
  -- More than the depth is there only if the clock was set back.
  debts[i] = math.min(math.max(full_at - now, 0), depth)
  if debts[i] + interval > depth + 0.1 then all = false end
end
local answer = {}
for i, key in ipairs(KEYS) do
  local interval, depth = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  answer[2 * i - 1] = debts[i] + interval > depth + 0.1 and 0 or 1
  if all then
    debts[i] = debts[i] + interval
    local full_at = string.format('%.3f', now + debts[i])
    redis.call('SET', key, full_at, 'PX', math.ceil(debts[i] / 1000))
  end
  answer[2 * i] = math.floor(debts[i] + 0.5)
end
return answer
";

/// The script, and a connection that all requests share.
pub(super) struct Buckets {
    script: Script,
    client: Client,
    connection: OnceCell<ConnectionManager>,
}

impl Buckets {
    pub(super) fn new(client: Client) -> Self {
        Self { script: Script::new(TAKE), client, connection: OnceCell::new() }
    }

    async fn take(&self, asked: &[Take]) -> RedisResult<Vec<u64>> {
        let connect = async || {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(1)
                .set_max_delay(WAITS.connect)
                .set_connection_timeout(Some(WAITS.connect))
                .set_response_timeout(Some(WAITS.answer));
            ConnectionManager::new_lazy_with_config(self.client.clone(), config)
        };
        let mut connection = self.connection.get_or_try_init(connect).await?.clone();
        let mut step = self.script.prepare_invoke();
        for take in asked {
            step.key(format!("engine:limit:{}", take.key));
            step.arg(microseconds(take.interval)).arg(microseconds(take.depth()));
        }
        step.invoke_async(&mut connection).await
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[async_trait]
impl Limits for Redis {
    async fn take(&self, asked: &[Take]) -> Result<Vec<Taken>, StoreError> {
        const ACTION: &str = "count a request";
        let numbers = match timeout(WAITS.call, self.buckets.take(asked)).await {
            Ok(Ok(numbers)) => numbers,
            Ok(Err(cause)) => return Err(self.failure(ACTION, cause)),
            Err(cause) => return Err(self.unavailable(ACTION, cause.into())),
        };
        let answers = asked.iter().zip(numbers.chunks_exact(2)).map(|(take, pair)| {
            let debt = pair.last().copied().unwrap_or_default();
            take.taken(pair.first() == Some(&1), Duration::from_micros(debt))
        });
        Ok(answers.collect())
    }
}
