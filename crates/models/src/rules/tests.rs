//! Cases that rules must tell apart.

use domain::policy::{Forbidden, InputRules, OutputPattern, OutputRules};
use proptest::prelude::*;

use super::*;

fn all(action: Action) -> OutputRules {
    let some = Some(action);
    OutputRules { ssn: some, card: some, email: some, phone: some, patterns: Vec::new() }
}

fn output(output: OutputRules) -> Compiled {
    Compiled::new(&Rules { output, input: InputRules::default() }).unwrap()
}

fn mask(rules: &Compiled, text: &str) -> String {
    Sieve::new(rules).text(text).unwrap_or_else(|| text.to_owned())
}

#[test]
fn what_is_personal_is_found_and_what_is_not_stays() {
    let rules = output(all(Action::Mask));
    for (text, wanted) in [
        // Cards: the usual test numbers of each issuer.
        ("4111 1111 1111 1111", "[card]"),
        ("pay with 4111-1111-1111-1111, thanks", "pay with [card], thanks"),
        ("4111111111111111.", "[card]."),
        ("5555555555554444 and 378282246310005", "[card] and [card]"),
        ("3782 822463 10005", "[card]"),
        ("6011 1111 1111 1117 / 3530111333300000", "[card] / [card]"),
        ("30569309025904 4222222222222", "[card] [card]"),
        ("2223 0031 2200 3222", "[card]"),
        ("4111 1111 1111 1111 12/27", "[card] 12/27"),
        ("４１１１ １１１１ １１１１ １１１１", "[card]"),
        ("٤١١١١١١١١١١١١١١١", "[card]"),
        ("卡号4111111111111111。", "卡号[card]。"),
        ("4111\u{a0}1111\u{2011}1111\u{2009}1111!", "[card]!"),
        // Order numbers and the like: the check digit, the issuer or the length is wrong.
        ("order 4111111111111112", "order 4111111111111112"),
        ("order 1234 5678 9012 3456", "order 1234 5678 9012 3456"),
        ("7000000000000005", "7000000000000005"),
        ("id 41111111111111110000000000", "id 41111111111111110000000000"),
        ("sha a4111111111111111", "sha a4111111111111111"),
        ("0.4111111111111111", "0.4111111111111111"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
        // Social security numbers.
        ("SSN 123-45-6789", "SSN [ssn]"),
        ("123 45 6789;", "[ssn];"),
        ("１２３－４５－６７８９", "[ssn]"),
        ("000-12-3456 666-12-3456 900-12-3456", "000-12-3456 666-12-3456 900-12-3456"),
        ("123-00-6789 123-45-0000", "123-00-6789 123-45-0000"),
        ("123-45 6789", "123-45 6789"),
        ("123456789", "123456789"),
        ("1123-45-6789 123-45-67890", "1123-45-6789 123-45-67890"),
        ("part 7-123-45-6789-1", "part 7-123-45-6789-1"),
        // E-mail.
        ("Write to Ann.O'Neil+x@mail.example.co.uk!", "Write to [email]!"),
        ("jürgen@müller.de, eve@x.io", "[email], [email]"),
        ("a@b and @user and x@y.1", "a@b and @user and x@y.1"),
        // Telephone.
        ("Call me at +1 (415) 555-2671 today", "Call me at [phone] today"),
        ("+14155552671", "[phone]"),
        ("+49 30 901820, ask for Bo", "[phone], ask for Bo"),
        ("tel. 415-555-2671 or (212) 555-0199", "tel. [phone] or [phone]"),
        ("1-800-555-2671; 415.555.2671", "[phone]; [phone]"),
        ("London 020 7946 0958", "London [phone]"),
        ("Berlin 030/901820 12", "Berlin [phone]"),
        ("Paris 01 42 68 53 00", "Paris [phone]"),
        ("0171 1234567", "[phone]"),
        ("2024-01-02 03:04:05", "2024-01-02 03:04:05"),
        ("01.02.2024 and 01/02/2024", "01.02.2024 and 01/02/2024"),
        ("115-555-2671 415-155-2671", "115-555-2671 415-155-2671"),
        ("4155552671", "4155552671"),
        ("version 1.2.3, 3.14159, 10.0.0.1, +5", "version 1.2.3, 3.14159, 10.0.0.1, +5"),
        ("", ""),
        ("setosa", "setosa"),
    ] {
        assert_eq!(mask(&rules, text), wanted, "{text}");
    }
}

#[test]
fn each_action_does_its_own() {
    let rules = output(OutputRules {
        ssn: Some(Action::Block),
        card: Some(Action::Flag),
        email: Some(Action::Mask),
        ..OutputRules::default()
    });
    let mut sieve = Sieve::new(&rules);
    assert_eq!(sieve.text("4111 1111 1111 1111"), None);
    assert_eq!(sieve.text("a@b.io").as_deref(), Some("[email]"));
    assert_eq!((sieve.flagged(), sieve.blocked()), (vec!["card"], None));
    assert_eq!(sieve.text("123-45-6789"), None);
    assert_eq!(sieve.blocked(), Some("ssn"));
    assert_eq!(sieve.found().count(), 3);
    let text = "123-45-6789 a@b.io 4111 1111 1111 1111";
    assert_eq!(rules.redacted(text), "[ssn] [email] 4111 1111 1111 1111");
}

#[test]
fn patterns_of_ones_own_are_checked_with_pointers() {
    let pattern = |name: &str, pattern: &str| OutputPattern {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        action: Action::Mask,
    };
    let good = pattern("ticket", r"\bT-[0-9]+");
    let rules = output(OutputRules { patterns: vec![good.clone()], ..OutputRules::default() });
    assert_eq!(mask(&rules, "see T-12 and T-x"), "see [ticket] and T-x");
    for (bad, pointer, word) in [
        (pattern("x", "("), "#/output/patterns/1/pattern", "unclosed group"),
        (pattern("x", "a*"), "#/output/patterns/1/pattern", "empty"),
        (pattern("x", "x"), "#/output/patterns/1/pattern", "own mark"),
        (pattern("x", r"(?:[\p{L}\d]{1000}){1000}"), "#/output/patterns/1/pattern", "simpler"),
        (pattern("card", "y"), "#/output/patterns/1/name", "another rule"),
        (pattern("ticket", "y"), "#/output/patterns/1/name", "another rule"),
        (pattern("a b", "y"), "#/output/patterns/1/name", "characters"),
    ] {
        let patterns = vec![good.clone(), bad];
        let output = OutputRules { patterns, ..OutputRules::default() };
        let rules = Rules { output, input: InputRules::default() };
        let faults = Compiled::new(&rules).unwrap_err();
        let [fault] = faults.as_slice() else { panic!("{faults:?}") };
        assert_eq!(fault.pointer, pointer, "{fault:?}");
        assert!(fault.detail.contains(word), "{fault:?}");
    }
}

#[test]
fn input_is_refused_by_length_and_by_pattern() {
    let forbidden = Forbidden { name: "markup".to_owned(), pattern: "<[a-z]".to_owned() };
    let input =
        InputRules { max_chars: Some(5), forbidden: vec![forbidden], ..InputRules::default() };
    let rules = Compiled::new(&Rules { input, output: OutputRules::default() }).unwrap();
    assert_eq!(rules.text_fault("äöüß漢"), None);
    assert!(rules.text_fault("äöüß漢!").unwrap().contains("at most 5 characters"));
    assert!(rules.text_fault("a<b>").unwrap().contains("`markup`"));
    assert_eq!(rules.text_fault("a < b"), None);
    let zero = InputRules {
        max_chars: Some(0),
        max_rows: Some(0),
        image: Some(ImageRules::default()),
        ..InputRules::default()
    };
    let faults = Compiled::new(&Rules { input: zero, output: OutputRules::default() });
    let pointers: Vec<_> = faults.unwrap_err().into_iter().map(|fault| fault.pointer).collect();
    assert_eq!(pointers, ["#/input/max_chars", "#/input/max_rows", "#/input/image"]);
}

/// Pieces that finds are made of, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("4111 1111 1111 1111".to_owned()),
        Just("123-45-6789".to_owned()),
        Just("a.b@c.de".to_owned()),
        Just("+1 415 555 2671".to_owned()),
        Just("[card]".to_owned()),
        "[0-9 +()./@a-c\u{a0}٤-]{0,12}",
        any::<String>(),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn to_mask_twice_is_to_mask_once_and_the_rest_stays(text in pieces()) {
        let rules = output(all(Action::Mask));
        let once = mask(&rules, &text);
        prop_assert_eq!(&mask(&rules, &once), &once);
        // What is left between the marks is there in the text, in the same order.
        let mut rest = text.as_str();
        let marks = Regex::new(r"\[(?:ssn|card|email|phone)\]").unwrap();
        for part in marks.split(&once) {
            let at = rest.find(part);
            prop_assert!(at.is_some(), "`{part}` of `{once}` is not in `{text}`");
            rest = rest.get(at.unwrap() + part.len()..).unwrap();
        }
    }

    #[test]
    fn words_are_left_alone(text in "[\\p{L} ,;!?\\n]{0,80}") {
        prop_assert_eq!(mask(&output(all(Action::Mask)), &text), text);
    }
}
