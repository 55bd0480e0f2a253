//! What a policy allows into a model and out of it: patterns made ready once, texts looked through.
//!
//! Input is refused or left as it is. Output is masked, withheld or flagged; what is masked once
//! stays as it is when it is masked again.

mod cards;
mod detect;
mod fold;
mod sieve;

use std::collections::BTreeSet;
use std::io::Cursor;

use ::image::{ImageFormat, ImageReader};
use domain::policy::{Action, ImageRules, PictureFormat, Rules};
use regex::{Regex, RegexBuilder};

use detect::Finder;
pub use sieve::Sieve;

/// What a compiled pattern may take, bytes.
const PATTERN_BYTES: usize = 1 << 20;
/// The longest name of a pattern.
const NAME_LENGTH: usize = 64;
/// How often a text is masked until nothing more is found; it is done after the second time but for
/// patterns that are made to go on.
const ROUNDS: usize = 8;

/// Rules made ready.
#[derive(Debug)]
pub struct Compiled {
    max_chars: Option<usize>,
    max_rows: Option<usize>,
    image: Option<ImageRules>,
    forbidden: Vec<(String, Regex)>,
    output: Vec<OutputRule>,
}

/// A rule of the output.
#[derive(Debug)]
struct OutputRule {
    name: String,
    mark: String,
    action: Action,
    finder: Finder,
}

/// Where in a policy something is wrong, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// A JSON pointer into the policy, as a URI fragment.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

impl Compiled {
    /// Makes rules ready.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn new(rules: &Rules) -> Result<Self, Vec<RuleFault>> {
        let mut faults = Vec::new();
        let mut fault = |pointer: String, detail: String| {
            faults.push(RuleFault { pointer, detail });
        };
        let input = &rules.input;
        for (field, value) in [("max_chars", input.max_chars), ("max_rows", input.max_rows)] {
            if value == Some(0) {
                fault(format!("#/input/{field}"), "must be at least 1: nothing would pass".into());
            }
        }
        if let Some(image) = &input.image {
            if image.max_pixels == Some(0) {
                let detail = "must be at least 1: nothing would pass";
                fault("#/input/image/max_pixels".into(), detail.into());
            }
            if *image == ImageRules::default() {
                let detail = "does nothing: give `max_pixels` or `formats`, or leave it out";
                fault("#/input/image".into(), detail.into());
            }
        }
        let mut names = BTreeSet::new();
        let mut forbidden = Vec::new();
        for (index, rule) in input.forbidden.iter().enumerate() {
            let at = format!("#/input/forbidden/{index}");
            check_name(&rule.name, &mut names, &at, &mut fault);
            if let Some(regex) = pattern(&rule.pattern, &at, &mut fault) {
                forbidden.push((rule.name.clone(), regex));
            }
        }
        let given = &rules.output;
        let mut output = Vec::new();
        let mut names = BTreeSet::new();
        for (name, action, finder) in [
            ("ssn", given.ssn, Finder::Ssn),
            ("card", given.card, Finder::Card),
            ("email", given.email, Finder::Email),
            ("phone", given.phone, Finder::Phone),
        ] {
            names.insert(name.to_owned());
            output.extend(action.map(|action| OutputRule::new(name, action, finder)));
        }
        for (index, rule) in given.patterns.iter().enumerate() {
            let at = format!("#/output/patterns/{index}");
            check_name(&rule.name, &mut names, &at, &mut fault);
            let Some(regex) = pattern(&rule.pattern, &at, &mut fault) else { continue };
            let rule = OutputRule::new(&rule.name, rule.action, Finder::Pattern(regex));
            if rule.action == Action::Mask && !rule.finder.find(&rule.mark).is_empty() {
                let detail = format!("must not match its own mark `{}`", rule.mark);
                fault(format!("{at}/pattern"), detail);
            }
            output.push(rule);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(Self {
            max_chars: input.max_chars.map(size),
            max_rows: input.max_rows.map(size),
            image: input.image.clone(),
            forbidden,
            output,
        })
    }

    /// Rows that a request may hold.
    pub fn max_rows(&self) -> Option<usize> {
        self.max_rows
    }

    /// Whether texts that go in are looked at.
    pub fn reads_texts(&self) -> bool {
        self.max_chars.is_some() || !self.forbidden.is_empty()
    }

