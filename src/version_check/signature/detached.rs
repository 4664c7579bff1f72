//! Detached signatures over a whole file, verified while the file streams through, whatever its size.
//!
//! Two forms are known: the 64 bytes of an Ed25519 signature (RFC 8032), and minisign's signature file
//! (<https://jedisct1.github.io/minisign/>), legacy (`Ed`, over the file itself) or prehashed (`ED`, over its
//! BLAKE2b-512). Ed25519 hashes the signature's first half, the key and the message, in this order: with the signature
//! and the keys known beforehand, one pass over the file suffices, with one SHA-512 for each key that may have made it
//! (a policy lists few). aws-lc-rs offers no such pass, ed25519-dalek does.
//!
//! The keys are those that the product listed when the upload began; whether the one that verified is still listed is
//! asked again at the end ([`Outcome::Verified`] has it). minisign's trusted comment is signed by the global signature,
//! which is verified too.

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use blake2::{Blake2b512, Digest};
use ed25519_dalek::{Signature as Ed25519Signature, StreamVerifier, VerifyingKey};

use super::key::{Key, KeyKind};
use crate::domain::Policy;

/// The longest that is taken: a minisign signature with its comments.
const LONGEST: usize = 2048;

/// A detached signature as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    /// As it was given, decoded.
    bytes: Vec<u8>,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Ed25519([u8; 64]),
    Minisign { prehashed: bool, key_id: [u8; 8], signature: [u8; 64], comment: Vec<u8>, global: [u8; 64] },
}

/// What became of a detached signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The product lists no key that could verify it.
    NoKeys,
    /// It names a key that the product does not list.
    KeyUnknown(String),
    /// It is no signature over this file by any key that was tried.
    Wrong,
    /// It is one, by this Ed25519 key.
    Verified([u8; 32]),
}

impl Detached {
    /// Reads what a publisher gave: base64 (of either alphabet) of the signature, or of the signature file.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        // In a query, an unescaped plus sign arrives as a space.
        let text: String = text
            .trim_matches(['\r', '\n'])
            .chars()
            .map(|c| match c {
                ' ' | '-' => '+',
                '_' => '/',
                c => c,
            })
            .collect();
        let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
        let bytes = engine.decode(&text).map_err(|error| format!("the signature is no base64: {error}"))?;
        Self::of(bytes)
    }

    /// Takes the content of a signature file: 64 bytes, or minisign's text.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn of(bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.len() > LONGEST {
            return Err(format!("the signature is longer than {LONGEST} bytes"));
        }
        if let Ok(signature) = <[u8; 64]>::try_from(bytes.as_slice()) {
            return Ok(Self { bytes, form: Form::Ed25519(signature) });
        }
        let form = minisign(&bytes).ok_or(
            "the signature is neither the 64 bytes of an Ed25519 signature nor a minisign signature file, in base64",
        )?;
        Ok(Self { bytes, form })
    }

    /// In base64, as devices get it.
    pub fn text(&self) -> String {
        BASE64_STANDARD.encode(&self.bytes)
    }

    /// Starts to verify it with the product's keys.
    pub fn verifier(&self, policy: &Policy) -> Verifier {
        let keys: Vec<Key> = policy.keys.iter().filter_map(|key| Key::read(key).ok()).collect();
        let ed25519: Vec<&Key> = keys.iter().filter(|key| key.ed25519().is_some()).collect();
        let stage = match &self.form {
            _ if keys.is_empty() => Stage::Known(Outcome::NoKeys),
            Form::Ed25519(_) if ed25519.is_empty() => {
                Stage::Known(Outcome::KeyUnknown("the policy lists no Ed25519 key".into()))
            }
            Form::Ed25519(signature) => Stage::Streams(streams(signature, &ed25519)),
            Form::Minisign { prehashed, key_id, signature, .. } => {
                let named =
                    ed25519.iter().find(|key| matches!(key.kind, KeyKind::Minisign(id) if id == *key_id));
                match named {
                    // minisign shows an id as a number, its last byte first.
                    None => Stage::Known(Outcome::KeyUnknown(format!(
                        "the policy does not list minisign's key {:016X}",
                        u64::from_le_bytes(*key_id)
                    ))),
                    Some(key) if *prehashed => {
                        Stage::Prehash(key.ed25519().expect("all of these are"), Box::default())
                    }
                    Some(key) => Stage::Streams(streams(signature, &[key])),
                }
            }
        };
        Verifier { form: self.form.clone(), stage }
    }
}

fn streams(signature: &[u8; 64], keys: &[&Key]) -> Vec<([u8; 32], StreamVerifier)> {
    let signature = Ed25519Signature::from_bytes(signature);
    let of = |key: &&Key| {
        let bytes = key.ed25519()?;
        let stream = VerifyingKey::from_bytes(&bytes).ok()?.verify_stream(&signature).ok()?;
        Some((bytes, stream))
    };
    keys.iter().filter_map(of).collect()
}

/// <https://jedisct1.github.io/minisign/#signature-format>: an untrusted comment, the signature with its key's id, a
/// trusted comment, and a signature over the former signature and that comment.
fn minisign(bytes: &[u8]) -> Option<Form> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    lines.next()?.strip_prefix("untrusted comment:")?;
    let line = BASE64_STANDARD.decode(lines.next()?.trim()).ok()?;
    let comment = lines.next()?.strip_prefix("trusted comment: ")?;
    let global = BASE64_STANDARD.decode(lines.next()?.trim()).ok()?;
    let (algorithm, rest) = line.split_at_checked(2)?;
    let (key_id, signature) = rest.split_at_checked(8)?;
    Some(Form::Minisign {
        prehashed: match algorithm {
            b"ED" => true,
            b"Ed" => false,
            _ => return None,
        },
        key_id: key_id.try_into().ok()?,
        signature: signature.try_into().ok()?,
        comment: comment.as_bytes().to_vec(),
        global: global.try_into().ok()?,
    })
}

/// Takes the file as it passes.
pub struct Verifier {
    form: Form,
    stage: Stage,
}

enum Stage {
    Known(Outcome),
    /// One for each key that is tried.
    Streams(Vec<([u8; 32], StreamVerifier)>),
    Prehash([u8; 32], Box<Blake2b512>),
}

impl Verifier {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.stage {
            Stage::Known(_) => {}
            Stage::Streams(streams) => streams.iter_mut().for_each(|(_, stream)| stream.update(bytes)),
            Stage::Prehash(_, hasher) => hasher.update(bytes),
        }
    }

    /// The file is at its end.
    pub fn finish(self) -> Outcome {
        let Self { form, stage } = self;
        let verified = match stage {
            Stage::Known(outcome) => return outcome,
            Stage::Streams(streams) => streams
                .into_iter()
                .find_map(|(key, stream)| stream.finalize_and_verify().is_ok().then_some(key)),
            Stage::Prehash(key, hasher) => match &form {
                Form::Minisign { signature, .. } => is_by(&key, &hasher.finalize(), signature).then_some(key),
                Form::Ed25519(_) => None,
            },
        };
        let trusts_comment = |key: &[u8; 32]| match &form {
            Form::Ed25519(_) => true,
            Form::Minisign { signature, comment, global, .. } => {
                is_by(key, &[signature.as_slice(), comment].concat(), global)
            }
        };
        verified.filter(trusts_comment).map_or(Outcome::Wrong, Outcome::Verified)
    }
}

fn is_by(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = Ed25519Signature::from_bytes(signature);
    VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}
