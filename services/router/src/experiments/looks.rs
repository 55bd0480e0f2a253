//! The report over time.

use domain::experiment::{Experiment, Look};

/// Adds a look at the end; of those in between, takes out the one that is missed least, which is the one whose neighbours
/// are closest together in time, while there are more than `most`. The first and the last stay.
pub fn add(experiment: &mut Experiment, look: Look, most: usize) {
    let looks = &mut experiment.looks;
    looks.push(look);
    while looks.len() > most.max(2) {
        let between = looks.windows(3).enumerate().filter_map(|(place, three)| match three {
            [before, _, after] => Some((after.at - before.at, place + 1)),
            _ => None,
        });
        let Some((_, place)) = between.min() else { return };
        looks.remove(place);
    }
}
