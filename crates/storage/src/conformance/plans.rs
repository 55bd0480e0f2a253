//! [`Plans`].

use domain::counts::{ArmCounts, CountBatch};
use domain::layer::Layer;
use domain::rollout::{Rollout, RolloutPlan, RolloutState};
use domain::{Plan, PlanId, PlanKind};
use futures_util::future::join_all;

use super::registry::model_name;
use super::{Outcome, assert_conflict, fresh, moment, odd_texts};
use crate::ports::Plans;
use crate::{StoreError, json};

/// Put, read, list; a revision that does not follow; a name that is taken; counts taken in once;
/// leases.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn plans(port: &dyn Plans) -> Outcome {
    let first = rollout(1)?;
    assert_eq!(port.plan(&first.id).await?, None);
    assert_conflict(port.put_plan(revised(&first, 2)).await);
    port.put_plan(revised(&first, 1)).await?;
    assert_conflict(port.put_plan(revised(&first, 1)).await);
    assert_conflict(port.put_plan(revised(&first, 3)).await);
    port.put_plan(revised(&first, 2)).await?;
    assert_eq!(port.plan(&first.id).await?, Some(revised(&first, 2)));

    let closed = Rollout { state: RolloutState::Promoted, ..rollout(1)? };
    port.put_plan(Plan::Rollout(Box::new(closed.clone()))).await?;
    let ids = |plans: Vec<Plan>| plans.iter().map(|plan| plan.id().clone()).collect::<Vec<_>>();
    let all = ids(port.plans(PlanKind::Rollout, false).await?);
    assert!(all.contains(&first.id) && all.contains(&closed.id));
    assert!(all.is_sorted_by(|earlier, later| earlier > later), "plans are not newest first");
    let open = ids(port.plans(PlanKind::Rollout, true).await?);
    assert!(open.contains(&first.id) && !open.contains(&closed.id));

    for name in odd_texts() {
        let name = fresh(&name);
        let one = layer(&name);
        port.put_plan(Plan::Layer(one.clone())).await?;
        assert_conflict(port.put_plan(Plan::Layer(layer(&name))).await);
        assert_eq!(port.plan(&one.id).await?, Some(Plan::Layer(one)));
    }
    counted(port).await?;
    leased(port).await
}

/// Many revise a plan, take in the same counts or want the same lease at once, through two doors.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn plans_by_two(first: &dyn Plans, second: &dyn Plans) -> Outcome {
    let plan = rollout(1)?;
    first.put_plan(revised(&plan, 1)).await?;
    first.count(&[batch(&plan.id, "a")]).await?;
    for revision in 2..=6 {
        let tries = (0..8).map(|number| {
            let port = if number % 2 == 0 { first } else { second };
            port.put_plan(revised(&plan, revision))
        });
        let outcomes = join_all(tries).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        outcomes.into_iter().filter(Result::is_err).for_each(assert_conflict);
    }
    let waiting = second.waiting(&plan.id, 10).await?;
    let ids: Vec<String> = waiting.iter().map(|batch| batch.id.clone()).collect();
    let tries = (0..8).map(|number| {
        let port = if number % 2 == 0 { first } else { second };
        port.take_in(revised(&plan, 7), &ids)
    });
    assert_eq!(join_all(tries).await.into_iter().filter(Result::is_ok).count(), 1);
    assert!(first.waiting(&plan.id, 10).await?.is_empty());

    let (name, holders) = (fresh("lease"), ["a", "b", "c", "d"]);
    let tries = holders.iter().enumerate().map(|(number, holder)| {
        let port = if number % 2 == 0 { first } else { second };
        port.lease(&name, holder, moment(0), moment(10))
    });
    let outcomes = join_all(tries).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome).count(), 1);
    Ok(())
}

