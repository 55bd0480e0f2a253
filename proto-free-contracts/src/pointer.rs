//! Where in a request a value is at fault: JSON pointers as URI fragments (RFC 6901, section 6).

use std::fmt::Write;

/// `parent`, such as `#/features`, with one more step.
pub fn step(parent: &str, name: &str) -> String {
    let mut pointer = String::with_capacity(parent.len() + name.len() + 1);
    pointer.push_str(parent);
    pointer.push('/');
    for byte in name.bytes() {
        match byte {
            b'~' => pointer.push_str("~0"),
            b'/' => pointer.push_str("~1"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                pointer.push(char::from(byte));
            }
            // Writing to a `String` cannot fail.
            other => drop(write!(pointer, "%{other:02X}")),
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(step("#/features", "petal width/cm~"), "#/features/petal%20width~1cm~0");
        assert_eq!(step("#", "é"), "#/%C3%A9");
    }
}
