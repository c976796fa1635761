//! Which of two presentations a caller asked for (RFC 9110, section 12.5.1, as far as two media types need it).

/// How an answer is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A page for a person.
    Html,
    /// For a script, and for a caller that names no preference.
    Json,
}

/// The format for this `Accept` header; `None` when neither is wanted.
///
/// A page is for whoever names `text/html` (every browser does) and weighs it no lower than JSON.
pub fn negotiate(accept: Option<&str>) -> Option<Format> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return Some(Format::Json) };
    let html = weight(accept, "text/html");
    let json = weight(accept, "application/json").max(weight(accept, "application/problem+json"));
    let any = weight(accept, "*/*").max(weight(accept, "application/*"));
    if html > 0 && html >= json {
        Some(Format::Html)
    } else if json > 0 || any > 0 {
        Some(Format::Json)
    } else {
        None
    }
}

/// Whether the header names this media type with a weight above zero.
pub fn wants(accept: Option<&str>, media: &str) -> bool {
    accept.is_some_and(|accept| weight(accept, media) > 0)
}

/// The weight in thousandths that the header gives to exactly this media range; 0 when it is not named.
fn weight(accept: &str, media: &str) -> u32 {
    accept
        .split(',')
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(media) {
                return None;
            }
            let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            Some(q.map_or(1000, thousandths))
        })
        .max()
        .unwrap_or(0)
}

fn thousandths(q: &str) -> u32 {
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole = whole.parse::<u32>().unwrap_or(0).saturating_mul(1000);
    whole.saturating_add(digits.parse().unwrap_or(0)).min(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_pages_and_everyone_else_json() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        assert_eq!(negotiate(Some(browser)), Some(Format::Html));
        assert_eq!(negotiate(None), Some(Format::Json));
        assert_eq!(negotiate(Some("*/*")), Some(Format::Json));
        assert_eq!(negotiate(Some("application/json, text/html;q=0.5")), Some(Format::Json));
        assert_eq!(negotiate(Some("text/html;q=0, */*")), Some(Format::Json));
        assert_eq!(negotiate(Some("image/png")), None);
        assert_eq!(negotiate(Some("text/html;q=4294967295.999")), Some(Format::Html));
        assert!(wants(Some("text/csv"), "text/csv"));
    }
}
