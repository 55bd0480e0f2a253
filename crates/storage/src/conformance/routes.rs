//! [`Routes`].

use domain::route::{Arm, BUCKETS, Segment};
use domain::{ModelName, Route};
use futures_util::future::join_all;

use super::registry::model_name;
use super::{ODD_NUMBERS, Outcome, assert_conflict, assert_invalid, moment, odd_texts};
use crate::ports::Routes;
use crate::{StoreError, json};

/// Put, read, list; a generation that does not follow; odd values.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn routes(port: &dyn Routes) -> Outcome {
    let name = model_name("route")?;
    assert_eq!(port.route(&name).await?, None);
    for too_early in [0, 2, u64::MAX] {
        assert_conflict(port.put_route(route(&name, too_early)?).await);
    }
    assert_eq!(port.route(&name).await?, None);

    for generation in 1..=12 {
        let next = route(&name, generation)?;
        port.put_route(next.clone()).await?;
        assert_eq!(port.route(&name).await?, Some(next));
    }
    for late in [1, 12, 14] {
        assert_conflict(port.put_route(route(&name, late)?).await);
    }
    assert_eq!(port.route(&name).await?, Some(route(&name, 12)?));

    let earlier = port.history(&name, 12, 3).await?;
    assert_eq!(earlier, [route(&name, 11)?, route(&name, 10)?, route(&name, 9)?]);
    assert_eq!(port.history(&name, u64::MAX, 100).await?.len(), 12);
    assert!(port.history(&name, 1, 100).await?.is_empty());

    let other = route(&model_name("Route")?, 1)?;
    port.put_route(other.clone()).await?;
    let listed = port.routes().await?;
    assert!(listed.contains(&other) && listed.contains(&route(&name, 12)?));
    assert_eq!(listed.iter().filter(|route| route.model == name).count(), 1);
    assert!(listed.is_sorted_by_key(|route| route.model.clone()), "routes are not by model");

    odd_values(port).await
}

/// Many put the same generation at once, through two doors: one does, the others conflict.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn routes_by_two(first: &dyn Routes, second: &dyn Routes) -> Outcome {
    let name = model_name("contested")?;
    for generation in 1..=5 {
        let mut rivals = Vec::new();
        for number in 0..10 {
            let rival = Route { salt: number.to_string(), ..route(&name, generation)? };
            rivals.push((if number % 2 == 0 { first } else { second }, rival));
        }
        let tries = rivals.iter().map(|(port, rival)| port.put_route(rival.clone()));
        let mut winners = Vec::new();
        for (outcome, (_, rival)) in join_all(tries).await.into_iter().zip(&rivals) {
            match outcome {
                Ok(()) => winners.push(rival.clone()),
                lost => assert_conflict(lost),
            }
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(first.route(&name).await?.as_ref(), winners.first());
        assert_eq!(second.route(&name).await?.as_ref(), winners.first());
    }
    Ok(())
}

async fn odd_values(port: &dyn Routes) -> Outcome {
    let name = model_name("odd")?;
    let mut generation = 0;
    for text in odd_texts() {
        generation += 1;
        let odd = Route { salt: text.clone(), updated_by: text, ..route(&name, generation)? };
        port.put_route(odd.clone()).await?;
        assert_eq!(port.route(&name).await?, Some(odd));
    }
    for weight in ODD_NUMBERS {
        generation += 1;
        let odd = weighing(route(&name, generation)?, weight);
        port.put_route(odd.clone()).await?;
        assert_eq!(port.route(&name).await?, Some(odd));
    }
    for weight in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_invalid(port.put_route(weighing(route(&name, generation + 1)?, weight)).await);
    }
    // A refused change leaves no trace.
    port.put_route(route(&name, generation + 1)?).await
}

fn weighing(mut route: Route, weight: f64) -> Route {
    for arm in &mut route.arms {
        arm.weight = weight;
    }
    route
}

fn route(model: &ModelName, generation: u64) -> Result<Route, StoreError> {
    let version = json::read("version", model.as_str(), "\"1\"")?;
    let arms = vec![Arm { version, share_ppm: BUCKETS, weight: 100.0 }];
    let segments = vec![Segment { start: 0, end: BUCKETS, version }];
    let at = moment(i64::try_from(generation).unwrap_or_default().clamp(0, 100));
    let first = Route::first(model.clone(), arms, segments, "c2FsdA".to_owned(), "anna", at);
    Ok(Route { generation, ..first })
}
