//! `firmament backup`: not in this version; it says so and never pretends.

use clap::Subcommand;

use super::output::{Failure, Report};

/// The commands of `firmament backup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum BackupCommand {
    /// Copy what the backup bucket lacks
    Sync,
    /// Compare the backup bucket with the catalogue
    Verify,
    /// Copy what the bucket lacks from the backup bucket
    Restore,
}

/// Says that there is no backup.
///
/// # Errors
/// Always.
pub fn run(command: &BackupCommand) -> Result<Report, Failure> {
    let verb = match command {
        BackupCommand::Sync => "sync",
        BackupCommand::Verify => "verify",
        BackupCommand::Restore => "restore",
    };
    Err(Failure::ours(format!(
        "`firmament backup {verb}` is not available in this version, and nothing was done: no [backup] bucket is kept. \
         Back up the bucket and the catalogue with their own tools"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_pretend() {
        let failure = run(&BackupCommand::Verify).expect_err("not available");
        assert_eq!(failure.code, 2);
        assert!(failure.message.contains("nothing was done"));
    }
}
