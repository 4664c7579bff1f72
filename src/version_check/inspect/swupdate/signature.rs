//! The signature of an archive: a CMS or an RSA signature over the description.

use super::{
    super::{
        Algorithm, FaultKind, Signature, Signed,
        cms::{self, Cms, Digests},
    },
    DESCRIPTION, SIGNATURE, Swupdate,
};

impl Swupdate {
    /// Reads it and states what it signs.
    pub(super) fn signature(&mut self, bytes: &[u8]) {
        // One that precedes what it signs is a fault already.
        let Some(description) = &self.description else { return };
        if cms::begins(bytes) {
            match cms::read(bytes) {
                Ok(Cms::Signed(signed)) => {
                    if signed.content.as_ref().is_some_and(|content| content != description) {
                        self.report.fault(
                            FaultKind::DigestWrong,
                            format!(
                                "{SIGNATURE} signs another {DESCRIPTION} than the one in the archive: sign \
                                 it again"
                            ),
                        );
                        return;
                    }
                    self.own_digest = signed.state(&mut self.report, &Digests::of(description), DESCRIPTION);
                }
                Ok(Cms::Enveloped(_)) => self
                    .report
                    .fault(FaultKind::Malformed, format!("{SIGNATURE} is encrypted, and so signs nothing")),
                Err(why) => self.report.fault(FaultKind::Malformed, format!("{SIGNATURE} {why}")),
            }
            return;
        }
        match bytes {
            // Keys of 2048, 3072 and 4096 bits.
            _ if [256, 384, 512].contains(&bytes.len()) => {
                self.report.facts.signed = true;
                self.report
                    .facts
                    .detail("signature", format!("RSA of {} bits, without a certificate", bytes.len() * 8));
                self.report.signatures.extend([Algorithm::RsaPkcs1Sha256, Algorithm::RsaPssSha256].map(
                    // One signature that does not say how it was made: one group.
                    |algorithm| {
                        Signature::new(algorithm, Signed::Message(description.clone()), bytes.to_vec())
                    },
                ));
            }
            // RFC 9580, 4.2: a signature packet of the old or new format.
            [0x88..=0x8a | 0xc2, ..] | [b'-', b'-', b'-', b'-', b'-', ..] => {
                self.report.facts.signed = true;
                self.report.facts.detail("signature", "OpenPGP: not verified here");
            }
            _ => self.report.fault(
                FaultKind::Malformed,
                format!(
                    "the {} bytes of {SIGNATURE} are neither a CMS structure nor an RSA signature",
                    bytes.len()
                ),
            ),
        }
    }
}
