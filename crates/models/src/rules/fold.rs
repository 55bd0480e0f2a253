//! Texts with one form of each digit, space and dash, and the way back to where they were.

use std::borrow::Cow;
use std::ops::Range;

/// A text whose digits, spaces and dashes are ASCII.
pub(super) struct Folded<'a> {
    pub(super) text: Cow<'a, str>,
    /// Where each byte of it was; empty if it is the text itself.
    places: Vec<usize>,
}

/// Zeros of the scripts whose digits are common, each followed by the other nine.
const ZEROS: [char; 12] = [
    '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}',
    '\u{be6}', '\u{c66}', '\u{e50}', '\u{ff10}',
];
/// Digits of mathematics: five kinds, one after the other.
const MATHEMATICAL: Range<u32> = 0x1d7ce..0x1d800;

impl<'a> Folded<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        if text.is_ascii() {
            return Self { text: Cow::Borrowed(text), places: Vec::new() };
        }
        let (mut folded, mut places) = (String::with_capacity(text.len()), Vec::new());
        for (place, character) in text.char_indices() {
            folded.push(fold(character));
            places.resize(folded.len(), place);
        }
        places.push(text.len());
        Self { text: Cow::Owned(folded), places }
    }

    /// Where in the text itself this is.
    pub(super) fn place(&self, range: Range<usize>) -> Range<usize> {
        let at = |index: usize| self.places.get(index).copied().unwrap_or(index);
        at(range.start)..at(range.end)
    }
}

fn fold(character: char) -> char {
    match character {
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' | '\u{ff0d}' => '-',
        '\u{ff20}' => '@',
        '\u{ff0e}' => '.',
        '\u{ff0b}' => '+',
        other => digit(other).unwrap_or(other),
    }
}

fn digit(character: char) -> Option<char> {
    let code = u32::from(character);
    if code < 0x660 {
        return None;
    }
    let value = if MATHEMATICAL.contains(&code) {
        (code - MATHEMATICAL.start) % 10
    } else {
        let zero = ZEROS
            .iter()
            .find(|zero| (0..10).contains(&(i64::from(code) - i64::from(u32::from(**zero)))))?;
        code - u32::from(*zero)
    };
    char::from_digit(value, 10)
}
