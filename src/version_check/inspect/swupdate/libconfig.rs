//! The syntax of libconfig (its manual, chapter 3, "Configuration Files"), read into the values of JSON:
//! groups become objects, arrays and lists arrays. A key that is repeated keeps its last value.
//!
//! Limits: [`DEEPEST`] levels; the length is that of what is given. Floating-point numbers are kept as text.
//! The directive `@include` is refused, as SWUpdate does.

use serde_json::{Map, Value};

const DEEPEST: usize = 32;

/// Reads a configuration.
///
/// # Errors
/// What is wrong and in which line, as the rest of a sentence that starts with the file's name.
pub(super) fn read(text: &str) -> Result<Map<String, Value>, String> {
    let mut parser = Parser { rest: text, line: 1 };
    let root = parser.settings(None, DEEPEST)?;
    Ok(root)
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Parser<'a> {
    fn broken<T>(&self, why: &str) -> Result<T, String> {
        Err(format!("is not in the syntax of libconfig: in line {} {why}", self.line))
    }

    fn advance(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
        taken
    }

    /// Skips blanks and comments; gives what is next, if anything.
    fn peek(&mut self) -> Result<Option<char>, String> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.advance(blank);
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                match self.rest.find("*/") {
                    Some(end) => self.advance(end + 2),
                    None => return self.broken("a comment begins and does not end"),
                };
            } else {
                return Ok(self.rest.chars().next());
            }
        }
    }

    fn takes(&mut self, wanted: char) -> Result<bool, String> {
        let found = self.peek()? == Some(wanted);
        if found {
            self.advance(wanted.len_utf8());
        }
        Ok(found)
    }

    /// The settings of a group up to its end.
    fn settings(&mut self, end: Option<char>, depth: usize) -> Result<Map<String, Value>, String> {
        let mut found = Map::new();
        loop {
            let next = self.peek()?;
            if next == end {
                self.advance(end.map_or(0, char::len_utf8));
                return Ok(found);
            }
            let name = self.word(|c| c.is_ascii_alphanumeric() || "-_*.".contains(c));
            if name.is_empty() {
                return match next {
                    None => self.broken("a group is not closed before the end"),
                    Some('@') => self.broken("a directive stands, which SWUpdate does not allow"),
                    Some(other) => self.broken(&format!("{other:?} stands where a name should")),
                };
            }
            if !self.takes('=')? && !self.takes(':')? {
                return self.broken(&format!("{} is not followed by `=` or `:`", shown(name)));
            }
            let value = self.value(depth)?;
            found.insert(name.to_owned(), value);
            if !self.takes(';')? {
                self.takes(',')?;
            }
        }
    }

    fn word(&mut self, part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        self.advance(end)
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        let Some(depth) = depth.checked_sub(1) else {
            return self.broken(&format!("values are nested more than {DEEPEST} levels deep"));
        };
        match self.peek()? {
            Some('{') => {
                self.advance(1);
                Ok(self.settings(Some('}'), depth)?.into())
            }
            Some('[') => self.elements(']', depth),
            Some('(') => self.elements(')', depth),
            Some('"') => {
                let mut text = String::new();
                // Strings that stand side by side are one.
                while self.takes('"')? {
                    self.string(&mut text)?;
                }
                Ok(text.into())
            }
            _ => self.scalar(),
        }
    }

    fn elements(&mut self, end: char, depth: usize) -> Result<Value, String> {
        self.advance(1);
        let mut found = Vec::new();
        while !self.takes(end)? {
            found.push(self.value(depth)?);
            if !self.takes(',')? && self.peek()? != Some(end) {
                return self.broken(&format!("an element is not followed by `,` or `{end}`"));
            }
        }
        Ok(found.into())
    }

    fn string(&mut self, text: &mut String) -> Result<(), String> {
        loop {
            let plain = self.rest.find(['"', '\\']).unwrap_or(self.rest.len());
            text.push_str(self.advance(plain));
            let mut next = self.rest.chars();
            match (next.next(), next.next()) {
                (Some('"'), _) => {
                    self.advance(1);
                    return Ok(());
                }
                (Some('\\'), Some('x')) => {
                    let digits = self.rest.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                    let Some(byte) = digits else { return self.broken("a string has a broken `\\x`") };
                    text.push(char::from(byte));
                    self.advance(4);
                }
                (Some('\\'), Some(escaped)) => {
                    text.push(match escaped {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'f' => '\u{c}',
                        'a' => '\u{7}',
                        'b' => '\u{8}',
                        'v' => '\u{b}',
                        other => other,
                    });
                    self.advance(1 + escaped.len_utf8());
                }
                _ => return self.broken("a string begins and does not end"),
            }
        }
    }

    fn scalar(&mut self) -> Result<Value, String> {
        let word = self.word(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        match word.to_ascii_lowercase().as_str() {
            "true" => return Ok(true.into()),
            "false" => return Ok(false.into()),
            "" => return self.broken("a value is missing"),
            _ => {}
        }
        let number = word.trim_end_matches('L');
        let radix = |prefixes: [&str; 2], radix| {
            let digits = prefixes.iter().find_map(|prefix| number.strip_prefix(prefix))?;
            i64::from_str_radix(digits, radix).ok()
        };
        let integer = number
            .parse::<i64>()
            .ok()
            .or_else(|| radix(["0x", "0X"], 16))
            .or_else(|| radix(["0b", "0B"], 2))
            .or_else(|| radix(["0o", "0q"], 8));
        match integer {
            Some(integer) => Ok(integer.into()),
            None if number.parse::<f64>().is_ok() => Ok(number.into()),
            None => self.broken(&format!("{} is no value: texts stand in quotes", shown(word))),
        }
    }
}

