//! `firmament inspect`: what an image says of itself, and whether it is whole. Needs no server.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{
    output::{DONE, Failure, Report, Terminal, YOURS},
    progress::Progress,
    table::{Table, exact_size, plain},
};
use crate::{
    domain::Facts,
    version_check::inspect::{FaultKind, Inspection, Report as Inspected},
};

/// The arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The image
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Inspects the image. Exit code 1 when something is wrong with it.
///
/// # Errors
/// When the file cannot be read.
pub fn run(arguments: &InspectArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let path = &arguments.file;
    let unusable = |error: io::Error| Failure::yours(format!("cannot inspect {}: {error}", path.display()));
    let metadata = std::fs::metadata(path).map_err(unusable)?;
    if !metadata.is_file() {
        return Err(Failure::yours(format!("cannot inspect {}: it is not a regular file", path.display())));
    }
    let mut file = File::open(path).map_err(unusable)?;
    let report = inspect(&mut file, metadata.len(), path, terminal)?;
    let mut text = format!(
        "{}: {}\n{}",
        plain(&path.display().to_string()),
        exact_size(metadata.len()),
        described(&report.facts)
    );
    for signature in &report.signatures {
        let by = signature.key_id.as_deref().unwrap_or("a key that it does not name");
        text.push_str(&format!("\n  signature     {:?} by {}", signature.algorithm, plain(by)));
    }
    for fault in &report.faults {
        text.push_str(&format!("\n{}: {}", word(fault.kind), plain(&fault.message)));
    }
    let faults: Vec<_> = report
        .faults
        .iter()
        .map(|fault| json!({"kind": word(fault.kind), "message": fault.message}))
        .collect();
    let signatures: Vec<_> = report
        .signatures
        .iter()
        .map(|signature| {
            json!({
                "algorithm": format!("{:?}", signature.algorithm),
                "key_id": signature.key_id,
                "certificates": signature.certificates.len(),
            })
        })
        .collect();
    let document = json!({
        "file": path.display().to_string(), "size": metadata.len(), "facts": report.facts, "faults": faults,
        "signatures": signatures,
    });
    let code = if report.faults.is_empty() { DONE } else { YOURS };
    Ok(Report { text, document, code })
}

/// Reads a file through the inspection, and puts it back to its start.
///
/// # Errors
/// When it cannot be read.
pub fn inspect(file: &mut File, bytes: u64, path: &Path, terminal: &Terminal) -> Result<Inspected, Failure> {
    let failed = |error: io::Error| Failure::yours(format!("cannot read {}: {error}", path.display()));
    let mut progress = Progress::start(terminal, "inspecting", bytes);
    let mut inspection = Inspection::default();
    let mut buffer = vec![0; 1024 * 1024];
    let mut done = 0;
    file.rewind().map_err(failed)?;
    let mut reader = file.take(bytes);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                inspection.update(&buffer[..count]);
                done += count as u64;
                progress.at(done);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    file.rewind().map_err(failed)?;
    Ok(inspection.finish())
}

/// Facts as lines.
pub fn described(facts: &Facts) -> String {
    let mut lines = vec![("format".to_owned(), facts.format.clone())];
    let mut line = |label: &str, value: Option<String>| {
        lines.extend(value.map(|value| (label.to_owned(), value)));
    };
    let semver = facts.semver.as_ref().map(ToString::to_string);
    line(
        "version",
        facts.version.as_ref().map(|text| match &semver {
            Some(semver) if semver == text => text.clone(),
            Some(semver) => format!("{text} = {semver}"),
            None => format!("{text} (does not read as SemVer)"),
        }),
    );
    for (kind, name) in &facts.names {
        let kind = serde_json::to_value(kind).ok();
        line(kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or("name"), Some(name.clone()));
    }
    line("counter", facts.security_counter.map(|counter| counter.to_string()));
    line("built", facts.built_at.clone());
    line("signed", facts.signed.then(|| "yes".to_owned()));
    facts.key_ids.iter().for_each(|key| line("key", Some(key.clone())));
    line("own digest", facts.own_digest.clone());
    line("installed", facts.installed_size.map(exact_size));
    for (label, value) in &facts.details {
        line(label, Some(value.clone()));
    }
    let width = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0).min(24);
    let lines = lines.iter().map(|(label, value)| format!("  {:width$}  {}", plain(label), plain(value)));
    let mut text = lines.collect::<Vec<_>>().join("\n");
    if !facts.payloads.is_empty() {
        let mut table = Table::new(&["PAYLOAD", "SIZE", "DIGEST"]);
        for payload in &facts.payloads {
            let digest = payload.digest.clone().unwrap_or_else(|| "-".to_owned());
            table.row(vec![payload.name.clone(), payload.size.to_string(), digest]);
        }
        text.push('\n');
        text.push_str(&table.render(2));
    }
    text
}

fn word(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Truncated => "truncated",
        FaultKind::Padded => "padded",
        FaultKind::DigestWrong => "digest-wrong",
        FaultKind::Malformed => "malformed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_inspected_without_a_server() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("f.bin");
        std::fs::write(&path, b"nothing that is known").expect("can be written");
        let arguments = InspectArguments { file: path, json: false };
        let report = run(&arguments, &Terminal::default()).expect("can be read");
        assert_eq!(report.code, 0);
        assert!(report.text.ends_with("f.bin: 21 bytes\n  format  raw"), "{}", report.text);
        assert_eq!(report.document["facts"]["format"], "raw");
        let missing = InspectArguments { file: directory.path().join("none"), json: false };
        assert_eq!(run(&missing, &Terminal::default()).expect_err("there is none").code, 1);
    }

    #[test]
    fn facts_are_shown_in_line() {
        let mut facts = Facts::of("esp-app");
        facts.set_version("v1.4.0");
        facts.name(crate::domain::facts::NameKind::Chip, "ESP32\x1b[2J");
        facts.security_counter = Some(3);
        let text = "  format   esp-app\n  version  v1.4.0 = 1.4.0\n  chip     ESP32\u{fffd}[2J\n  counter  3";
        assert_eq!(described(&facts), text);
    }
}
