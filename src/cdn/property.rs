//! Checks the rule tree of an Akamai property: names and kinds, and whether it agrees with the links that Firmament makes.
//!
//! `docs/akamai/rules.json` is such a tree, with placeholders (`REPLACE:…`); its users edit a copy, which this checks before
//! Akamai does, and for what Akamai cannot know. What the names are is in `config/akamai-options.json`, which is kept by hand and
//! has only what our tree needs: a behavior that is not in it may exist all the same, so Akamai's own validation stays the
//! last word. The submodule `agreement` follows the tree for an image's path and for a check's, and compares what it finds with our links.
//!
//! What it does not do: talk to Akamai, judge which behaviors a product allows, or validate rules that it does not know.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

mod agreement;
#[cfg(test)]
mod tests;

/// The names that are known.
const KNOWN: &str = include_str!("../../config/akamai-options.json");

/// What a value begins with that is to be replaced.
const PLACEHOLDER: &str = "REPLACE:";

/// What a rule may have.
const OF_RULE: [&str; 13] = [
    "name",
    "comments",
    "options",
    "variables",
    "criteria",
    "criteriaMustSatisfy",
    "behaviors",
    "children",
    "uuid",
    "templateUuid",
    "templateLink",
    "criteriaLocked",
    "customOverride",
];

/// What a behavior or criterion may have.
const OF_FEATURE: [&str; 5] = ["name", "options", "uuid", "locked", "templateUuid"];

#[derive(Deserialize)]
struct Known {
    #[serde(rename = "ruleFormat")]
    rule_format: String,
    behaviors: BTreeMap<String, BTreeMap<String, Value>>,
    criteria: BTreeMap<String, BTreeMap<String, Value>>,
}

/// What was found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    /// What is wrong, each with its place.
    pub problems: Vec<String>,
    /// What is still to be replaced.
    pub placeholders: BTreeSet<String>,
}

/// The links that a tree has to agree with.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The query parameter that has the token; `None` = no link carries one.
    pub token: Option<&'a str>,
    /// What tokens are salted with, empty = nothing; `None` = that is not compared.
    pub salt: Option<&'a str>,
}

/// Checks a document as Property Manager exports and takes it: `{"rules": …}`, or the rules alone.
pub fn check(document: &Value, expected: &Expected<'_>) -> Findings {
    let known: Known = serde_json::from_str(KNOWN).expect("a test reads the embedded list");
    let mut findings = Findings::default();
    if let Some(format) = document.get("ruleFormat").filter(|format| **format != *known.rule_format) {
        let problem = format!("ruleFormat is {format}: this program knows {}", known.rule_format);
        findings.problems.push(problem);
    }
    let rules = document.get("rules").unwrap_or(document);
    let mut names = Names { known: &known, findings: &mut findings };
    names.rule(rules, "default");
    agreement::check(rules, expected, &mut findings.problems);
    findings
}

/// Checks names and kinds.
struct Names<'a> {
    known: &'a Known,
    findings: &'a mut Findings,
}

