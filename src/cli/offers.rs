//! What the devices of a product are told now, in words, for all commands that change it.

use super::{
    client::Client,
    output::{Failure, Terminal},
    table::{Table, plain},
};
use crate::{
    api::{ChannelView, PendingView, ProductDetail, RefusedView},
    domain::name::{ChannelName, Hardware, ProductName},
};

/// A channel's offers as text.
pub fn of_channel(channel: &ChannelView, terminal: &Terminal) -> String {
    let name = terminal.strong(&channel.channel);
    let mut waiting = String::new();
    for pending in &channel.pending {
        let PendingView { version, filename, .. } = pending;
        waiting.push_str(&format!(
            "\npending: {version} ({filename}), until it was fetched back through the CDN"
        ));
        if !pending.withdraws.is_empty() {
            waiting.push_str(&format!("; then {} is withdrawn", pending.withdraws.join(", ")));
        }
        if let Some(error) = &pending.last_error {
            waiting.push_str(&format!("; not yet: {}", plain(error)));
        }
    }
    let yet = if waiting.is_empty() { "" } else { " yet" };
    for RefusedView { version, filename, why, .. } in &channel.refused {
        waiting
            .push_str(&format!("\nnot offered: {version} ({filename}), refused at the gate: {}", plain(why)));
    }
    if channel.offers.is_empty() {
        return format!("{name} offers nothing{yet}{waiting}");
    }
    let others = if channel.offers.len() > 1 { "any other" } else { "any" };
    let mut table = Table::new(&["HARDWARE", "VERSION", "LINK"]);
    for offer in &channel.offers {
        table.row(vec![
            offer.hardware.clone().unwrap_or_else(|| others.to_owned()),
            offer.version.clone(),
            offer.url.clone(),
        ]);
    }
    format!("{name} now offers\n{}{waiting}", table.render(2))
}

/// The channels of a product, of which only those that are wanted.
pub fn of_product(detail: &ProductDetail, terminal: &Terminal, wanted: impl Fn(&str) -> bool) -> String {
    let channels = detail.channels.iter().filter(|channel| wanted(&channel.channel));
    channels.map(|channel| of_channel(channel, terminal)).collect::<Vec<_>>().join("\n")
}

/// Asks for what a product's channels offer.
///
/// # Errors
/// When the server does not say.
pub fn ask(client: &Client, product: &ProductName) -> Result<ProductDetail, Failure> {
    client.get(&format!("/v1/products/{product}"), &[])?.read()
}

/// The same after something was changed: then not to be told what devices see is no failure of the change.
pub fn ask_after(client: &Client, product: &ProductName, terminal: &Terminal) -> Option<ProductDetail> {
    match ask(client, product) {
        Ok(detail) => Some(detail),
        Err(failure) => {
            terminal.warn(&format!("done, but what is offered now cannot be shown: {}", failure.message));
            None
        }
    }
}

/// The command that asks as a device of this kind would.
pub fn check_command(
    product: &ProductName,
    hardware: Option<&Hardware>,
    channel: &ChannelName,
    connection: &str,
) -> String {
    let hardware = hardware.map(|hardware| format!(" --hardware {hardware}")).unwrap_or_default();
    let channel =
        if *channel == ChannelName::stable() { String::new() } else { format!(" --channel {channel}") };
    format!("firmament check --product {product} --version 0.0.0{hardware}{channel}{connection}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::OfferView;

    #[test]
    fn offers_name_the_hardware_they_are_for() {
        let offer = |hardware: Option<&str>| OfferView {
            hardware: hardware.map(Into::into),
            version: "1.0.0".into(),
            filename: "f.bin".into(),
            size: 1,
            sha256: "ab".into(),
            url: "http://x/f.bin".into(),
        };
        let mut channel = ChannelView {
            product: "p".into(),
            channel: "beta".into(),
            offers: vec![],
            pending: vec![],
            refused: vec![],
            warnings: vec![],
        };
        let text = |channel: &ChannelView| of_channel(channel, &Terminal::default());
        assert_eq!(text(&channel), "beta offers nothing");
        channel.offers.push(offer(None));
        assert_eq!(
            text(&channel),
            "beta now offers\n  HARDWARE  VERSION  LINK\n  any       1.0.0    http://x/f.bin"
        );
        channel.offers.push(offer(Some("rev-a")));
        assert!(text(&channel).contains("any other  1.0.0"));
    }

    #[test]
    fn the_suggested_check_is_one_that_can_be_typed() {
        let product = ProductName::parse("p").expect("a name");
        let hardware = Hardware::parse("rev-a").expect("a name");
        let beta = ChannelName::parse("beta").expect("a name");
        let suggested = check_command(&product, Some(&hardware), &beta, " --data-dir /d");
        assert_eq!(
            suggested,
            "firmament check --product p --version 0.0.0 --hardware rev-a --channel beta --data-dir /d"
        );
        let plain = check_command(&product, None, &ChannelName::stable(), "");
        assert_eq!(plain, "firmament check --product p --version 0.0.0");
    }
}
