//! `firmament publish --dry-run`: what would become of a publish.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    client::Answer,
    inspect,
    output::{DONE, Failure, Report, Terminal, YOURS},
    table::plain,
};
use crate::{api::VerdictView, version_check::detached::Detached};

/// Shows a verdict; the exit code is that of the publish.
///
/// # Errors
/// When the answer is something else.
pub fn report(answer: Answer, terminal: &Terminal) -> Result<Report, Failure> {
    let verdict: VerdictView = answer.read()?;
    let what = format!("{} {} {}", verdict.product, verdict.version, verdict.filename);
    let what = terminal.strong(&plain(&what));
    let mut lines = vec![match verdict.status {
        201 => format!("{what} would be stored"),
        200 => format!("{what} is stored already"),
        status => format!("{what} would be refused ({status}), {}", judged(&verdict.judged)),
    }];
    let conflict = verdict.conflict.iter().map(|message| format!("  conflict: {}", plain(message)));
    lines.extend(conflict);
    let told = |reason: &crate::version_check::Reason| {
        format!("{}: {}", plain(&reason.code), plain(&reason.message))
    };
    lines.extend(verdict.reasons.iter().map(|reason| format!("  {}", told(reason))));
    lines.extend(verdict.warnings.iter().map(|reason| format!("  warning, {}", told(reason))));
    lines.extend(verdict.facts.iter().map(inspect::described));
    let code = if verdict.admitted { DONE } else { YOURS };
    Ok(Report { text: lines.join("\n"), document: answer.document, code })
}

fn judged(judged: &str) -> &'static str {
    match judged {
        "declared" => "by what is declared",
        "underway" => "by what its first bytes say",
        _ => "by the whole image",
    }
}

/// A signature file as a request has it.
///
/// # Errors
/// When it cannot be read or is no signature.
pub fn read_signature(path: &Path) -> Result<String, Failure> {
    let unusable = |why: String| Failure::yours(format!("cannot use {}: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    // openssl's and others' signatures are often kept in base64.
    let decoded = || {
        let text = std::str::from_utf8(&bytes).ok()?.trim();
        STANDARD.decode(text).ok().filter(|decoded| decoded.len() == 64)
    };
    let bytes = decoded().unwrap_or_else(|| bytes.clone());
    Detached::of(bytes).map(|signature| signature.text()).map_err(unusable)
}
