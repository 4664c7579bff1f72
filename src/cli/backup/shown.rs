//! The status as people read it.

use std::time::Duration;

use crate::{
    api::BackupStatus,
    cli::table::{size, time},
};

/// The status.
pub fn status(status: &BackupStatus) -> String {
    let BackupStatus { lag, scrub, .. } = status;
    let behind = match lag.objects {
        0 => "nothing".to_owned(),
        count => format!("{count} objects, {}, for {}", size(lag.bytes), duration(lag.seconds)),
    };
    let within = duration(scrub.period_seconds as f64);
    let unread = match scrub.unread {
        0 => String::new(),
        count => format!(", {count} not since it was copied"),
    };
    let mut lines = vec![
        status.summary.clone(),
        format!("  place         {}", status.place),
        format!("  behind by     {behind}"),
        format!("  copied        {} objects, {}", status.copied_objects, size(status.copied_bytes)),
        format!(
            "  damaged       {} in the bucket, {} in the backup",
            status.damaged_in_bucket, status.damaged_in_backup
        ),
        format!(
            "  read again    {} of {} within {within}{unread}",
            scrub.read_within_period, status.copied_objects
        ),
    ];
    if let Some(at) = status.last_success {
        lines.push(format!("  complete at   {}", time(at)));
    }
    if let Some(why) = &status.bucket_gone {
        lines.push(format!("  bucket gone   {why}"));
    }
    if let Some(error) = &status.last_error {
        let at = status.last_error_at.map(|at| format!("{}: ", time(at))).unwrap_or_default();
        lines.push(format!("  last error    {at}{error}"));
    }
    lines.join("\n")
}

fn duration(seconds: f64) -> String {
    let whole = Duration::from_secs(Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs());
    humantime::format_duration(whole).to_string()
}
