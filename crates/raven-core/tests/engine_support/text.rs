//! JSON and decimals as text, written in as many ways as the exchange (or a careless proxy) may write them.

/// The exact shortest text of `mantissa / 10^scale`; written apart from the engine's own, digit by digit.
pub fn show(mantissa: i64, scale: u8) -> String {
    let digits = format!("{:0width$}", mantissa.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let sign = if mantissa < 0 { "-" } else { "" };
    normal(&format!("{sign}{whole}.{fraction}"))
}

/// A decimal text without leading or trailing zeros and without a bare point.
pub fn normal(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        whole.to_string()
    } else {
        format!("{whole}.{fraction}")
    }
}

/// Compare two normal decimal texts by value, digit by digit.
pub fn by_value(left: &str, right: &str) -> std::cmp::Ordering {
    let parts = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        (whole.len(), whole.to_string(), fraction.to_string())
    };
    parts(left).cmp(&parts(right))
}

/// How to write an object: the order of its keys and the white space between its tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// 0 keeps the documented order; anything else is a rotation and maybe a reversal of it.
    pub order: usize,
    /// 0 for none, else how often white space stands where it may.
    pub spaces: usize,
}

/// Write `{"key":value,…}` in a style; values are JSON already.
pub fn object(members: &[(&str, String)], style: Style) -> String {
    let mut members: Vec<_> = members.iter().collect();
    if style.order > 0 {
        let places = members.len().max(1);
        members.rotate_left(style.order % places);
        if style.order / places % 2 == 1 {
            members.reverse();
        }
    }
    let inner: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    spaced(&format!("{{{}}}", inner.join(",")), style.spaces)
}

/// Put white space behind some of the punctuation outside of strings.
pub fn spaced(json: &str, spaces: usize) -> String {
    if spaces == 0 {
        return json.to_string();
    }
    const BLANKS: [&str; 4] = [" ", "\n", "\t ", "\r\n"];
    let (mut out, mut in_string, mut count) = (String::new(), false, 0);
    for character in json.chars() {
        in_string ^= character == '"';
        let is_punctuation = !in_string && "{}[],:".contains(character);
        count += usize::from(is_punctuation);
        let blank = if is_punctuation && count % (5 - spaces.min(4)) == 0 { BLANKS[count % 4] } else { "" };
        // A closing bracket gets its space in front, so that the end of the frame stays where it is.
        if "]}".contains(character) && is_punctuation {
            out.push_str(blank);
            out.push(character);
        } else {
            out.push(character);
            out.push_str(blank);
        }
    }
    out
}

/// Wrap an event as a combined stream does.
pub fn combined(stream: &str, data: &str, style: Style) -> String {
    object(&[("stream", format!("\"{stream}\"")), ("data", data.to_string())], style)
}
