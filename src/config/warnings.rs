//! What settings that make sense should make somebody think of. No error: said by `check-config`, and at the start in the log.

use super::{PurgeChecks, Settings};

impl Settings {
    /// One sentence each, with the key and what to do; none = nothing comes to mind.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut think = |of: bool, text: &str| {
            if of {
                warnings.push(text.to_owned());
            }
        };
        let purge = self.cdn.as_ref().and_then(|cdn| cdn.purge.as_ref());
        think(
            self.device.g2o.is_some() && purge.is_some_and(|purge| purge.checks == PurgeChecks::None),
            "cdn.purge.checks is \"none\", and the CDN stands before the device listener (device.g2o): answers to checks that it \
             keeps are not purged, so that a recalled release is offered for a cache lifetime more. Set it to \"tag\", unless the \
             CDN keeps none of /v1/check",
        );
        think(
            self.device.g2o.is_some() && self.device.public_url.is_none() && self.device.short_url.is_none(),
            "device.public_url is not set, and the CDN stands before the device listener (device.g2o): where it asks by the \
             listener's own host name, as by the rules of docs/akamai.md, short links lead past it. Set it to the URL that \
             devices use",
        );
        warnings
    }
}
