//! `firmament release`: what a release says of itself, beside its images.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
    table::{Table, names, size, time},
};
use crate::{
    api::{AttachmentView, NotesBody, ReleaseState, ReleaseView, SecurityBody},
    domain::{
        CveId, Severity,
        name::{FileName, ProductName},
        version::Version,
    },
};

/// The commands of `firmament release`.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Show what a release says of itself
    Show(ShowArguments),
    /// Attach a bill of materials: CycloneDX or SPDX, in JSON
    Attach(AttachArguments),
    /// Get an attached document
    Attachment(AttachmentArguments),
    /// Remove an attached document
    Detach(DetachArguments),
    /// Say which vulnerabilities a release fixes
    Security(SecurityArguments),
    /// Set the notes, in Markdown
    Notes(NotesArguments),
}

/// A release, and how to reach the server.
#[derive(Debug, Args)]
pub struct Of {
    /// The product
    #[arg(long)]
    product: ProductName,
    /// The release's version
    #[arg(long, value_parser = Version::parse)]
    version: Version,
    #[command(flatten)]
    connection: ClientOptions,
}

/// The arguments of `release show`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    #[command(flatten)]
    of: Of,
}

/// The arguments of `release attach`.
#[derive(Debug, Args)]
pub struct AttachArguments {
    /// The document
    file: PathBuf,
    /// Its name there [default: that of the file]
    #[arg(long)]
    name: Option<FileName>,
    /// Take the place of another document of this name
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    of: Of,
}

/// The arguments of `release attachment`.
#[derive(Debug, Args)]
pub struct AttachmentArguments {
    /// Its name
    name: FileName,
    /// Write it to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    of: Of,
}

/// The arguments of `release detach`.
#[derive(Debug, Args)]
pub struct DetachArguments {
    /// Its name
    name: FileName,
    #[command(flatten)]
    of: Of,
}

/// The arguments of `release security`.
#[derive(Debug, Args)]
pub struct SecurityArguments {
    /// How bad the worst of them is: low, medium, high or critical
    #[arg(long, required_unless_present = "clear")]
    severity: Option<Severity>,
    /// A CVE id; repeat it for more
    #[arg(long, value_name = "ID", value_parser = CveId::parse)]
    cve: Vec<CveId>,
    /// Take back what was said
    #[arg(long, conflicts_with_all = ["severity", "cve"])]
    clear: bool,
    #[command(flatten)]
    of: Of,
}

/// The arguments of `release notes`.
#[derive(Debug, Args)]
#[group(id = "source", required = true, multiple = false, args = ["file", "text", "clear"])]
pub struct NotesArguments {
    /// A file with the notes
    #[arg(long)]
    file: Option<PathBuf>,
    /// The notes
    #[arg(long)]
    text: Option<String>,
    /// No notes
    #[arg(long)]
    clear: bool,
    #[command(flatten)]
    of: Of,
}

impl ReleaseCommand {
    fn of(&self) -> &Of {
        match self {
            Self::Show(arguments) => &arguments.of,
            Self::Attach(arguments) => &arguments.of,
            Self::Attachment(arguments) => &arguments.of,
            Self::Detach(arguments) => &arguments.of,
            Self::Security(arguments) => &arguments.of,
            Self::Notes(arguments) => &arguments.of,
        }
    }

    /// The options that all of them have.
    pub fn connection(&self) -> &ClientOptions {
        &self.of().connection
    }
}