async fn counted(port: &dyn Plans) -> Outcome {
    let (plan, other) = (rollout(1)?, rollout(1)?);
    port.put_plan(revised(&plan, 1)).await?;
    let batches = ["a", "b", "c"].map(|name| batch(&plan.id, name));
    port.count(&batches).await?;
    // What is known is passed over.
    port.count(&batches).await?;
    port.count(&[batch(&other.id, "a")]).await?;
    assert_eq!(port.waiting(&plan.id, 10).await?, batches);
    assert_eq!(port.waiting(&plan.id, 2).await?.len(), 2);

    let [a, b, c] = batches.map(|batch| batch.id);
    // Both or neither.
    assert_conflict(port.take_in(revised(&plan, 5), std::slice::from_ref(&a)).await);
    assert_eq!(port.waiting(&plan.id, 10).await?.len(), 3);
    port.take_in(revised(&plan, 2), &[a.clone(), b]).await?;
    assert_conflict(port.take_in(revised(&plan, 3), &[a, c.clone()]).await);
    assert_eq!(port.plan(&plan.id).await?, Some(revised(&plan, 2)));
    port.take_in(revised(&plan, 3), &[c]).await?;
    assert!(port.waiting(&plan.id, 10).await?.is_empty());
    assert_eq!(port.waiting(&other.id, 10).await?.len(), 1);
    port.forget_counts(moment(100)).await?;
    assert!(port.waiting(&other.id, 10).await?.is_empty());
    Ok(())
}

async fn leased(port: &dyn Plans) -> Outcome {
    let name = fresh("lease");
    assert!(port.lease(&name, "a", moment(0), moment(10)).await?);
    assert!(!port.lease(&name, "b", moment(9), moment(20)).await?);
    assert!(port.lease(&name, "a", moment(9), moment(20)).await?, "a holder goes on");
    assert!(!port.lease(&name, "b", moment(15), moment(30)).await?);
    assert!(port.lease(&name, "b", moment(21), moment(30)).await?, "an old lease is free");
    assert!(!port.lease(&name, "a", moment(22), moment(30)).await?);
    // Given back by ending it.
    assert!(port.lease(&name, "b", moment(23), moment(22)).await?);
    assert!(port.lease(&name, "a", moment(23), moment(30)).await?);
    Ok(())
}

fn revised(rollout: &Rollout, revision: u32) -> Plan {
    Plan::Rollout(Box::new(Rollout { revision, ..rollout.clone() }))
}

fn batch(plan: &PlanId, name: &str) -> CountBatch {
    CountBatch {
        id: format!("{plan}-{name}"),
        plan: plan.clone(),
        step: 0,
        at: moment(1),
        arms: [(version(), ArmCounts { requests: 3, bad: vec![1], ..ArmCounts::default() })].into(),
    }
}

fn version() -> domain::VersionId {
    domain::VersionId::new(1).unwrap_or_else(|| unreachable!("1 is a version"))
}

fn layer(name: &str) -> Layer {
    Layer {
        id: PlanId::new(PlanKind::Layer),
        name: name.to_owned(),
        salt: "c2FsdA".to_owned(),
        holdout_ppm: 0,
        created_by: "anna".to_owned(),
        created_at: moment(0),
        revision: 1,
    }
}

fn rollout(revision: u32) -> Result<Rollout, StoreError> {
    Ok(Rollout {
        id: PlanId::new(PlanKind::Rollout),
        model: model_name("rolled")?,
        canary: json::read("version", "2", "\"2\"")?,
        baseline: json::read("version", "1", "\"1\"")?,
        plan: RolloutPlan::default(),
        state: RolloutState::Running,
        step: 0,
        step_since: moment(0),
        evidence: serde_json::json!({"l": [0.1, 1.0 / 3.0, -1e-300]}),
        status: "waits".to_owned(),
        moves: Vec::new(),
        approved_by: None,
        created_by: "anna".to_owned(),
        created_at: moment(0),
        ended_at: None,
        revision,
    })
}
