//! Whether an image is signed by a key that the product lists.
//!
//! Two kinds of signatures count: a detached one over the whole file ([`detached`]), which devices get with their
//! answer, and those that the image's format carries, which the inspection states with what they sign.
//!
//! - One that is wrong is always refused: a listed key is named and it is not its signature, or the certificate that
//!   came with it did not make it.
//! - One by a key that is not listed is refused if it is detached (somebody meant it to be verified), or if the policy
//!   demands a signature and no other one is good.
//! - The format's own count in groups: in each, one has to be good, and every group has to be: a FIT of which one of two
//!   configurations is signed by a listed key is not signed.
//! - While the policy lists no keys, nothing can be verified: a detached signature is handed on with a warning, one of
//!   the format's own is not looked at.

use std::{collections::BTreeSet, time::Duration};

use super::{
    findings::Findings,
    inspect::{Covers, Report, Signature},
    rule,
};
use crate::domain::{Policy, policy::SigningKey};

mod certificate;
pub mod detached;
mod key;
mod verify;

use certificate::{Certificate, trusted_by};
use detached::Outcome;
use key::{Key, KeyKind};
pub(super) use verify::is_signed;

/// What became of one of the format's own signatures.
enum Own<'k> {
    /// By this key; the certificate of its signer, if one came with it.
    Good(&'k Key, Option<Certificate>),
    /// It is wrong, for this reason.
    Wrong(String),
    /// By whom, as far as can be said.
    Unknown(String),
}

/// Whether a listed key can be read.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(super) fn check(key: &SigningKey) -> Result<(), String> {
    Key::read(key).map(drop)
}

/// Judges all signatures of an image. `now` is the time since 1970.
pub(super) fn judge(
    policy: &Policy,
    report: &Report,
    detached: Option<&Outcome>,
    now: Duration,
    findings: &mut Findings<'_>,
) {
    let keys: Vec<Key> = policy.keys.iter().filter_map(|key| Key::read(key).ok()).collect();
    let mut good = false;
    let mut unknown = Vec::new();
    let mut wrong = false;
    match detached {
        None => {}
        Some(Outcome::Verified(by)) if keys.iter().any(|key| key.ed25519().as_ref() == Some(by)) => good = true,
        Some(Outcome::Verified(_)) => {
            findings.add(
                rule::SIGNATURE_KEY_UNKNOWN,
                "the key that made the detached signature was taken from the policy's keys while the image was uploaded",
            );
        }
        Some(Outcome::NoKeys) if keys.is_empty() => findings.add(
            rule::SIGNATURE_UNVERIFIED,
            "the policy lists no keys, so the detached signature is handed on as it is: list the key that made it",
        ),
        Some(Outcome::NoKeys) => findings.add(
            rule::SIGNATURE_KEY_UNKNOWN,
            "the policy got its keys while the image was uploaded, so the detached signature was not verified: send it again",
        ),
        Some(Outcome::KeyUnknown(why)) => findings.add(
            rule::SIGNATURE_KEY_UNKNOWN,
            format!("{why}, so the detached signature cannot be verified: list its key, or sign with one that is listed"),
        ),
        Some(Outcome::Wrong) => {
            wrong = true;
            findings.add(
                rule::SIGNATURE_INVALID,
                "the detached signature is none over these bytes by a listed key: sign this very file, with a listed key",
            );
        }
    }
    let own_signatures = if keys.is_empty() { &[][..] } else { &report.signatures };
    let groups: BTreeSet<u32> = own_signatures.iter().map(|signature| signature.group).collect();
    let mut all_good = !groups.is_empty();
    for group in groups {
        let judged: Vec<(&Signature, Own<'_>)> = own_signatures
            .iter()
            .filter(|signature| signature.group == group)
            .map(|signature| (signature, own(signature, &keys)))
            .collect();
        // One of a group is enough; what the others are then does not matter.
        let found = judged.iter().find_map(|(signature, own)| match own {
            Own::Good(key, signer) => Some((*signature, *key, signer.as_ref())),
            _ => None,
        });
        if let Some((signature, key, signer)) = found {
            tell_of_good(signature, key, signer, now, findings);
            continue;
        }
        all_good = false;
        for (_, own) in judged {
            match own {
                Own::Wrong(why) => {
                    wrong = true;
                    findings.add(rule::SIGNATURE_INVALID, why);
                }
                Own::Unknown(by) => unknown.push(by),
                Own::Good(..) => {}
            }
        }
    }
    good |= all_good;
    if !policy.require_signature || good || wrong {
        return;
    }
    match (unknown.first(), detached) {
        (Some(by), _) => findings.add(
            rule::SIGNATURE_KEY_UNKNOWN,
            format!("the image is signed by {by}, which the policy does not list: sign it with a listed key, or list that one"),
        ),
        // Told above.
        (None, Some(_)) => {}
        (None, None) if report.facts.signed => findings.add(
            rule::SIGNATURE_MISSING,
            format!(
                "the image ({}) carries a signature that cannot be verified here: give a detached signature too",
                report.facts.format
            ),
        ),
        (None, None) => findings.add(
            rule::SIGNATURE_MISSING,
            format!(
                "the product demands a signature, and the image ({}) has none: sign it, or give a detached signature",
                report.facts.format
            ),
        ),
    }
}

/// What is worth knowing of a signature that is good.
fn tell_of_good(
    signature: &Signature,
    key: &Key,
    signer: Option<&Certificate>,
    now: Duration,
    findings: &mut Findings<'_>,
) {
    if let Some(signer) = signer.filter(|signer| !signer.is_valid_at(now)) {
        findings.add(
            rule::SIGNATURE_EXPIRED,
            format!(
                "the certificate {} (trusted by {}) is not valid now: devices that look at the time will refuse it",
                signer.subject, key.name
            ),
        );
    }
    if signature.covers == Covers::StatedDigest {
        findings.add(
            rule::SIGNATURE_UNVERIFIED,
            format!(
                "{} has signed a digest that the image states and that cannot be computed again here (an encrypted payload, \
                 or a hash tree that is larger than what is kept): only the device finds out whether the bytes are those",
                key.name
            ),
        );
    }
}

fn own<'k>(signature: &Signature, keys: &'k [Key]) -> Own<'k> {
    let by =
        |public_key: &[u8]| is_signed(signature.algorithm, public_key, &signature.signed, &signature.bytes);
    let certificates: Vec<Certificate> =
        signature.certificates.iter().filter_map(|der| Certificate::read(der)).collect();
    if let Some((signer, others)) = certificates.split_first() {
        if !by(&signer.public_key) {
            return Own::Wrong(format!(
                "the image's signature is not one of {}, whose certificate came with it: the image was changed after it was \
                 signed",
                signer.subject
            ));
        }
        return match trusted_by(signer, others, keys) {
            Some(key) => Own::Good(key, Some(signer.clone())),
            None => Own::Unknown(signer.subject.clone()),
        };
    }
    if let Some(key) = keys.iter().find(|key| by(&key.public_key)) {
        let signer = match &key.kind {
            KeyKind::Certificate(certificate) => Some((**certificate).clone()),
            _ => None,
        };
        return Own::Good(key, signer);
    }
    match &signature.key_id {
        Some(id) => match keys.iter().find(|key| key.is_named(id)) {
            Some(key) => Own::Wrong(format!(
                "the image says that it is signed by {}, and it is not its signature: the image was changed after it was \
                 signed",
                key.name
            )),
            None => Own::Unknown(format!("key {id}")),
        },
        None => Own::Unknown("a key that it does not name".into()),
    }
}

#[cfg(test)]
mod samples_tests;
#[cfg(test)]
mod tests;
