//! What devices of private products show: credentials and sealed links, without a table of devices.
//!
//! A product has a secret of 32 random bytes, used for nothing else. From it follow, by HMAC-SHA256:
//! ```text
//! credential = base64url( HMAC(secret, "firmament-device-v1" 00 PRODUCT 00 DEVICE) )           43 characters
//! link key   = HMAC(secret, "firmament-link-v1" 00 PRODUCT)
//! seal       = base64url( hours ‖ first 12 bytes of HMAC(link key, hours ‖ KEY) )              20 characters
//! ```
//! The credential is put into the device when it is made, and comes with each check as a bearer token (RFC 6750). A seal
//! makes one link of ours to one image good for some hours: `hours` are those since 1970, 3 bytes, when it ends.
//!
//! # Rotation
//! Two secrets count at most: the first makes credentials and seals, both verify them. So a new secret is put first, the
//! devices get credentials of it one after the other, and then the old one is dropped.
//!
//! # Where the secret is
//! In the catalogue, in the snapshot of every replica and in its copy on disk (mode 0600), since checks are answered
//! without asking anybody. Whoever reads it can pass for any device of that product, and can do nothing else with it: it
//! signs no firmware, opens no other product, is no key of the CDN or the bucket. A key derived from it for
//! verification alone would be no better, as an HMAC is made with what it is verified with. It is in no answer of the
//! API but the one to whoever made it, and in no audit entry.
//!
//! What it does not do: tell devices apart that share an id, or know which exist. A single device is shut out by a
//! rotation, or by its recall at the CDN.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// In bytes.
pub const SECRET_LENGTH: usize = 32;
/// The length of a seal, in characters.
pub const SEAL_LENGTH: usize = 20;
/// The length of a [`short_id`], in characters.
pub const SHORT_ID_LENGTH: usize = 11;
/// Of them, how many are the product's.
pub(super) const TAG_LENGTH: usize = 3;
const HOURS: usize = 3;
const SEAL_MAC: usize = 12;
/// Digits and letters without those that look like others (Crockford's base 32, in lower case).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// One secret of a product.
pub type Secret = [u8; SECRET_LENGTH];

/// The secrets of a product: at most two, the first one signs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DeviceSecrets(Vec<Secret>);

impl DeviceSecrets {
    /// These secrets, of which the first signs. More than two are cut off.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(secrets.into_iter().take(2).collect())
    }

    /// From the bytes that [`Self::to_bytes`] gave; `None` = they are no secrets.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (secrets, rest) = bytes.as_chunks::<SECRET_LENGTH>();
        (rest.is_empty() && secrets.len() <= 2).then(|| Self(secrets.to_vec()))
    }

    /// One after the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The one that signs.
    pub fn signing(&self) -> Option<&Secret> {
        self.0.first()
    }

    /// With a new one that signs; the one that signed until now still counts.
    #[must_use]
    pub fn rotated(&self, new: Secret) -> Self {
        Self::new([new].into_iter().chain(self.0.iter().copied()))
    }

    /// Only the one that signs.
    #[must_use]
    pub fn without_old(&self) -> Self {
        Self::new(self.0.first().copied())
    }
}

impl fmt::Debug for DeviceSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceSecrets({})", self.0.len())
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// What a device of that product shows.
pub fn credential(secret: &Secret, product: &str, device: &str) -> String {
    let parts = [b"firmament-device-v1", &[0][..], product.as_bytes(), &[0], device.as_bytes()];
    BASE64_URL_SAFE_NO_PAD.encode(mac(secret, &parts))
}

/// Whether a device shows what one of the secrets gives it, in a time that depends on nothing but how many there are.
/// The secrets are [`DeviceSecrets::to_bytes`].
pub fn is_credential(secrets: &[u8], product: &str, device: &str, shown: &[u8]) -> bool {
    secrets.as_chunks::<SECRET_LENGTH>().0.iter().fold(false, |fits, secret| {
        fits | bool::from(credential(secret, product, device).as_bytes().ct_eq(shown))
    })
}

/// Makes a link of ours to the image of a key good until a time, rounded up to a whole hour.
pub fn seal(secret: &Secret, product: &str, key: &str, until: DateTime<Utc>) -> String {
    let hours = (until.timestamp() + 3599).div_euclid(3600);
    let hours = u32::try_from(hours.clamp(0, 0xff_ffff)).expect("24 bits").to_be_bytes();
    seal_of(secret, product, key, &hours[1..])
}

fn seal_of(secret: &Secret, product: &str, key: &str, hours: &[u8]) -> String {
    let link_key = mac(secret, &[b"firmament-link-v1", &[0], product.as_bytes()]);
    let mac = mac(&link_key, &[hours, key.as_bytes()]);
    BASE64_URL_SAFE_NO_PAD.encode([hours, &mac[..SEAL_MAC]].concat())
}

/// When a seal ends that one of the secrets made for the key; `None` = none did, or it has ended.
pub fn seal_ends(
    secrets: &[u8],
    product: &str,
    key: &str,
    seal: &str,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(seal).ok()?;
    let (hours, _) = bytes.split_at_checked(HOURS).filter(|_| bytes.len() == HOURS + SEAL_MAC)?;
    let fits = secrets.as_chunks::<SECRET_LENGTH>().0.iter().fold(false, |fits, secret| {
        fits | bool::from(seal_of(secret, product, key, hours).as_bytes().ct_eq(seal.as_bytes()))
    });
    let ends = hours.iter().fold(0, |hours, byte| hours << 8 | i64::from(*byte)) * 3600;
    DateTime::from_timestamp(ends, 0).filter(|ends| fits && now < *ends)
}