    /// What is wrong with a text that is to go in, if anything is.
    pub fn text_fault(&self, text: &str) -> Option<String> {
        // No text has more characters than bytes.
        if let Some(most) = self.max_chars.filter(|most| text.len() > *most) {
            let count = text.chars().count();
            if count > most {
                return Some(format!(
                    "must have at most {most} characters by the model's policy, has {count}"
                ));
            }
        }
        let found = self.forbidden.iter().find(|(_, pattern)| pattern.is_match(text))?;
        Some(format!("holds what the model's policy forbids as `{}`", found.0))
    }

    /// What is wrong with a picture that is to go in, if anything is; it is not decoded.
    pub fn picture_fault(&self, bytes: &[u8]) -> Option<String> {
        let rules = self.image.as_ref()?;
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
        let format = reader.format()?;
        if !rules.formats.is_empty() && !rules.formats.iter().any(|one| is(*one, format)) {
            let names: Vec<_> = rules.formats.iter().map(|one| name_of(*one)).collect();
            return Some(format!("must be {} by the model's policy", names.join(" or ")));
        }
        let most = rules.max_pixels?;
        // What cannot be read is refused where it is decoded.
        let (width, height) = reader.into_dimensions().ok()?;
        let pixels = u64::from(width) * u64::from(height);
        (pixels > most).then(|| {
            format!(
                "must have at most {most} pixels by the model's policy, has {pixels} ({width} x {height})"
            )
        })
    }

    /// Whether answers are looked through.
    pub fn reads_answers(&self) -> bool {
        !self.output.is_empty()
    }

    /// A text as the log may keep it: masked also where the answer would be withheld.
    pub fn redacted(&self, text: &str) -> String {
        let kept = |rule: &&OutputRule| rule.action != Action::Flag;
        masked(self.output.iter().filter(kept), text).unwrap_or_else(|| text.to_owned())
    }
}

impl OutputRule {
    fn new(name: &str, action: Action, finder: Finder) -> Self {
        Self { name: name.to_owned(), mark: format!("[{name}]"), action, finder }
    }
}

/// The text with each find replaced by its rule's mark; `None` if there is none.
fn masked<'r>(rules: impl Iterator<Item = &'r OutputRule> + Clone, text: &str) -> Option<String> {
    let mut current: Option<String> = None;
    for _ in 0..ROUNDS {
        let mut found_any = false;
        for rule in rules.clone() {
            let from = current.as_deref().unwrap_or(text);
            let finds = rule.finder.find(from);
            if finds.is_empty() {
                continue;
            }
            found_any = true;
            let mut made = String::with_capacity(from.len());
            let mut done = 0;
            for find in finds {
                made.push_str(from.get(done..find.start).unwrap_or_default());
                made.push_str(&rule.mark);
                done = find.end;
            }
            made.push_str(from.get(done..).unwrap_or_default());
            current = Some(made);
        }
        // What stands beside a mark may be one find more.
        if !found_any {
            break;
        }
    }
    current
}

fn check_name(
    name: &str,
    names: &mut BTreeSet<String>,
    at: &str,
    fault: &mut impl FnMut(String, String),
) {
    let fits = (1..=NAME_LENGTH).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'));
    if !fits {
        let detail = format!(
            "must be 1 to {NAME_LENGTH} characters of `A-Z a-z 0-9 _ -`, got `{}`",
            name.escape_debug()
        );
        fault(format!("{at}/name"), detail);
    } else if !names.insert(name.to_owned()) {
        fault(format!("{at}/name"), format!("`{name}` is the name of another rule"));
    }
}

fn pattern(text: &str, at: &str, fault: &mut impl FnMut(String, String)) -> Option<Regex> {
    let made = RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
    let problem = match made {
        Ok(regex) if regex.is_match("") => "must not match an empty text".to_owned(),
        Ok(regex) => return Some(regex),
        Err(regex::Error::CompiledTooBig(limit)) => {
            format!("must not take more than {limit} bytes when compiled: make it simpler")
        }
        // The last line says what, those before show where.
        Err(error) => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("is no regular expression: {}", last.trim_start_matches("error: "))
        }
    };
    fault(format!("{at}/pattern"), problem);
    None
}

fn is(one: PictureFormat, format: ImageFormat) -> bool {
    match one {
        PictureFormat::Jpeg => format == ImageFormat::Jpeg,
        PictureFormat::Png => format == ImageFormat::Png,
        PictureFormat::Webp => format == ImageFormat::WebP,
    }
}

fn name_of(one: PictureFormat) -> &'static str {
    match one {
        PictureFormat::Jpeg => "JPEG",
        PictureFormat::Png => "PNG",
        PictureFormat::Webp => "WebP",
    }
}

#[cfg(test)]
mod tests;
