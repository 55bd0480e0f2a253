mod bandits;
mod canaries;
mod looks;
mod merging;
mod verdicts;
