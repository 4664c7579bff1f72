//! The words of the house as types, and the decisions made of them.
//!
//! Pure: no I/O, no clock, no async, no transport. Everything here is parsed, not validated: a value that
//! exists is well-formed, so the rest of the house never checks a name twice.
//!
//! - [`name`]: product, channel, hardware and file names
//! - [`version`]: SemVer 2.0 versions as releases and devices state them
//! - [`facts`]: what an image says of itself
//! - [`policy`]: what a product demands of its images
//! - [`product`]: a product with its releases, images and promotions, as the catalogue knows it
//! - [`rhythm`]: how often devices ask and how long caches keep an answer
//! - [`manifest`]: a product as it is kept in the bucket, to make a lost catalogue anew
//! - [`retention`]: which releases may be removed for good
//! - [`ladder`]: which releases of a channel a device goes through
//! - [`offers`]: what one product offers, packed for checks
//! - [`snapshot`]: the immutable index that answers checks
//! - [`decision`]: what a device is told, and why
//! - [`attachment`]: documents of a release, and what it fixes
//! - [`audit`]: the entries of the audit log, and the chain that holds them together
//! - [`delivery`]: who may have a product's images, and by which link
//! - [`credential`]: what devices of private products show
//! - [`purge`]: what a change wants a CDN to forget
//! - [`explain`]: the same for people, with all that was considered

pub mod attachment;
pub mod audit;
pub mod credential;
pub mod decision;
pub mod delivery;
pub mod explain;
pub mod facts;
pub mod ladder;
pub mod manifest;
pub mod name;
pub mod offers;
pub mod policy;
pub mod product;
pub mod purge;
pub mod retention;
pub mod rhythm;
pub mod snapshot;
pub mod version;

pub use attachment::{Attachment, AttachmentKind, CveId, Security, Severity};
pub use audit::{Action, AuditEntry, AuditHash, Shown};
pub use credential::DeviceSecrets;
pub use decision::{Decision, Question, Told, decide, tell, tell_in};
pub use delivery::{Access, Delivery, LinkForm, LinkForms, LinkKind, UrlHost, UrlLimits, UrlScheme};
pub use facts::Facts;
pub use name::{ChannelName, FileName, Hardware, NameError, ProductName, key_of};
pub use offers::{ChannelOffers, Offer, ProductOffers, ShortImage};
pub use policy::Policy;
pub use product::{
    Digests, Image, PendingPromotion, Product, ProductSettings, ProductState, Promotion, Recall,
    RefusedPromotion, Release, UpgradePath,
};
pub use retention::Retention;
pub use rhythm::{CacheLifetime, PollInterval, Rhythm};
pub use snapshot::{Revision, Snapshot};
pub use version::{Version, VersionError};
