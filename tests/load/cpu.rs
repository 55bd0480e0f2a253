//! CPU time, from `/proc`.

use std::collections::BTreeMap;
use std::fs;

/// How the load generator is called.
pub(crate) const CLIENT: &str = "oha";

/// The CPU seconds that each program under this one has used so far.
pub(crate) struct Cpu(BTreeMap<String, f64>);

impl Cpu {
    /// As it is now.
    pub(crate) fn now() -> Self {
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let process: Option<u32> = entry.file_name().to_string_lossy().parse().ok();
            if let Some(process) = process
                && let Some(stat) = Stat::of(process)
            {
                processes.insert(process, stat);
            }
        }
        let itself = std::process::id();
        let below = |mut process: u32| {
            while let Some(stat) = processes.get(&process) {
                if stat.parent == itself {
                    return true;
                }
                process = stat.parent;
            }
            false
        };
        let mut used = BTreeMap::new();
        for (process, stat) in &processes {
            if below(*process) {
                *used.entry(stat.program.clone()).or_default() += stat.seconds;
            }
        }
        // The load generator has ended by now; nothing else that ends here takes time.
        used.insert(CLIENT.to_owned(), processes[&itself].ended_children_seconds);
        Self(used)
    }

    /// Of all programs but the load generator.
    pub(crate) fn seconds(&self) -> f64 {
        self.0.iter().filter(|(program, _)| *program != CLIENT).map(|(_, seconds)| seconds).sum()
    }

    /// Microseconds for each of `requests` since `earlier`, by program.
    pub(crate) fn since(&self, earlier: &Self, requests: u64) -> BTreeMap<String, f64> {
        let used = |(program, seconds): (&String, &f64)| {
            let before = earlier.0.get(program).copied().unwrap_or(0.0);
            (program.clone(), (seconds - before) * 1e6 / requests as f64)
        };
        self.0.iter().map(used).collect()
    }
}

struct Stat {
    program: String,
    parent: u32,
    seconds: f64,
    ended_children_seconds: f64,
}

impl Stat {
    /// None if the process has ended.
    fn of(process: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (program, rest) = text.split_once('(')?.1.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        // In hundredths of a second on every Linux; see proc_pid_stat(5), which counts from one.
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Self {
            // `load-` is this program, started again.
            program: if program.starts_with("load-") { "handler" } else { program }.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            seconds: (ticks(14)? + ticks(15)?) / 100.0,
            ended_children_seconds: (ticks(16)? + ticks(17)?) / 100.0,
        })
    }
}
