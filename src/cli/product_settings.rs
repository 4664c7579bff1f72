//! What a product demands of its images, as it is typed: flags for the common demands, a file for all of them.

use std::{collections::BTreeSet, num::NonZeroU32, path::PathBuf};

use clap::Args;

use super::{
    delivery_settings::DeliveryArguments,
    output::Failure,
    product_rhythm::RhythmArguments,
    table::{exact_size, names},
};
use crate::{
    api::ProductBody,
    domain::{
        Policy, Retention,
        facts::NameKind,
        name::Hardware,
        policy::{Severity, SigningKey},
        retention::DayCount,
    },
};

/// Settings that `product create` and `product set` share.
#[derive(Debug, Default, Args)]
pub struct SettingsArguments {
    /// All settings as a JSON file, with the members of the API (docs/version-check.md); flags change what it says
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// A format that is accepted, once for each; replaces the list
    #[arg(long, value_name = "FORMAT")]
    format: Vec<String>,
    /// A name that images must state, such as product=thermo or chip=ESP32-C3, once for each; replaces those of its kind
    #[arg(long, value_name = "KIND=NAME", value_parser = name)]
    name: Vec<(NameKind, String)>,
    /// The size of the slot or partition that images must fit
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    slot_bytes: Option<u64>,
    /// A public key or certificate whose signatures count: a file (PEM, minisign), once for each; replaces the list
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Whether images must be signed by one of the keys
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    require_signature: Option<bool>,
    /// How many of the newest releases `firmament prune` keeps; 0 = all
    #[arg(long, value_name = "COUNT")]
    keep_newest: Option<u32>,
    /// How long `firmament prune` keeps releases that fix vulnerabilities, such as 3650d [default: always]
    #[arg(long, value_name = "DAYS", value_parser = |text: &str| DayCount::try_from(text.to_owned()))]
    keep_security_for: Option<DayCount>,
    /// How strict a rule is: CODE=refuse, warn or off, once for each
    #[arg(long, value_name = "CODE=SEVERITY", value_parser = rule)]
    rule: Vec<(String, Severity)>,
    #[command(flatten)]
    delivery: DeliveryArguments,
    #[command(flatten)]
    rhythm: RhythmArguments,
}

impl SettingsArguments {
    /// `before` with what was typed.
    ///
    /// # Errors
    /// When a file is unusable.
    pub fn apply(
        &self,
        before: ProductBody,
        hardware: &[Hardware],
        max_image_bytes: Option<u64>,
    ) -> Result<ProductBody, Failure> {
        let mut body = match &self.settings {
            None => before,
            Some(path) => {
                let unusable = |why: String| Failure::yours(format!("cannot use {}: {why}", path.display()));
                let text = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
                let value: serde_json::Value =
                    serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
                if let Some(key) = value.get("policy").and_then(Policy::unknown_key) {
                    return Err(unusable(format!("{key} is not known; see docs/version-check.md")));
                }
                if let Some(key) = value.get("retention").and_then(Retention::unknown_key) {
                    return Err(unusable(format!("{key} is not known; see README")));
                }
                serde_json::from_value(value).map_err(|error| unusable(error.to_string()))?
            }
        };
        if !hardware.is_empty() {
            body.hardware = hardware.iter().map(ToString::to_string).collect();
        }
        body.max_image_bytes = max_image_bytes.or(body.max_image_bytes);
        if let Some(count) = self.keep_newest {
            body.retention.keep_newest = NonZeroU32::new(count);
        }
        body.retention.keep_security_for = self.keep_security_for.or(body.retention.keep_security_for);
        self.demand(&mut body.policy)?;
        self.delivery.apply(&mut body.delivery);
        self.rhythm.apply(&mut body);
        Ok(body)
    }

