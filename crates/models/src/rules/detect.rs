//! What rules of the output look for. Better to miss an odd form than to take order numbers and
//! dates for personal data.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::cards;
use super::fold::Folded;

/// Finds one kind of thing in texts.
#[derive(Debug)]
pub(super) enum Finder {
    /// US social security numbers.
    Ssn,
    /// Numbers of payment cards.
    Card,
    /// E-mail addresses.
    Email,
    /// Telephone numbers.
    Phone,
    /// What a pattern matches.
    Pattern(Regex),
}

impl Finder {
    /// Where it is found, in order, not overlapping.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        if let Self::Pattern(regex) = self {
            let ranges = regex.find_iter(text).map(|found| found.range());
            return ranges.filter(|range| !range.is_empty()).collect();
        }
        let folded = Folded::new(text);
        let found = match self {
            Self::Ssn => search(&SSN, &folded.text, is_ssn),
            Self::Card => cards::find(&folded.text),
            Self::Email => search(&EMAIL, &folded.text, |_, _| true),
            _ => phones(&folded.text),
        };
        found.into_iter().map(|range| folded.place(range)).collect()
    }
}

#[expect(clippy::expect_used, reason = "the patterns are constants, tried by the tests")]
fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant")
}

/// Three groups, between them the same sign.
static SSN: LazyLock<Regex> =
    LazyLock::new(|| constant("[0-9]{3}(?:-[0-9]{2}-|[ ][0-9]{2}[ ])[0-9]{4}"));
static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    constant(r"[\p{L}\p{N}][\p{L}\p{N}._%+'-]*@(?:[\p{L}\p{N}][\p{L}\p{N}-]*\.)+\p{L}{2,}")
});
/// `+` and a country, then groups.
static E164: LazyLock<Regex> =
    LazyLock::new(|| constant(r"(?:\+|00)[1-9][0-9]{0,2}(?:[ ./-]?\(?[0-9]{1,4}\)?){2,7}"));
/// North America: area and exchange begin with 2 to 9.
static NORTH_AMERICA: LazyLock<Regex> = LazyLock::new(|| {
    constant(r"(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}")
});
/// Europe, within a country: a zero, the area, then groups.
static EUROPE: LazyLock<Regex> = LazyLock::new(|| {
    constant(
        r"\(?0[1-9][0-9]{0,4}\)?(?:[ /-][0-9]{3,9}(?:[ -][0-9]{2,5}){0,2}|(?:[ .-][0-9]{2}){4})",
    )
});

/// Matches that hold, the leftmost first; after one that does not, it is looked one on.
fn search(
    regex: &Regex,
    text: &str,
    holds: impl Fn(&str, &Range<usize>) -> bool,
) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(one) = regex.find_at(text, at) {
        let range = one.range();
        if holds(text, &range) {
            at = range.end;
            found.push(range);
        } else {
            at = range.start + 1;
            while !text.is_char_boundary(at) {
                at += 1;
            }
        }
    }
    found
}

/// Whether the range is no part of a longer word or number.
fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let at = |index: Option<usize>| index.and_then(|index| bytes.get(index)).copied();
    let before = (at(range.start.checked_sub(1)), at(range.start.checked_sub(2)));
    let after = (at(Some(range.end)), at(range.end.checked_add(1)));
    let joined = |(near, far): (Option<u8>, Option<u8>)| match near {
        Some(b'-' | b'.' | b'/') => far.is_some_and(|byte| byte.is_ascii_digit()),
        Some(byte) => byte.is_ascii_alphanumeric() || byte == b'_',
        None => false,
    };
    !joined(before) && !joined(after)
}

/// Areas 000, 666 and 900 to 999, group 00 and serial 0000 were never given.
fn is_ssn(text: &str, range: &Range<usize>) -> bool {
    let digits: String = text.get(range.clone()).unwrap_or_default().split([' ', '-']).collect();
    let part = |range: Range<usize>| digits.get(range).unwrap_or_default();
    let (area, group, serial) = (part(0..3), part(3..5), part(5..9));
    let given = area != "000" && area != "666" && !area.starts_with('9');
    given && group != "00" && serial != "0000" && stands_alone(text, range)
}

fn phones(text: &str) -> Vec<Range<usize>> {
    let digits = |text: &str, range: &Range<usize>| {
        let text = text.get(range.clone()).unwrap_or_default();
        text.bytes().filter(u8::is_ascii_digit).count()
    };
    let with = |regex: &Regex, most: Range<usize>| {
        search(regex, text, |text, range| {
            most.contains(&digits(text, range)) && stands_alone(text, range)
        })
    };
    let mut found = with(&E164, 8..18);
    found.extend(with(&NORTH_AMERICA, 10..12));
    found.extend(with(&EUROPE, 9..13));
    found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut end = 0;
    found.retain(|range| {
        let apart = range.start >= end;
        if apart {
            end = range.end;
        }
        apart
    });
    found
}
