//! One answer's way through the rules of the output.

use std::collections::{BTreeSet, HashMap};

use domain::policy::Action;

use super::{Compiled, masked};

/// Looks through the texts of one answer, and remembers what it found.
#[derive(Debug)]
pub struct Sieve<'a> {
    rules: &'a Compiled,
    /// The same labels come again and again.
    seen: HashMap<String, Option<String>>,
    found: BTreeSet<usize>,
}

impl<'a> Sieve<'a> {
    /// For an answer.
    pub fn new(rules: &'a Compiled) -> Self {
        Self { rules, seen: HashMap::new(), found: BTreeSet::new() }
    }

    /// The text to answer with in the place of this one; `None` if it may stay.
    pub fn text(&mut self, text: &str) -> Option<String> {
        if let Some(known) = self.seen.get(text) {
            return known.clone();
        }
        for (index, rule) in self.rules.output.iter().enumerate() {
            if !rule.finder.find(text).is_empty() {
                self.found.insert(index);
            }
        }
        let masks = self.rules.output.iter().filter(|rule| rule.action == Action::Mask);
        let made = masked(masks, text);
        self.seen.insert(text.to_owned(), made.clone());
        made
    }

    /// The rules that found something, with what is done about it.
    pub fn found(&self) -> impl Iterator<Item = (&'a str, Action)> + use<'a, '_> {
        let rules = &self.rules.output;
        self.found
            .iter()
            .filter_map(|at| rules.get(*at))
            .map(|rule| (rule.name.as_str(), rule.action))
    }

    /// The names of the rules that flag this answer.
    pub fn flagged(&self) -> Vec<&'a str> {
        self.with(Action::Flag).collect()
    }

    /// The first rule that withholds this answer.
    pub fn blocked(&self) -> Option<&'a str> {
        self.with(Action::Block).next()
    }

    fn with(&self, wanted: Action) -> impl Iterator<Item = &'a str> + use<'a, '_> {
        self.found().filter(move |(_, action)| *action == wanted).map(|(name, _)| name)
    }
}
