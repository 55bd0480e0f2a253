//! URLs with what they have to tell.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986.
const ODD: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a URL or a form may hold it.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ODD).to_string()
}

/// A URL with more in its query.
pub(super) fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    let mut url = url.to_owned();
    for (name, value) in pairs {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&format!("{name}={}", encoded(value)));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_added_to_what_is_there() {
        let pairs = [("scope", "openid a"), ("x", "é&=#")];
        assert_eq!(
            with_query("https://a/b", &pairs),
            "https://a/b?scope=openid%20a&x=%C3%A9%26%3D%23"
        );
        assert_eq!(with_query("https://a/b?c=d", &[("e", "~f.g-h_")]), "https://a/b?c=d&e=~f.g-h_");
    }
}
