//! Whether a policy makes sense, before it is stored.

use super::{content, rule, signature};
use crate::domain::{Policy, policy::Maintenance};

/// More keys than any product has.
const MOST_KEYS: usize = 16;
/// More names than any product has, in one list.
const MOST_NAMES: usize = 200;
/// More than a certificate of usual size.
const LONGEST_TEXT: usize = 8 * 1024;

/// Judges a policy.
///
/// # Errors
/// What is wrong with it and what to do, in a sentence.
pub fn check(policy: &Policy) -> Result<(), String> {
    for code in policy.rules.keys() {
        match rule::find(code) {
            None => {
                return Err(format!(
                    "policy.rules.{code}: there is no such rule; docs/version-check.md lists them"
                ));
            }
            Some(rule) => {
                if let Some(why) = rule.fixed {
                    return Err(format!("policy.rules.{code}: this rule cannot be changed: {why}"));
                }
            }
        }
    }
    if let Some(pattern) = &policy.version_pattern {
        content::pattern(pattern).map_err(|why| format!("policy.version_pattern {why}"))?;
    }
    for (kind, names) in &policy.names {
        list(&format!("policy.names: {kind:?}"), names.iter(), true)?;
    }
    for (hardware, names) in &policy.hardware_names {
        list(&format!("policy.hardware_names.{hardware}"), names.iter(), true)?;
    }
    list("policy.formats", policy.formats.iter(), false)?;
    if policy.slot_bytes == Some(0) || policy.hardware_slot_bytes.values().any(|bytes| *bytes == 0) {
        return Err(
            "policy.slot_bytes: a slot of 0 bytes takes no image; leave it out if it is not known".into()
        );
    }
    if policy.keys.len() > MOST_KEYS {
        return Err(format!("policy.keys: at most {MOST_KEYS} keys can be listed"));
    }
    for (index, key) in policy.keys.iter().enumerate() {
        if key.name.trim().is_empty() || key.name.len() > 100 || key.key.len() > LONGEST_TEXT {
            return Err(format!(
                "policy.keys.{index}: give it a name of up to 100 bytes and a key of up to {LONGEST_TEXT}"
            ));
        }
        signature::check(key).map_err(|why| format!("policy.keys.{index} ({}) {why}", key.name))?;
    }
    if policy.require_signature && policy.keys.is_empty() {
        return Err("policy.require_signature: list the keys that count in policy.keys".into());
    }
    if policy.pre_release_channels.as_ref().is_some_and(|channels| channels.len() > MOST_NAMES) {
        return Err(format!("policy.pre_release_channels: at most {MOST_NAMES} can be listed"));
    }
    if let Maintenance::Lines(lines) = &policy.maintenance
        && let Some(line) = lines.iter().find(|line| !is_line(line))
    {
        return Err(format!(
            "policy.maintenance: {line:?} is no line; use MAJOR or MAJOR.MINOR, such as 1.2"
        ));
    }
    Ok(())
}

fn list<'a>(
    path: &str,
    names: impl ExactSizeIterator<Item = &'a String>,
    filled: bool,
) -> Result<(), String> {
    if (filled && names.len() == 0) || names.len() > MOST_NAMES {
        return Err(format!("{path}: list 1 to {MOST_NAMES} names, or leave it out"));
    }
    for name in names {
        if name.is_empty() || name.len() > 512 || name.contains('\0') {
            return Err(format!("{path}: a name has 1 to 512 bytes and no NUL"));
        }
    }
    Ok(())
}

fn is_line(line: &str) -> bool {
    let parts: Vec<&str> = line.split('.').collect();
    parts.len() <= 2
        && parts.iter().all(|part| part.parse::<u64>().is_ok_and(|number| number.to_string() == *part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(policy: serde_json::Value) -> Option<String> {
        check(&serde_json::from_value(policy).expect("fits")).err()
    }

    #[test]
    fn a_policy_without_sense_is_told_where() {
        assert_eq!(why(json!({})), None);
        assert_eq!(
            why(json!({"rules": {"same-bytes": "off"}, "maintenance": ["1", "1.2"], "slot_bytes": 1})),
            None
        );
        for (policy, part) in [
            (json!({"rules": {"same-byte": "off"}}), "no such rule"),
            (json!({"rules": {"version-recalled": "warn"}}), "cannot be changed"),
            (json!({"version_pattern": "("}), "no regular expression"),
            (json!({"version_pattern": "(\\d+)"}), "no capture named version"),
            (json!({"version_pattern": "(?P<version>\\w{5}{50}{50}{50})"}), "policy.version_pattern"),
            (json!({"names": {"chip": []}}), "list 1 to"),
            (json!({"slot_bytes": 0}), "0 bytes"),
            (json!({"keys": [{"name": "", "key": "x"}]}), "give it a name"),
            (json!({"keys": [{"name": "a", "key": "x"}]}), "policy.keys.0 (a) is neither"),
            (json!({"require_signature": true}), "list the keys"),
            (json!({"maintenance": ["1.2.3"]}), "no line"),
            (json!({"maintenance": ["01"]}), "no line"),
        ] {
            let told = why(policy.clone()).unwrap_or_default();
            assert!(told.contains(part), "{policy}: {told}");
        }
    }
}
