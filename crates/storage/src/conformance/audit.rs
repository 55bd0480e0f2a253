//! [`AuditTrail`].

use domain::{AuditFilter, AuditRow};
use futures_util::future::join_all;

use super::{Outcome, assert_conflict, fresh, moment};
use crate::ports::AuditTrail;

/// Append, read in order, search.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn audit(port: &dyn AuditTrail) -> Outcome {
    port.append(&[]).await?;
    let before = port.head().await?.map_or(0, |(seq, _)| seq);
    let (anna, target) = (fresh("anna"), fresh("model:iris"));
    let row = |place: u64, actor: &str, action: &str| AuditRow {
        seq: before + place,
        at: moment(i64::try_from(before + place).unwrap_or_default()),
        actor: actor.to_owned(),
        action: action.to_owned(),
        target: target.clone(),
        record: format!("{{\"odd\":\"\\u0000 é {place}\"}}"),
        seal: format!("seal {place}"),
    };
    let rows = [
        row(1, &anna, "route.put"),
        row(2, "ben", "route.put"),
        row(3, &anna, "router.other"),
        row(4, &anna, "user.create"),
    ];
    assert_conflict(port.append(&rows[1..]).await);
    port.append(&rows[..1]).await?;
    assert_conflict(port.append(&rows[..1]).await);
    port.append(&rows[1..]).await?;
    assert_eq!(port.head().await?, Some((before + 4, "seal 4".to_owned())));

    let all = AuditFilter { after: before, ..AuditFilter::default() };
    assert_eq!(port.page(&all, 100).await?, rows);
    assert_eq!(port.page(&all, 2).await?, rows[..2]);
    let newest = AuditFilter { newest_before: Some(before + 4), ..all.clone() };
    assert_eq!(port.page(&newest, 2).await?, [rows[2].clone(), rows[1].clone()]);
    let by_anna = AuditFilter { actor: Some(anna), ..all.clone() };
    assert_eq!(port.page(&by_anna, 100).await?.len(), 3);
    let of_routes = AuditFilter { action: Some("route".to_owned()), ..all.clone() };
    assert_eq!(port.page(&of_routes, 100).await?, rows[..2]);
    let one_action = AuditFilter { action: Some("user.create".to_owned()), ..all.clone() };
    assert_eq!(port.page(&one_action, 100).await?, rows[3..]);
    let of_target = AuditFilter { target: Some(target), ..AuditFilter::default() };
    assert_eq!(port.page(&of_target, 100).await?, rows);
    let between = AuditFilter { from: Some(rows[1].at), to: Some(rows[3].at), ..all };
    assert_eq!(port.page(&between, 100).await?, rows[1..3]);
    Ok(())
}

/// Many add at once: each place is taken once, none is left out.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn audit_by_two(first: &dyn AuditTrail, second: &dyn AuditTrail) -> Outcome {
    let before = first.head().await?.map_or(0, |(seq, _)| seq);
    for place in 1..=10 {
        let tries = (0..6).map(|number| {
            let port = if number % 2 == 0 { first } else { second };
            let row = AuditRow {
                seq: before + place,
                at: moment(0),
                actor: number.to_string(),
                action: "test".to_owned(),
                target: String::new(),
                record: "{}".to_owned(),
                seal: number.to_string(),
            };
            async move { port.append(&[row]).await }
        });
        let mut added = 0;
        for outcome in join_all(tries).await {
            match outcome {
                Ok(()) => added += 1,
                lost => assert_conflict(lost),
            }
        }
        assert_eq!(added, 1);
    }
    let all = AuditFilter { after: before, ..AuditFilter::default() };
    let rows = second.page(&all, 100).await?;
    assert!(rows.iter().map(|row| row.seq).eq(before + 1..=before + 10));
    Ok(())
}
