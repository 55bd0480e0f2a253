//! What the system says of this process, under the names that Prometheus clients give it.

use opentelemetry::metrics::Meter;
use procfs::process::{LimitValue, Process, Stat};

use super::names;

/// Reports it; where the system has no `/proc`, there is nothing to report.
pub(super) fn report(meter: &Meter) {
    meter
        .f64_observable_counter(names::PROCESS_CPU)
        .with_unit("s")
        .with_callback(|observer| {
            if let Some(stat) = stat() {
                observer.observe(seconds(stat.utime + stat.stime), &[]);
            }
        })
        .build();
    gauge(meter, names::PROCESS_MEMORY, || {
        stat().map(|stat| stat.rss.saturating_mul(procfs::page_size()))
    });
    gauge(meter, names::PROCESS_VIRTUAL, || stat().map(|stat| stat.vsize));
    gauge(meter, names::PROCESS_THREADS, || u64::try_from(stat()?.num_threads).ok());
    gauge(meter, names::PROCESS_FILES, || {
        Process::myself().and_then(|process| process.fd_count()).ok().map(|count| count as u64)
    });
    gauge(meter, names::PROCESS_MAX_FILES, || {
        let limits = Process::myself().and_then(|process| process.limits()).ok()?;
        match limits.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most),
            LimitValue::Unlimited => None,
        }
    });
    let began = began();
    meter
        .f64_observable_gauge(names::PROCESS_START)
        .with_callback(move |observer| {
            if let Some(began) = began {
                observer.observe(began, &[]);
            }
        })
        .build();
}

fn gauge(meter: &Meter, name: &'static str, read: fn() -> Option<u64>) {
    meter
        .u64_observable_gauge(name)
        .with_callback(move |observer| {
            if let Some(value) = read() {
                observer.observe(value, &[]);
            }
        })
        .build();
}

fn stat() -> Option<Stat> {
    Process::myself().and_then(|process| process.stat()).ok()
}

fn began() -> Option<f64> {
    let boot = f64::from(u32::try_from(procfs::boot_time_secs().ok()?).ok()?);
    Some(boot + seconds(stat()?.starttime))
}

/// Ticks of the system's clock as seconds.
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}