impl Names<'_> {
    fn problem(&mut self, place: &str, what: &str) {
        self.findings.problems.push(format!("{place}: {what}"));
    }

    fn rule(&mut self, rule: &Value, place: &str) {
        let Some(rule) = rule.as_object() else { return self.problem(place, "a rule is an object") };
        for key in rule.keys().filter(|key| !OF_RULE.contains(&key.as_str())) {
            self.problem(place, &format!("a rule has no {key:?}{}", meant(key, OF_RULE)));
        }
        if rule.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            self.problem(place, "a rule needs a name");
        }
        if let Some(must) = rule.get("criteriaMustSatisfy")
            && !matches!(must.as_str(), Some("all" | "any"))
        {
            self.problem(place, "criteriaMustSatisfy is \"all\" or \"any\"");
        }
        let known = self.known;
        for feature in self.list(rule, "behaviors", place) {
            self.feature(feature, "behavior", &known.behaviors, place);
        }
        for feature in self.list(rule, "criteria", place) {
            self.feature(feature, "criterion", &known.criteria, place);
        }
        for child in self.list(rule, "children", place) {
            let name = child.get("name").and_then(Value::as_str).unwrap_or("?");
            self.rule(child, &format!("{place} > {name}"));
        }
    }

    fn list<'v>(&mut self, rule: &'v Map<String, Value>, key: &str, place: &str) -> &'v [Value] {
        match rule.get(key) {
            None => &[],
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.problem(place, &format!("{key:?} is a list"));
                &[]
            }
        }
    }

    fn feature(
        &mut self,
        feature: &Value,
        kind: &str,
        known: &BTreeMap<String, BTreeMap<String, Value>>,
        place: &str,
    ) {
        let name = feature.get("name").and_then(Value::as_str).unwrap_or_default();
        let place = format!("{place}: {kind} {name:?}");
        let extra = feature.as_object().into_iter().flat_map(Map::keys);
        for key in extra.filter(|key| !OF_FEATURE.contains(&key.as_str())) {
            self.problem(&place, &format!("it has no {key:?}{}", meant(key, OF_FEATURE)));
        }
        let Some(options) = known.get(name) else {
            let names = known.keys().map(String::as_str);
            return self.problem(&place, &format!("not known here{}", meant(name, names)));
        };
        match feature.get("options") {
            None => {}
            Some(Value::Object(given)) => self.options(given, options, &place),
            Some(_) => self.problem(&place, "\"options\" is an object"),
        }
    }

    fn options(&mut self, given: &Map<String, Value>, known: &BTreeMap<String, Value>, place: &str) {
        for (option, value) in given {
            let Some(kind) = known.get(option) else {
                let names = known.keys().map(String::as_str);
                self.problem(place, &format!("no option {option:?} is known here{}", meant(option, names)));
                continue;
            };
            if let Value::Object(inner) = kind {
                let inner = inner.iter().map(|(name, kind)| (name.clone(), kind.clone())).collect();
                match value {
                    Value::Object(given) => self.options(given, &inner, &format!("{place}.{option}")),
                    _ => self.problem(place, &format!("option {option:?} is an object")),
                }
            } else if self.is_placeholder(value) {
                // Of whatever kind: it is replaced.
            } else if let Err(expected) = fits(value, kind) {
                self.problem(place, &format!("option {option:?} is {value}: use {expected}"));
            }
        }
    }

    fn is_placeholder(&mut self, value: &Value) -> bool {
        let texts: Vec<&str> = match value {
            Value::String(text) => vec![text],
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let placeholders: Vec<String> = texts
            .iter()
            .filter(|text| text.starts_with(PLACEHOLDER))
            .map(|text| (*text).to_owned())
            .collect();
        let any = !placeholders.is_empty();
        self.findings.placeholders.extend(placeholders);
        any
    }
}

/// Whether a value is of a kind; if not, which it should be.
fn fits(value: &Value, kind: &Value) -> Result<(), String> {
    if let Value::Array(allowed) = kind {
        let texts = || allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return if allowed.contains(value) { Ok(()) } else { Err(format!("one of {}", texts())) };
    }
    let kind = kind.as_str().unwrap_or_default();
    let text = value.as_str().unwrap_or_default();
    let is_text = value.is_string();
    let all = |allowed: fn(&u8) -> bool| is_text && text.as_bytes().iter().all(allowed);
    let hex = all(u8::is_ascii_hexdigit) && text.len().is_multiple_of(2);
    // Such as {{user.PMUSER_X}}: its value is known at the edge only.
    let variable = is_text && text.contains("{{");
    let (good, expected) = match kind {
        "boolean" => (value.is_boolean(), "true or false"),
        "integer" => (value.is_i64() || value.is_u64(), "a whole number"),
        "string" => (is_text, "a text"),
        "strings" => {
            (value.as_array().is_some_and(|list| list.iter().all(Value::is_string)), "a list of texts")
        }
        "duration" => (variable || is_duration(text), "a duration such as 10s, 5m, 12h or 365d"),
        "hex" => (variable || (hex && !text.is_empty()), "an even number of hex digits"),
        "hexOrNone" => (variable || hex, "an even number of hex digits, or nothing"),
        "salt" => (is_text && matches!(text.len(), 0 | 16), "16 characters, or nothing"),
        "g2oKey" => (all(u8::is_ascii_alphanumeric) && matches!(text.len(), 0 | 24), "24 letters and digits"),
        "g2oNonce" => {
            (all(u8::is_ascii_alphanumeric) && (1..=8).contains(&text.len()), "1 to 8 letters and digits")
        }
        "configName" => (
            all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'-')
                && (3..=20).contains(&text.len()),
            "3 to 20 capitals, digits and dashes",
        ),
        _ => (true, ""),
    };
    if good { Ok(()) } else { Err(expected.to_owned()) }
}

fn is_duration(text: &str) -> bool {
    let Some(unit) = text.as_bytes().last() else { return false };
    let number = &text[..text.len() - 1];
    matches!(unit.to_ascii_lowercase(), b'd' | b'h' | b'm' | b's')
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The known name that somebody may have meant, as the end of a sentence.
fn meant<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let nearest = known.into_iter().map(|other| (distance(name, other), other)).min();
    match nearest {
        Some((distance, other)) if distance <= 2.max(name.len() / 4) => format!("; do you mean {other:?}?"),
        _ => String::new(),
    }
}

/// How many letters differ (Levenshtein), without regard to case.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<u8> = other.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (index, same) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter.to_ascii_lowercase() != *same);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[other.len()]
}
