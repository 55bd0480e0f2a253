//! Tables in Markdown, and what goes into their cells.

pub(crate) fn heading(title: &str, lines: &[&str]) {
    println!("\n## {title}\n");
    for line in lines {
        println!("{line}");
    }
    println!();
}

pub(crate) fn head(columns: &[&str]) {
    println!("| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// 0.0123 is "1.2 %".
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A rate without noise behind the point: 0.001 is "0.1 %".
pub(crate) fn rate(share: f64) -> String {
    format!("{} %", (share * 100_000.0).round() / 1_000.0)
}

/// How often something is so.
pub(crate) fn share<T>(results: &[T], is_so: impl Fn(&T) -> bool) -> f64 {
    results.iter().filter(|result| is_so(result)).count() as f64 / results.len() as f64
}

/// A share that is small, with the upper end of its 95 % interval (Wilson).
pub(crate) fn small_share<T>(results: &[T], is_so: impl Fn(&T) -> bool) -> String {
    let (n, p) = (results.len() as f64, share(results, is_so));
    let z2 = 1.96f64.powi(2);
    let half = 1.96 * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let upper = (p + z2 / (2.0 * n) + half) / (1.0 + z2 / n);
    format!("{:.2} % (up to {:.2} %)", 100.0 * p, 100.0 * upper)
}

/// Of those that ended, the one that `part` of them do not exceed; "-" without any.
pub(crate) fn quantile(ends: impl Iterator<Item = u64>, part: f64) -> String {
    let mut ends: Vec<u64> = ends.collect();
    ends.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let index = (part * ends.len().saturating_sub(1) as f64).round() as usize;
    ends.get(index).map_or_else(|| "-".to_owned(), |end| thousands(*end))
}

/// 12345 is "12 345".
pub(crate) fn thousands(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{} {:03}", thousands(number / 1_000), number % 1_000),
    }
}