/// Runs one of them.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(command: &ReleaseCommand, terminal: &Terminal) -> Result<Report, Failure> {
    let of = command.of();
    let client = Client::publisher(&of.connection)?;
    let path = format!("/v1/products/{}/releases/{}", of.product, of.version);
    let attachment = |name: &FileName| format!("{path}/attachments/{name}");
    let answer = match command {
        ReleaseCommand::Show(_) => client.get(&path, &[])?,
        ReleaseCommand::Security(arguments) => match arguments.severity {
            Some(severity) => {
                let cves = arguments.cve.iter().map(ToString::to_string).collect();
                let body = SecurityBody { severity: severity.as_str().to_owned(), cves };
                client.put(&format!("{path}/security"), &body)?
            }
            None => client.delete(&format!("{path}/security"))?,
        },
        ReleaseCommand::Notes(arguments) => {
            let file = arguments.file.as_deref().map(read).transpose()?;
            let file = file.map(String::from_utf8).transpose();
            let file = file.map_err(|_| Failure::yours("the notes are no UTF-8 text"))?;
            let notes = file.or_else(|| arguments.text.clone());
            client.put(&format!("{path}/notes"), &NotesBody { notes })?
        }
        ReleaseCommand::Attach(arguments) => {
            let name = match &arguments.name {
                Some(name) => name.clone(),
                None => name_of(&arguments.file)?,
            };
            let query: &[_] = if arguments.replace { &[("replace", "true".to_owned())] } else { &[] };
            let answer = client.put_bytes(&attachment(&name), query, &read(&arguments.file)?)?;
            let view: AttachmentView = answer.read()?;
            let verb = if answer.status == 201 { "attached" } else { "there is now" };
            let what = format!("{verb} {}: {} {}, {}", name, view.kind, view.specification, size(view.size));
            return Ok(Report::done(what, answer.document));
        }
        ReleaseCommand::Detach(arguments) => {
            let answer = client.delete(&attachment(&arguments.name))?;
            return Ok(Report::done(format!("removed {}", arguments.name), answer.document));
        }
        ReleaseCommand::Attachment(arguments) => {
            let bytes = client.get_bytes(&attachment(&arguments.name))?;
            let Some(output) = &arguments.output else {
                terminal.bytes(&bytes)?;
                return Ok(Report::done("", serde_json::Value::Null));
            };
            let shown = output.display();
            std::fs::write(output, &bytes)
                .map_err(|error| Failure::yours(format!("cannot write {shown}: {error}")))?;
            let document = serde_json::json!({ "file": output, "size": bytes.len() });
            return Ok(Report::done(format!("wrote {shown}, {}", size(bytes.len() as u64)), document));
        }
    };
    let release: ReleaseView = answer.read()?;
    Ok(Report::done(text(&release, terminal), answer.document))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::yours(format!("cannot read {}: {error}", path.display())))
}

fn name_of(path: &Path) -> Result<FileName, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    FileName::parse(name).map_err(|error| Failure::yours(format!("{error}; give another name by --name")))
}

fn text(release: &ReleaseView, terminal: &Terminal) -> String {
    let state = match release.state {
        ReleaseState::Published => "published".to_owned(),
        ReleaseState::Recalled => {
            format!("recalled: {}", release.recall_reason.as_deref().unwrap_or("no reason is known"))
        }
    };
    let name = terminal.strong(&format!("{} {}", release.product, release.version));
    let mut text =
        format!("{name}, {state}; {} images, created {}", release.images.len(), time(release.created_at));
    text.push_str(&match &release.security {
        Some(security) => {
            format!("\nsecurity: {}, {}", security.severity, names(&security.cves, "no CVE ids"))
        }
        None => "\nsecurity: nothing is said".to_owned(),
    });
    if release.attachments.is_empty() {
        text.push_str("\nno documents");
    } else {
        let mut table = Table::new(&["DOCUMENT", "FORMAT", "SIZE", "SHA-256", "ATTACHED"]);
        for attachment in &release.attachments {
            table.row(vec![
                attachment.name.clone(),
                format!("{} {}", attachment.kind, attachment.specification),
                size(attachment.size),
                attachment.sha256.clone(),
                time(attachment.created_at),
            ]);
        }
        text.push_str(&format!("\n{}", table.render(0)));
    }
    if let Some(notes) = &release.notes {
        let lines: Vec<String> = notes.lines().map(super::table::plain).collect();
        text.push_str(&format!("\n\n{}", lines.join("\n")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn, release};

    #[test]
    fn a_release_is_shown_with_all_it_says() {
        let said = r#""security":{"severity":"high","cves":["CVE-2026-1234"]},"notes":"**fixed**\u001b[2J","attachments":[
            {"name":"sbom.json","kind":"cyclonedx","specification":"1.6","size":2048,"sha256":"ab",
             "created_at":"2026-01-02T03:04:05Z"}],"images""#;
        let document = release("1.4.0", "published").replace("\"images\"", said);
        let server = Replay::start(vec![Turn::json(200, &document)]);
        let of = Of {
            product: ProductName::parse("p").expect("a name"),
            version: Version::parse("1.4.0").expect("a version"),
            connection: server.options(),
        };
        let report = run(&ReleaseCommand::Show(ShowArguments { of }), &Terminal::default()).expect("200");
        let lines: Vec<&str> = report.text.lines().collect();
        assert_eq!(lines[0], "p 1.4.0, published; 0 images, created 2026-01-02 03:04:05Z");
        assert_eq!(lines[1], "security: high, CVE-2026-1234");
        assert_eq!(lines[3], "sbom.json  cyclonedx 1.6  2.0 KiB  ab       2026-01-02 03:04:05Z");
        assert_eq!(lines[5], "**fixed**\u{fffd}[2J");
    }
}
