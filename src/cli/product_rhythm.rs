//! How often a product's devices ask and how long caches keep its answers, as it is typed and shown.

use std::str::FromStr;

use clap::Args;

use crate::{
    api::{ChannelSettings, ProductBody},
    domain::{CacheLifetime, PollInterval, name::ChannelName},
};

/// A time, or `default`: what the level above has.
#[derive(Debug, Clone, Copy)]
struct Choice<T>(Option<T>);

impl<T: FromStr<Err: std::fmt::Display>> FromStr for Choice<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "default" {
            return Ok(Self(None));
        }
        let time = text.parse().map_err(|error: T::Err| format!("{error}; or write default"))?;
        Ok(Self(Some(time)))
    }
}

/// The flags of `product create` and `product set`.
#[derive(Debug, Default, Args)]
pub struct RhythmArguments {
    /// When its devices should ask again, such as 15m; default = the server's value
    #[arg(long, value_name = "TIME")]
    poll_interval: Option<Choice<PollInterval>>,
    /// How long shared caches may keep its answers, such as 2m; default = the server's value
    #[arg(long, value_name = "TIME")]
    cache_lifetime: Option<Choice<CacheLifetime>>,
    /// The same as --poll-interval for one channel, once for each, such as beta=1m; default = the product's value
    #[arg(long, value_name = "CHANNEL=TIME", value_parser = of_channel::<PollInterval>)]
    channel_poll_interval: Vec<(ChannelName, Choice<PollInterval>)>,
    /// The same as --cache-lifetime for one channel, once for each, such as beta=10s; default = the product's value
    #[arg(long, value_name = "CHANNEL=TIME", value_parser = of_channel::<CacheLifetime>)]
    channel_cache_lifetime: Vec<(ChannelName, Choice<CacheLifetime>)>,
}

impl RhythmArguments {
    /// Sets what was typed.
    pub fn apply(&self, body: &mut ProductBody) {
        if let Some(Choice(interval)) = self.poll_interval {
            body.poll_interval = interval;
        }
        if let Some(Choice(lifetime)) = self.cache_lifetime {
            body.cache_lifetime = lifetime;
        }
        for (channel, Choice(interval)) in &self.channel_poll_interval {
            body.channel_settings.entry(channel.clone()).or_default().poll_interval = *interval;
        }
        for (channel, Choice(lifetime)) in &self.channel_cache_lifetime {
            body.channel_settings.entry(channel.clone()).or_default().cache_lifetime = *lifetime;
        }
        body.channel_settings.retain(|_, settings| *settings != ChannelSettings::default());
    }
}

fn of_channel<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<(ChannelName, Choice<T>), String> {
    let (channel, time) = text.split_once('=').ok_or("write CHANNEL=TIME, such as beta=1m")?;
    Ok((ChannelName::parse(channel).map_err(|error| error.to_string())?, time.parse()?))
}

/// What is set, as the end of a sentence; empty if nothing is.
pub fn described(settings: &ProductBody) -> String {
    let times = |interval: Option<PollInterval>, lifetime: Option<CacheLifetime>| {
        let interval = interval.map(|interval| format!("devices ask every {interval}"));
        let lifetime = lifetime.map(|lifetime| format!("caches keep answers for {lifetime}"));
        interval.into_iter().chain(lifetime).collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    let own = times(settings.poll_interval, settings.cache_lifetime);
    if !own.is_empty() {
        text.push_str(&format!(", {own}"));
    }
    for (channel, of_channel) in &settings.channel_settings {
        text.push_str(&format!(
            "; on {channel} {}",
            times(of_channel.poll_interval, of_channel.cache_lifetime)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_set_and_unset_and_leave_the_rest() {
        let typed = RhythmArguments {
            poll_interval: "15m".parse().ok(),
            channel_poll_interval: vec![of_channel("beta=1m").expect("fits")],
            channel_cache_lifetime: vec![of_channel("beta=10s").expect("fits")],
            ..RhythmArguments::default()
        };
        let mut body = ProductBody::default();
        assert_eq!(described(&body), "");
        typed.apply(&mut body);
        assert_eq!(
            described(&body),
            ", devices ask every 15m; on beta devices ask every 1m, caches keep answers for 10s"
        );
        let typed = RhythmArguments {
            poll_interval: "default".parse().ok(),
            cache_lifetime: "0s".parse().ok(),
            channel_poll_interval: vec![of_channel("beta=default").expect("fits")],
            channel_cache_lifetime: vec![of_channel("beta=default").expect("fits")],
        };
        typed.apply(&mut body);
        assert_eq!(described(&body), ", caches keep answers for 0s");
        let told = of_channel::<PollInterval>("beta=soon").expect_err("no time");
        assert!(told.contains("from 1s to 30days; or write default"), "{told}");
        assert!(of_channel::<PollInterval>("Beta=1m").is_err() && of_channel::<PollInterval>("1m").is_err());
    }
}
