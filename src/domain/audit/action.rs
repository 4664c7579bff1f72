//! The verbs of the audit log.
//!
//! Whoever decides something by the verb of an entry does so in a `match` without a wildcard: then a new verb does not
//! compile before each of them has decided. Entries are stored with the word; a program that is older than the one which wrote
//! an entry may find a word that it does not know.

use std::fmt;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)+) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $variant,)+
        }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it, as it is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

actions! {
    /// A product was created.
    ProductCreate = "product.create",
    /// A product's settings were changed. The default: `Catalogue::put_product` says itself which of the two it was.
    #[default]
    ProductUpdate = "product.update",
    /// What a private product's devices are known by was changed.
    ProductDeviceSecret = "product.device-secret",
    /// An image was stored, and promoted if there is a channel.
    ImagePublish = "image.publish",
    /// Images were removed for good.
    ImageRemove = "image.remove",
    /// A stored release was promoted; with `"pending": true` in its details it waits at the gate.
    ChannelPromote = "channel.promote",
    /// The gate offered what had waited.
    ChannelOffer = "channel.offer",
    /// What had waited at the gate was refused by the rules, as they judged it then.
    ChannelRefuse = "channel.refuse",
    /// A release was taken back, or what replaces it was changed.
    ReleaseRecall = "release.recall",
    /// A release's notes were changed.
    ReleaseNotes = "release.notes",
    /// What a release fixes was changed.
    ReleaseSecurity = "release.security",
    /// A document was put beside a release.
    ReleaseAttach = "release.attach",
    /// A document was taken away.
    ReleaseDetach = "release.detach",
    /// How devices come to a release was changed.
    ReleasePath = "release.path",
    /// A product was made anew from the bucket.
    CatalogueRebuild = "catalogue.rebuild",
}

impl Action {
    /// From its word; `None` = this program does not know it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == word)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(*action));
        }
        assert_eq!(Action::parse("release.yank"), None);
    }
}