/// A word of what is read, short enough for a sentence; it is ASCII.
fn shown(word: &str) -> String {
    format!("{:?}", &word[..word.len().min(40)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_of_the_syntax_is_read() {
        let text = r#"
            # a comment
            software = { // another
                version = "1." /* between */ "2\x2e3\n";
                'no' : 1
            }"#;
        assert!(read(text).unwrap_err().contains("line 5"));
        let text = r#"
            a = { b: 0x1F, c = -5L; d = TRUE e: ( 1, "x", { f = [ 1.5, 2e3 ]; }, ) };
            *name-1.x : "a\"\\\t" ; o = 0o17; b = 0b101
        "#;
        let wanted = json!({
            "a": { "b": 31, "c": -5, "d": true, "e": [1, "x", { "f": ["1.5", "2e3"] }] },
            "*name-1.x": "a\"\\\t",
            "o": 15,
            "b": 5,
        });
        assert_eq!(Value::from(read(text).unwrap()), wanted);
        assert_eq!(Value::from(read(" ").unwrap()), json!({}));
    }

    #[test]
    fn what_is_broken_is_told_with_its_line() {
        for (text, why) in [
            ("a = {", "not closed"),
            ("a = { b = 1 ", "not closed"),
            ("a = (1 2)", "followed by"),
            ("a = (1", "followed by"),
            ("a = (1,", "a value is missing"),
            ("a = \"x", "does not end"),
            ("a = \"x\\", "does not end"),
            ("a = \"\\xZ\"", "\\x"),
            ("/* a", "does not end"),
            ("a", "is not followed"),
            ("a = ;", "a value is missing"),
            ("a = b;", "is no value"),
            ("@include \"x\"", "directive"),
            ("}", "where a name should"),
            ("a = é", "a value is missing"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why) && error.contains("line 1"), "{text}: {error}");
        }
        for (open, close) in [("a={", "}"), ("(", ")"), ("[", "]")] {
            let nested = |levels| {
                let start = if open == "a={" { "" } else { "a=" };
                format!("{start}{}{}", open.repeat(levels), close.repeat(levels))
            };
            assert!(read(&nested(DEEPEST)).is_ok());
            assert!(read(&nested(DEEPEST + 1)).unwrap_err().contains("nested"));
            assert!(read(&nested(100_000)).unwrap_err().contains("nested"));
        }
    }
}
