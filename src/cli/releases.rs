//! `firmament releases`: lists the releases of a product, one line for each image.

use clap::Args;

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
    table::{Table, names, plain, size, time},
};
use crate::{
    api::{PendingView, PurgeView, RefusedView, ReleaseList, ReleaseState, ReleaseView},
    domain::{name::ProductName, version::Version},
};

/// The arguments of `releases`.
#[derive(Debug, Args)]
pub struct ReleasesArguments {
    /// The product
    #[arg(long)]
    product: ProductName,
    /// Only this release
    #[arg(long, value_parser = Version::parse)]
    version: Option<Version>,
    /// How to reach the server.
    #[command(flatten)]
    pub connection: ClientOptions,
}

/// Lists the releases.
///
/// # Errors
/// When the server refuses or does not answer.
pub fn run(arguments: &ReleasesArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let path = format!("/v1/products/{}/releases", arguments.product);
    let Some(version) = &arguments.version else {
        let answer = client.get(&path, &[])?;
        let list: ReleaseList = answer.read()?;
        tell(&list.releases, terminal);
        return Ok(Report::done(text(&list.releases), answer.document));
    };
    let answer = client.get(&format!("{path}/{version}"), &[])?;
    let release: ReleaseView = answer.read()?;
    if let Some(reason) = &release.recall_reason
        && !terminal.is_json()
    {
        terminal.warn(&format!("{} was recalled: {reason}", release.version));
    }
    let mut shown = text(std::slice::from_ref(&release));
    for purge in &release.purges {
        let done = purge.estimated_done_at.map(|at| format!(", done by {}", time(at))).unwrap_or_default();
        let PurgeView { action, state, asked_at, .. } = purge;
        let object = plain(&purge.object);
        shown.push_str(&format!("\nCDN: {action} {object}: {state}, asked {}{done}", time(*asked_at)));
    }
    tell(&[release], terminal);
    Ok(Report::done(shown, answer.document))
}

/// Why something waits, and what the CDN does not take.
fn tell(releases: &[ReleaseView], terminal: &Terminal) {
    if terminal.is_json() {
        return;
    }
    for release in releases {
        for pending in release.images.iter().flat_map(|image| &image.pending) {
            let PendingView { channel, version, attempts, .. } = pending;
            let why = pending.last_error.as_deref().unwrap_or("it was not fetched through the CDN yet");
            terminal.warn(&format!("{version} waits for {channel} ({attempts} attempts): {}", plain(why)));
        }
        for refused in release.images.iter().flat_map(|image| &image.refused) {
            let RefusedView { channel, version, why, .. } = refused;
            terminal
                .warn(&format!("{version} was not offered on {channel}: {}; promote it again", plain(why)));
        }
        for purge in &release.purges {
            if let Some(error) = &purge.last_error {
                terminal.warn(&format!("{} is not purged: {}", plain(&purge.object), plain(error)));
            }
        }
    }
}

fn text(releases: &[ReleaseView]) -> String {
    if releases.is_empty() {
        return "no releases".to_owned();
    }
    let mut table = Table::new(&["VERSION", "STATE", "CHANNELS", "HARDWARE", "FILE", "SIZE", "CREATED"]);
    for release in releases {
        let state = match release.state {
            ReleaseState::Published => "published",
            ReleaseState::Recalled => "recalled",
        };
        if release.images.is_empty() {
            let mut row = vec![release.version.clone(), state.to_owned()];
            row.extend(["-", "-", "-", "-"].map(str::to_owned));
            row.push(time(release.created_at));
            table.row(row);
        }
        for image in &release.images {
            let mut channels = image.channels.clone();
            channels.extend(image.pending.iter().map(|pending| format!("{} (pending)", pending.channel)));
            table.row(vec![
                release.version.clone(),
                if image.removed_at.is_some() { "removed" } else { state }.to_owned(),
                names(&channels, "-"),
                names(&image.hardware, "all"),
                image.filename.clone(),
                size(image.size),
                time(image.created_at),
            ]);
        }
    }
    table.render(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn, image, release};

    fn arguments(server: &Replay, version: Option<&str>) -> ReleasesArguments {
        ReleasesArguments {
            product: ProductName::parse("p").expect("a name"),
            version: version.map(|text| Version::parse(text).expect("a version")),
            connection: server.options(),
        }
    }

    #[test]
    fn each_image_has_its_line() {
        let two =
            release("1.4.0", "published").replace("\"images\":[]", &format!("\"images\":[{}]", image()));
        let list = format!("{{\"releases\":[{},{two}]}}", release("1.5.0", "recalled"));
        let server = Replay::start(vec![Turn::json(200, &list)]);
        let report = run(&arguments(&server, None), &Terminal::default()).expect("200");
        let lines: Vec<&str> = report.text.lines().collect();
        assert_eq!(lines[0], "VERSION  STATE      CHANNELS  HARDWARE  FILE   SIZE     CREATED");
        assert_eq!(lines[1], "1.5.0    recalled   -         -         -      -        2026-01-02 03:04:05Z");
        assert_eq!(lines[2], "1.4.0    published  stable    rev-a     f.bin  5 bytes  2026-01-02 03:04:05Z");
    }

    #[test]
    fn one_release_can_be_asked_for() {
        let server = Replay::start(vec![Turn::json(200, &release("1.5.0", "recalled"))]);
        let report = run(&arguments(&server, Some("v1.5.0")), &Terminal::default()).expect("200");
        assert_eq!(report.document["version"], "1.5.0");
        assert_eq!(server.requests()[0].line, "GET /v1/products/p/releases/1.5.0 HTTP/1.1");
    }

    #[test]
    fn a_product_without_releases_says_so() {
        let server = Replay::start(vec![Turn::json(200, "{\"releases\":[]}")]);
        assert_eq!(run(&arguments(&server, None), &Terminal::default()).expect("200").text, "no releases");
    }
}
