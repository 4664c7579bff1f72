//! The manifest of a Mender artifact: which file has which SHA-256, and the signature over it.
//!
//! Source: `Documentation/artifact-format-v3.md` and `artifact/signer.go` of mender-artifact. A line is what
//! `sha256sum` prints: 64 hex digits, two spaces, a name. `manifest.sig` is the base64 of one signature over
//! the manifest's bytes, without a word about its key: RSASSA-PKCS1-v1_5 with SHA-256, or ECDSA on P-256 with
//! SHA-256 as `r || s` of 32 bytes each (the `sign` of mender-artifact) or in DER (its key services in the
//! cloud).

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::super::{Algorithm, FaultKind, Report, Signature, Signed, ecdsa::to_der, facts::text_of};

/// The lines of `manifest` and `manifest-augment`.
#[derive(Default)]
pub(super) struct Manifest {
    lines: BTreeMap<String, Line>,
}

struct Line {
    sha256: [u8; 32],
    seen: bool,
}

impl Manifest {
    /// Takes the lines of a manifest, which is called `file`.
    pub fn read(&mut self, file: &str, bytes: &[u8], report: &mut Report) {
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let Some((name, sha256)) = read_line(line) else {
                report.fault(
                    FaultKind::Malformed,
                    format!(
                        "line {} of {file} is {:?}, which is no SHA-256, two spaces and a name",
                        index + 1,
                        text_of(line)
                    ),
                );
                continue;
            };
            if self.lines.insert(name.clone(), Line { sha256, seen: false }).is_some() {
                report.fault(
                    FaultKind::Malformed,
                    format!("{file} names {:?}, which a manifest has named before", text_of(name.as_bytes())),
                );
            }
        }
    }

    /// Compares what the manifest says of a file with what it is; `true` if that is right.
    pub fn check(&mut self, name: &str, sha256: [u8; 32], report: &mut Report) -> bool {
        let shown = text_of(name.as_bytes());
        let Some(line) = self.lines.get_mut(name) else {
            report.fault(
                FaultKind::Malformed,
                format!("{shown:?} is in the artifact, but its manifest does not name it: devices refuse it"),
            );
            return false;
        };
        if line.seen {
            report.fault(FaultKind::Malformed, format!("{shown:?} is in the artifact more than once"));
        }
        line.seen = true;
        let right = line.sha256 == sha256;
        if !right {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "{shown:?} has SHA-256 {}, and the manifest states {}: the artifact was damaged or \
                     changed after it was written",
                    hex::encode(sha256),
                    hex::encode(line.sha256)
                ),
            );
        }
        right
    }

    /// What it names that has not come, without what is below the folders that could not be looked into.
    pub fn missing<'a>(&'a self, closed: &'a [String]) -> impl Iterator<Item = &'a str> {
        self.lines
            .iter()
            .filter(|(_, line)| !line.seen)
            .map(|(name, _)| name.as_str())
            .filter(|name| !closed.iter().any(|folder| name.starts_with(folder.as_str())))
    }
}

fn read_line(line: &[u8]) -> Option<(String, [u8; 32])> {
    let line = std::str::from_utf8(line).ok()?;
    let (digest, name) = line.split_once("  ")?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(digest, &mut sha256).ok()?;
    (!name.is_empty()).then(|| (name.to_owned(), sha256))
}

/// The signature in a `manifest.sig`; `None` if it is none.
pub(super) fn signature(text: &[u8], manifest_sha256: [u8; 32]) -> Option<Signature> {
    let bytes = STANDARD.decode(text.trim_ascii()).ok()?;
    let (algorithm, bytes) = match bytes.len() {
        64 => (Algorithm::EcdsaP256Sha256, to_der(&bytes[..32], &bytes[32..])),
        8..=72 if is_ecdsa_der(&bytes) => (Algorithm::EcdsaP256Sha256, bytes),
        // RSA keys of 1024 to 8192 bits; a signature is as long as the key.
        128..=1024 => (Algorithm::RsaPkcs1Sha256, bytes),
        _ => return None,
    };
    Some(Signature::new(algorithm, Signed::Sha256(manifest_sha256), bytes))
}

fn is_ecdsa_der(bytes: &[u8]) -> bool {
    let integer = |bytes: &[u8]| match bytes {
        [0x02, length, rest @ ..] if (1..=33).contains(length) => {
            rest.get(usize::from(*length)..).map(<[u8]>::to_vec)
        }
        _ => None,
    };
    match bytes {
        [0x30, length, rest @ ..] if usize::from(*length) == rest.len() => {
            integer(rest).and_then(|rest| integer(&rest)).is_some_and(|rest| rest.is_empty())
        }
        _ => false,
    }
}