    fn demand(&self, policy: &mut Policy) -> Result<(), Failure> {
        if !self.format.is_empty() {
            policy.formats = self.format.iter().cloned().collect();
        }
        for kind in self.name.iter().map(|(kind, _)| *kind).collect::<BTreeSet<_>>() {
            let of_kind = self.name.iter().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone());
            policy.names.insert(kind, of_kind.collect());
        }
        policy.slot_bytes = self.slot_bytes.or(policy.slot_bytes);
        if !self.key.is_empty() {
            policy.keys = self.key.iter().map(key).collect::<Result<_, _>>()?;
        }
        policy.require_signature = self.require_signature.unwrap_or(policy.require_signature);
        policy.rules.extend(self.rule.iter().cloned());
        Ok(())
    }
}

fn key(path: &PathBuf) -> Result<SigningKey, Failure> {
    let key = std::fs::read_to_string(path)
        .map_err(|error| Failure::yours(format!("cannot use the key {}: {error}", path.display())))?;
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(SigningKey { name, key })
}

fn name(text: &str) -> Result<(NameKind, String), String> {
    let (kind, name) = text.split_once('=').ok_or("write KIND=NAME, such as product=thermo")?;
    let kind = serde_json::from_value(kind.into())
        .map_err(|_| "the kind is product, compatible, hardware, chip or vendor")?;
    Ok((kind, name.to_owned()))
}

fn rule(text: &str) -> Result<(String, Severity), String> {
    let (code, severity) = text.split_once('=').ok_or("write CODE=SEVERITY, such as same-bytes=warn")?;
    let severity =
        serde_json::from_value(severity.into()).map_err(|_| "the severity is refuse, warn or off")?;
    Ok((code.to_owned(), severity))
}

/// What a policy demands, as the end of a sentence; empty if it demands nothing.
pub fn demands(policy: &Policy) -> String {
    let mut text = String::new();
    if !policy.formats.is_empty() {
        text.push_str(&format!(", format {}", names(&policy.formats, "any")));
    }
    for (kind, accepted) in &policy.names {
        let kind = serde_json::to_value(kind).ok();
        let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or("name");
        text.push_str(&format!(", {kind} {}", names(accepted, "any")));
    }
    if let Some(slot) = policy.slot_bytes {
        text.push_str(&format!(", slot of {}", exact_size(slot)));
    }
    if policy.require_signature {
        text.push_str(", signed");
    }
    if !policy.keys.is_empty() {
        let keys: BTreeSet<&str> = policy.keys.iter().map(|key| key.name.as_str()).collect();
        text.push_str(&format!(", keys {}", names(&keys, "none")));
    }
    for (code, severity) in &policy.rules {
        let severity = serde_json::to_value(severity).ok();
        let severity = severity.as_ref().and_then(|severity| severity.as_str()).unwrap_or("set");
        text.push_str(&format!(", {code} {severity}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_change_what_is_there_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("settings.json");
        std::fs::write(&file, r#"{"hardware":["rev-a"],"policy":{"formats":["uf2"],"slot_bytes":5}}"#)
            .expect("written");
        let mut arguments = SettingsArguments {
            settings: Some(file.clone()),
            format: vec!["esp-app".into()],
            name: vec![name("product=thermo").expect("fits"), name("product=hygro").expect("fits")],
            rule: vec![rule("same-bytes=warn").expect("fits")],
            ..SettingsArguments::default()
        };
        let body = arguments.apply(ProductBody::default(), &[], Some(7)).expect("fits");
        assert_eq!(
            demands(&body.policy),
            ", format esp-app, product hygro, thermo, slot of 5 bytes, same-bytes warn"
        );
        assert_eq!((body.hardware.len(), body.max_image_bytes), (1, Some(7)));
        std::fs::write(&file, r#"{"policy":{"fromats":["uf2"]}}"#).expect("written");
        let failure = arguments.apply(ProductBody::default(), &[], None).expect_err("mistyped");
        assert!(failure.message.contains("policy.fromats"), "{}", failure.message);
        arguments.settings = None;
        let body = arguments.apply(body, &[], None).expect("fits");
        assert_eq!(body.policy.slot_bytes, Some(5));
        assert!(name("board=x").is_err() && rule("same-bytes=maybe").is_err());
    }
}
