//! One offer, read where it lies in the block.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{LONG, Offer};

const SHA256: usize = 32;
const SHA1: usize = 20;
const MD5: usize = 16;
const SHA256_AT: usize = 2 * LONG;
const SHA1_AT: usize = SHA256_AT + SHA256;
const MD5_AT: usize = SHA1_AT + SHA1;
const TEXTS_AT: usize = MD5_AT + MD5;

impl<'a> Offer<'a> {
    fn text_at(&self, index: usize) -> usize {
        (0..index).fold(self.at + TEXTS_AT, |at, _| self.block.after_text(at))
    }

    fn text(&self, index: usize) -> &'a str {
        self.block.text(self.text_at(index))
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.block.long(self.at)
    }

    /// When the image was stored.
    pub fn created_at(&self) -> DateTime<Utc> {
        let micros = self.block.long(self.at + LONG).cast_signed();
        DateTime::from_timestamp_micros(micros).expect("packed from a time")
    }

    /// Of the whole file.
    pub fn sha256(&self) -> &'a [u8] {
        self.block.bytes(self.at + SHA256_AT, SHA256)
    }

    /// Of the whole file.
    pub fn sha1(&self) -> &'a [u8] {
        self.block.bytes(self.at + SHA1_AT, SHA1)
    }

    /// Of the whole file.
    pub fn md5(&self) -> &'a [u8] {
        self.block.bytes(self.at + MD5_AT, MD5)
    }

    /// Changes when [`Self::members`] do: 16 hex digits, the beginning of their SHA-256.
    pub fn tag(&self) -> &'a str {
        self.text(0)
    }

    /// Where the image is in the bucket and below a base URL.
    pub fn key(&self) -> &'a str {
        self.text(1)
    }

    /// What an answer says of the offer besides the link: the members of a JSON object, without its braces. (In JSON
    /// because that is what nearly all devices read; other protocols have the fields.) Bytes, since whoever puts them on the
    /// wire need not know that they are a text.
    pub fn members(&self) -> &'a [u8] {
        self.block.raw_text(self.text_at(2))
    }

    /// The release's version.
    pub fn version(&self) -> &'a str {
        self.text(3)
    }

    /// The image's file name.
    pub fn filename(&self) -> &'a str {
        self.text(4)
    }

    /// The hardware that the image names, in order; none = all.
    pub fn hardware(&self) -> impl Iterator<Item = &'a str> {
        self.text(5).split_terminator('\n')
    }

    /// The release's notes, empty if it has none.
    pub fn notes(&self) -> &'a str {
        self.text(6)
    }

    /// The image's name in short links; `None` = it has none.
    pub fn short_id(&self) -> Option<&'a str> {
        Some(self.text(7)).filter(|id| !id.is_empty())
    }
}

impl PartialEq for Offer<'_> {
    fn eq(&self, other: &Self) -> bool {
        // The members are rendered from all that an offer is, but for the product's name in its key.
        self.key() == other.key() && self.members() == other.members()
    }
}

impl Eq for Offer<'_> {}

impl fmt::Debug for Offer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offer({}, {{{}}})", self.key(), self.text(2))
    }
}
