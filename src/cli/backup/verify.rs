//! `firmament backup verify`.

use serde_json::json;

use super::{VerifyArguments, direct::Direct};
use crate::{
    backup::{Verification, Verified},
    cli::{
        output::{Failure, OURS, Report, Terminal, YOURS},
        table::Table,
    },
};

/// Compares, and says every difference.
///
/// # Errors
/// When the settings or the catalogue are in the way.
pub fn run(arguments: &VerifyArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let place = &arguments.place;
    let direct = Direct::open(place.config.as_deref(), place.data_dir.as_deref(), place.rate)?;
    let backup = &direct.backup;
    let status = direct.status()?;
    let (how, mut left) = match arguments.deep {
        false => (Verification::Described, status.copied_bytes + status.lag.bytes),
        true => {
            let since = direct.run(terminal, "asking", 0, async {
                let since = backup.catalogue.begin_deep_verification(arguments.restart).await?;
                Ok((since, backup.catalogue.backup_report(since).await?))
            })?;
            let (since, report) = since;
            if report.read_since > 0 {
                let (done, all) = (report.read_since, report.copied + report.lag.objects);
                terminal.note(&format!(
                    "going on with the verification that was begun at {since}: {done} of {all} are read already"
                ));
            }
            (Verification::Deep(since), report.copied_bytes + report.lag.bytes)
        }
    };
    left = left.max(1);
    let verified = direct.run(terminal, "verifying", left, backup.verify(how))?;
    if arguments.deep && verified.errors.is_empty() {
        direct.run(terminal, "ending", 0, backup.catalogue.end_deep_verification())?;
    }
    Ok(report(&verified, arguments.deep))
}

fn report(verified: &Verified, deep: bool) -> Report {
    let differences: Vec<_> = verified
        .differences
        .iter()
        .map(|difference| {
            json!({
                "key": difference.key,
                "where": difference.side.name(),
                "kind": difference.kind,
                "what": difference.what,
            })
        })
        .collect();
    let document = json!({
        "compared": verified.compared,
        "deep": deep,
        "differences": differences,
        "errors": verified.errors,
    });
    let mut text = String::new();
    if !verified.differences.is_empty() {
        let mut table = Table::new(&["KEY", "WHERE", "KIND", "WHAT"]);
        for difference in &verified.differences {
            table.row(vec![
                difference.key.clone(),
                difference.side.name().to_owned(),
                difference.kind.to_owned(),
                difference.what.clone(),
            ]);
        }
        text = table.render(0) + "\n";
    }
    for error in &verified.errors {
        text += &format!("could not be compared: {error}\n");
    }
    let how = if deep { "read" } else { "compared" };
    let (count, differences) = (verified.compared, verified.differences.len());
    text += &match (differences, verified.errors.len()) {
        (0, 0) => format!("{how} {count} images in bucket and backup: no difference"),
        (_, errors) => {
            format!("{how} {count} images in bucket and backup: {differences} differences, {errors} errors")
        }
    };
    let code = match (differences, verified.errors.is_empty()) {
        (_, false) => OURS,
        (0, true) => 0,
        (_, true) => YOURS,
    };
    Report { text, document, code }
}
