//! Numbers of payment cards: 13 to 19 digits, alone or in groups, of a known issuer, whose check
//! digit is right (ISO/IEC 7812).

use std::ops::Range;

/// Digits of a card number.
const DIGITS: Range<usize> = 13..20;
/// Digits in each of its groups but for the last.
const GROUP: usize = 4;

/// Where numbers of cards are in a text whose digits, spaces and dashes are ASCII.
pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let before = at.checked_sub(1);
        // The decimals of a number are no card's digits.
        let decimals = before.is_some_and(|point| bytes.get(point) == Some(&b'.'))
            && at.checked_sub(2).is_some_and(|whole| digit(bytes, whole));
        let in_a_word = before.is_some_and(|before| part_of_a_word(bytes, before));
        let is_start = digit(bytes, at) && !decimals && !in_a_word;
        match is_start.then(|| longest(bytes, at)).flatten() {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

/// Where the longest number that begins here ends.
fn longest(bytes: &[u8], start: usize) -> Option<usize> {
    let mut digits: Vec<u8> = Vec::with_capacity(DIGITS.end);
    let mut best = None;
    let (mut at, mut group) = (start, 0);
    while digits.len() < DIGITS.end - 1
        && let Some(value) = bytes.get(at).filter(|byte| byte.is_ascii_digit())
    {
        digits.push(value - b'0');
        (at, group) = (at + 1, group + 1);
        if digit(bytes, at) {
            continue;
        }
        if !bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            && DIGITS.contains(&digits.len())
            && has_issuer(&digits)
            && luhn(&digits)
        {
            best = Some(at);
        }
        if group >= GROUP && matches!(bytes.get(at), Some(b' ' | b'-')) && digit(bytes, at + 1) {
            (at, group) = (at + 1, 0);
        } else {
            break;
        }
    }
    best
}

fn digit(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(u8::is_ascii_digit)
}

fn part_of_a_word(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Whether the last digit is what the others make it.
fn luhn(digits: &[u8]) -> bool {
    let double = |(index, digit): (usize, &u8)| {
        let value = u32::from(*digit);
        match index % 2 {
            0 => value,
            _ if value > 4 => value * 2 - 9,
            _ => value * 2,
        }
    };
    digits.iter().rev().enumerate().map(double).sum::<u32>().is_multiple_of(10)
}

/// Whether a known issuer gives numbers that begin so, of that length.
fn has_issuer(digits: &[u8]) -> bool {
    let first =
        |count: usize| digits.iter().take(count).fold(0_u32, |sum, one| sum * 10 + u32::from(*one));
    let (two, three, four, six) = (first(2), first(3), first(4), first(6));
    let length = digits.len();
    let long = (16..=19).contains(&length);
    match two {
        40..=49 => matches!(length, 13 | 16 | 19),          // Visa
        34 | 37 => length == 15,                            // American Express
        51..=55 => length == 16,                            // Mastercard
        _ if (2221..=2720).contains(&four) => length == 16, // Mastercard
        _ if (2200..=2204).contains(&four) => long,         // Mir
        _ if four == 6011 || (644..=649).contains(&three) || two == 65 => long, // Discover
        62 | 81 => long,                                    // UnionPay
        _ if (3528..=3589).contains(&four) => long,         // JCB
        36 | 38 | 39 => (14..=19).contains(&length),        // Diners Club
        _ if (300..=305).contains(&three) || three == 309 => (14..=19).contains(&length),
        60 | 82 | 508 => long, // RuPay
        50 | 56..=58 => true,  // Maestro
        _ => matches!(four, 6304 | 6759 | 6761..=6763) || six == 676_770, // Maestro
    }
}