/// The name of an image in short links: 3 characters of its product's, 8 of its own. It follows from the key, so that it
/// stays when a catalogue is rebuilt.
pub fn short_id(product: &str, key: &str) -> String {
    let mut id = product_tag(product);
    id.push_str(&letters(key, SHORT_ID_LENGTH - TAG_LENGTH));
    id
}

/// The part of short links that is the product's. Products may share one.
pub fn product_tag(product: &str) -> String {
    letters(product, TAG_LENGTH)
}

/// The tag in a [`short_id`], and the rest; `None` = it is none.
pub fn split_short_id(id: &str) -> Option<(&str, &str)> {
    let whole = id.len() == SHORT_ID_LENGTH && id.bytes().all(|byte| ALPHABET.contains(&byte));
    whole.then(|| id.split_at(TAG_LENGTH))
}

fn letters(text: &str, count: usize) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let bits = digest[..8].iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    (0..count).map(|at| char::from(ALPHABET[(bits >> (59 - 5 * at) & 31) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: Secret = [7; SECRET_LENGTH];

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("in range")
    }

    #[test]
    fn a_credential_is_one_hmac_that_any_language_makes() {
        // printf 'firmament-device-v1\0thermo-x\0SN-1' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…07 -binary
        let shown = credential(&SECRET, "thermo-x", "SN-1");
        assert_eq!(shown, "zacpd_O_oI4oACczGRDDqI5HmD_LH8U4fjxF_bqqyvY");
        let secrets = DeviceSecrets::new([SECRET]).to_bytes();
        let fits = |product, device, shown: &str| is_credential(&secrets, product, device, shown.as_bytes());
        assert!(fits("thermo-x", "SN-1", &shown));
        assert!(!fits("thermo-y", "SN-1", &shown) && !fits("thermo-x", "SN-2", &shown));
        assert!(!fits("thermo-x", "SN-1", "") && !fits("thermo-x", "SN-1", &shown[1..]));
        assert!(!is_credential(&[], "thermo-x", "SN-1", shown.as_bytes()));
    }

    #[test]
    fn two_secrets_count_while_they_are_changed() {
        let old = DeviceSecrets::new([SECRET]);
        let both = old.rotated([8; SECRET_LENGTH]);
        let new = both.without_old();
        let of_old = credential(&SECRET, "p", "d");
        let of_new = credential(both.signing().expect("there"), "p", "d");
        let fits = |secrets: &DeviceSecrets, shown: &str| {
            is_credential(&secrets.to_bytes(), "p", "d", shown.as_bytes())
        };
        assert!(fits(&old, &of_old) && !fits(&old, &of_new));
        assert!(fits(&both, &of_old) && fits(&both, &of_new));
        assert!(!fits(&new, &of_old) && fits(&new, &of_new));
        assert_eq!(both.rotated([9; SECRET_LENGTH]).count(), 2, "the oldest is gone");
        assert_eq!(DeviceSecrets::from_bytes(&both.to_bytes()), Some(both.clone()));
        assert_eq!(DeviceSecrets::from_bytes(&[0; 33]), None);
        assert_eq!(DeviceSecrets::from_bytes(&[0; 96]), None);
        assert_eq!(format!("{both:?}"), "DeviceSecrets(2)");
    }

    #[test]
    fn a_seal_is_for_one_key_and_ends() {
        let secrets = DeviceSecrets::new([SECRET]).to_bytes();
        let seal = seal(&SECRET, "p", "p/1.0.0/a.bin", at(7201));
        assert_eq!(seal.len(), SEAL_LENGTH);
        let ends = |key, seal: &str, now| seal_ends(&secrets, "p", key, seal, at(now));
        assert_eq!(ends("p/1.0.0/a.bin", &seal, 10_799), Some(at(10_800)));
        assert_eq!(ends("p/1.0.0/a.bin", &seal, 10_800), None);
        assert_eq!(ends("p/1.0.0/b.bin", &seal, 0), None);
        assert_eq!(seal_ends(&secrets, "q", "p/1.0.0/a.bin", &seal, at(0)), None);
        assert_eq!(seal_ends(&[], "p", "p/1.0.0/a.bin", &seal, at(0)), None);
    }

    #[test]
    fn short_ids_stay_as_they_are() {
        let id = short_id("thermo-x", "thermo-x/1.4.0/app.bin");
        assert_eq!(id, "a3z60cmxs91");
        assert_eq!(split_short_id(&id), Some((product_tag("thermo-x").as_str(), &id[3..])));
        for other in ["", "0123456789", "0123456789u", "0123456789A", "0123456789ä", "0123456789ab"] {
            assert_eq!(split_short_id(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_seal_with_any_character_changed_is_none(place in 0usize..SEAL_LENGTH, character in "[A-Za-z0-9_=-]") {
            let secrets = DeviceSecrets::new([SECRET, [8; SECRET_LENGTH]]).to_bytes();
            let good = seal(&SECRET, "p", "k", at(3600));
            let mut changed = good.clone();
            changed.replace_range(place..=place, &character);
            prop_assume!(changed != good);
            prop_assert_eq!(seal_ends(&secrets, "p", "k", &changed, at(0)), None);
            prop_assert!(seal_ends(&secrets, "p", "k", &good, at(0)).is_some());
        }
    }
}
