//! Cryptographic Message Syntax (RFC 5652), as RAUC bundles and SWUpdate archives are signed with it.
//!
//! Layout: `ContentInfo` { type, content }; the content is a `SignedData` (3: RFC 5652, 5.1): digest
//! algorithms, the content that is signed (inside, or detached), certificates, one `SignerInfo` per signer;
//! or an `EnvelopedData` (6.1), which hides all that from everyone but its recipients.
//!
//! What it verifies: the structure, and that each signer's `messageDigest` and `contentType` attributes are
//! those of the content. Only then is the signature stated with what it signs: the signed attributes in their
//! DER form (5.4), or the content itself where there are none, so whoever verifies a [`Signature`] need not
//! look at the content again.
//!
//! Limits: 32 certificates of 16 KiB, 8 signers, 16 levels of nesting. What is beyond is a fault. OpenSSL
//! writes indefinite lengths and split strings when it streams (`openssl cms -sign -stream`): they are
//! brought to DER first ([`to_der`]), which never grows.
//!
//! What it does not do: verify signatures, chains, validity or purposes; decrypt.
//!
//! The layers above tag and length are read here and not by the `cms` crate: it sorts the signed attributes
//! while reading, where signers such as OpenSSL sign them in the order in which they stand.

use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::{
        AnyRef, Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged,
        asn1::{ContextSpecific, ObjectIdentifier, OctetStringRef},
    },
    ext::pkix::SubjectKeyIdentifier,
    name::Name,
    spki::AlgorithmIdentifierRef,
};

use super::{Algorithm, FaultKind, Report, Signature, Signed};

const MOST_CERTIFICATES: usize = 32;
/// Names and extensions of a certificate are sets that are sorted when they are read: this bounds that work.
const LARGEST_CERTIFICATE: usize = 16 * 1024;
const MOST_SIGNERS: usize = 8;
const DEEPEST: usize = 16;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
const AUTH_ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.23");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The digests of signed content, by any of the algorithms that signers use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digests {
    sha256: [u8; 32],
    sha384: [u8; 48],
    sha512: [u8; 64],
}

/// Computes [`Digests`] of what passes: which one is needed is told only behind it.
#[derive(Default)]
pub(super) struct Hashing {
    sha256: Sha256,
    sha384: Sha384,
    sha512: Sha512,
}

/// What a CMS is.
pub(super) enum Cms {
    /// Signed content.
    Signed(SignedData),
    /// Encrypted content; the text says for whom.
    Enveloped(Vec<String>),
}

/// Signed content.
pub(super) struct SignedData {
    content_type: ObjectIdentifier,
    /// The content, if it is inside.
    pub content: Option<Vec<u8>>,
    certificates: Vec<Vec<u8>>,
    signers: Vec<Signer>,
}

struct Signer {
    id: SignerId,
    digest_algorithm: ObjectIdentifier,
    /// In the form that is signed: a `SET OF`, not the `[0]` that stands in the file.
    signed_attributes: Option<Vec<u8>>,
    /// DER of the `AlgorithmIdentifier`.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

enum SignerId {
    /// DER of the issuer's name, and the serial number.
    Issued(Vec<u8>, Vec<u8>),
    KeyIdentifier(Vec<u8>),
}

impl Digests {
    /// Those of bytes at hand.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hashing = Hashing::default();
        hashing.update(bytes);
        hashing.finish()
    }

    fn by(&self, algorithm: ObjectIdentifier) -> Option<(&'static str, &[u8])> {
        match algorithm {
            SHA256 => Some(("sha256", &self.sha256)),
            SHA384 => Some(("sha384", &self.sha384)),
            SHA512 => Some(("sha512", &self.sha512)),
            _ => None,
        }
    }
}

impl Hashing {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha384.update(bytes);
        self.sha512.update(bytes);
    }

    /// The content is complete.
    pub fn finish(self) -> Digests {
        Digests {
            sha256: self.sha256.finalize().into(),
            sha384: self.sha384.finalize().into(),
            sha512: self.sha512.finalize().into(),
        }
    }
}

/// Reads a CMS in DER or BER.
///
/// # Errors
/// What is wrong with it, as the rest of a sentence that starts with what it is part of.
pub(super) fn read(bytes: &[u8]) -> Result<Cms, String> {
    let der = to_der(bytes)?;
    let content_info = sequence(&der).map_err(|_| "is no CMS structure".to_owned())?;
    read_content_info(content_info)
}

/// Whether the bytes begin as a CMS of signed or enveloped content does.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let Some((header, _)) = header_of(bytes) else { return false };
    let Some([0x06, size, oid @ ..]) = bytes.get(header..) else { return false };
    let oid = oid.get(..usize::from(*size)).map(ObjectIdentifier::from_bytes);
    bytes[0] == 0x30
        && matches!(oid, Some(Ok(oid)) if [SIGNED_DATA, ENVELOPED_DATA, AUTH_ENVELOPED_DATA].contains(&oid))
}

/// How long the bytes say that the CMS which they begin is; `None` = they do not say it at their beginning.
pub(super) fn stated_length(bytes: &[u8]) -> Option<usize> {
    let (header, length) = header_of(bytes)?;
    header.checked_add(length?)
}

/// The place of the last thing in the bytes that begins as a CMS does.
pub(super) fn find_last(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).rev().find(|&at| bytes[at] == 0x30 && begins(&bytes[at..]))
}

type Asn1<T> = Result<T, x509_cert::der::Error>;

fn sequence(der: &[u8]) -> Asn1<&[u8]> {
    let any = AnyRef::from_der(der)?;
    any.tag().assert_eq(Tag::Sequence)?;
    Ok(any.value())
}

fn read_content_info(content_info: &[u8]) -> Result<Cms, String> {
    let broken = |error: x509_cert::der::Error| format!("is broken as a CMS structure ({error})");
    let mut reader = SliceReader::new(content_info).map_err(broken)?;
    let content_type = ObjectIdentifier::decode(&mut reader).map_err(broken)?;
    let content = ContextSpecific::<AnyRef<'_>>::decode_explicit(&mut reader, TagNumber(0))
        .map_err(broken)?
        .ok_or("is a CMS structure without content")?
        .value;
    if !reader.is_finished() {
        return Err("goes on behind its CMS structure".into());
    }
    content.tag().assert_eq(Tag::Sequence).map_err(broken)?;
    match content_type {
        SIGNED_DATA => signed_data(content.value()).map(Cms::Signed),
        ENVELOPED_DATA | AUTH_ENVELOPED_DATA => {
            recipients(content.value()).map(Cms::Enveloped).map_err(broken)
        }
        other => Err(format!("is a CMS structure of type {other}, and not signed data")),
    }
}

fn signed_data(bytes: &[u8]) -> Result<SignedData, String> {
    let broken = |error: x509_cert::der::Error| format!("is broken as CMS signed data ({error})");
    let mut reader = SliceReader::new(bytes).map_err(broken)?;
    let _version = u8::decode(&mut reader).map_err(broken)?;
    let _digest_algorithms = AnyRef::decode(&mut reader).map_err(broken)?;
    let encapsulated = AnyRef::decode(&mut reader).map_err(broken)?;
    encapsulated.tag().assert_eq(Tag::Sequence).map_err(broken)?;
    let (content_type, content) = encapsulated_content(encapsulated.value()).map_err(broken)?;
    let mut data = SignedData { content_type, content, certificates: Vec::new(), signers: Vec::new() };
    while !reader.is_finished() {
        let part = AnyRef::decode(&mut reader).map_err(broken)?;
        let mut inner = SliceReader::new(part.value()).map_err(broken)?;
        match part.tag() {
            Tag::ContextSpecific { constructed: true, number: TagNumber(0) } => {
                while !inner.is_finished() {
                    let certificate = inner.tlv_bytes().map_err(broken)?;
                    if data.certificates.len() == MOST_CERTIFICATES {
                        return Err(format!("carries more than {MOST_CERTIFICATES} certificates"));
                    }
                    if certificate.len() > LARGEST_CERTIFICATE {
                        return Err(format!(
                            "carries a certificate of more than {LARGEST_CERTIFICATE} bytes"
                        ));
                    }
                    data.certificates.push(certificate.to_vec());
                }
            }
            // Revocation lists say nothing of this image.
            Tag::ContextSpecific { constructed: true, number: TagNumber(1) } => {}
            Tag::Set => {
                while !inner.is_finished() {
                    if data.signers.len() == MOST_SIGNERS {
                        return Err(format!("has more than {MOST_SIGNERS} signers"));
                    }
                    let signer = AnyRef::decode(&mut inner).map_err(broken)?;
                    signer.tag().assert_eq(Tag::Sequence).map_err(broken)?;
                    data.signers.push(signer_info(signer.value()).map_err(broken)?);
                }
            }
            other => return Err(format!("is broken as CMS signed data (it has an unexpected {other})")),
        }
    }
    Ok(data)
}

fn encapsulated_content(bytes: &[u8]) -> Asn1<(ObjectIdentifier, Option<Vec<u8>>)> {
    let mut reader = SliceReader::new(bytes)?;
    let content_type = ObjectIdentifier::decode(&mut reader)?;
    let content = ContextSpecific::<&OctetStringRef>::decode_explicit(&mut reader, TagNumber(0))?;
    reader.finish()?;
    Ok((content_type, content.map(|content| content.value.as_bytes().to_vec())))
}

fn signer_info(bytes: &[u8]) -> Asn1<Signer> {
    let mut reader = SliceReader::new(bytes)?;
    let _version = u8::decode(&mut reader)?;
    let id = AnyRef::decode(&mut reader)?;
    let id = match id.tag() {
        Tag::Sequence => {
            let mut inner = SliceReader::new(id.value())?;
            let issuer = inner.tlv_bytes()?.to_vec();
            let serial = AnyRef::decode(&mut inner)?;
            inner.finish()?;
            SignerId::Issued(issuer, serial.value().to_vec())
        }
        Tag::ContextSpecific { constructed: false, number: TagNumber(0) } => {
            SignerId::KeyIdentifier(id.value().to_vec())
        }
        other => return Err(other.value_error().into()),
    };
    let digest_algorithm = AlgorithmIdentifierRef::decode(&mut reader)?.oid;
    let mut next = reader.tlv_bytes()?;
    let signed_attributes = (next[0] == 0xa0).then(|| {
        let mut set = next.to_vec();
        set[0] = 0x31;
        set
    });
    if signed_attributes.is_some() {
        next = reader.tlv_bytes()?;
    }
    AlgorithmIdentifierRef::from_der(next)?;
    let algorithm = next.to_vec();
    let signature = <&OctetStringRef>::decode(&mut reader)?.as_bytes().to_vec();
    // What may follow are attributes that nobody signed.
    Ok(Signer { id, digest_algorithm, signed_attributes, algorithm, signature })
}

/// Whom the content is encrypted for, as far as it says.
fn recipients(bytes: &[u8]) -> Asn1<Vec<String>> {
    let mut reader = SliceReader::new(bytes)?;
    let _version = u8::decode(&mut reader)?;
    let mut recipients = AnyRef::decode(&mut reader)?;
    if recipients.tag() != Tag::Set {
        // The optional information on the originator.
        recipients = AnyRef::decode(&mut reader)?;
    }
    recipients.tag().assert_eq(Tag::Set)?;
    let mut inner = SliceReader::new(recipients.value())?;
    let mut found = Vec::new();
    while !inner.is_finished() && found.len() < MOST_CERTIFICATES {
        let recipient = AnyRef::decode(&mut inner)?;
        found.push(
            recipient_name(recipient)
                .unwrap_or_else(|| "a recipient whose key is agreed upon, not named".into()),
        );
    }
    Ok(found)
}

/// The name of a recipient whose key transports the content's key (6.2.1); others are named in ways of their
/// own.
fn recipient_name(recipient: AnyRef<'_>) -> Option<String> {
    if recipient.tag() != Tag::Sequence {
        return None;
    }
    let mut reader = SliceReader::new(recipient.value()).ok()?;
    let _version = u8::decode(&mut reader).ok()?;
    let id = AnyRef::decode(&mut reader).ok()?;
    if id.tag() != Tag::Sequence {
        return Some(format!("the key {}", hex::encode(id.value())));
    }
    let mut inner = SliceReader::new(id.value()).ok()?;
    let issuer = inner.tlv_bytes().ok()?;
    let serial = AnyRef::decode(&mut inner).ok()?;
    Some(format!("serial:{} of {}", hex::encode(serial.value()), name_text(issuer)?))
}

fn name_text(der: &[u8]) -> Option<String> {
    if der.len() > LARGEST_CERTIFICATE {
        return None;
    }
    Some(Name::from_der(der).ok()?.to_string())
}

impl SignedData {
    /// States the signers in the report, checks what they say of the content (of which these are the
    /// digests), and adds their signatures. `what` names the content, such as `the manifest`. Gives the
    /// digest that was found right, as `sha256:HEX`, if all signers state the right one.
    pub fn state(&self, report: &mut Report, digests: &Digests, what: &str) -> Option<String> {
        report.facts.signed = !self.signers.is_empty();
        if self.signers.is_empty() {
            report.fault(
                FaultKind::Malformed,
                format!("the CMS structure over {what} has no signer: sign it with a certificate"),
            );
        }
        let certificates: Vec<_> = self.certificates.iter().map(|der| Known::read(der)).collect();
        let mut right = None;
        let mut all = true;
        for signer in &self.signers {
            let own = certificates.iter().flatten().find(|known| signer.id.is_of(known));
            let digest = self.state_signer(report, signer, own, digests, what);
            all &= digest.is_some();
            right = right.or(digest);
        }
        right.filter(|_| all)
    }

    fn state_signer(
        &self,
        report: &mut Report,
        signer: &Signer,
        own: Option<&Known<'_>>,
        digests: &Digests,
        what: &str,
    ) -> Option<String> {
        let key_id = signer.state_key(report, own);
        let Some((name, digest)) = digests.by(signer.digest_algorithm) else {
            report.facts.detail(
                "signature not usable",
                format!(
                    "{key_id} signs with the digest algorithm {}, which is not read here",
                    signer.digest_algorithm
                ),
            );
            return None;
        };
        let signed = match &signer.signed_attributes {
            Some(attributes) => match self.attributes_fit(report, attributes, digest, what) {
                true => Signed::Message(attributes.clone()),
                false => return None,
            },
            None => match signer.digest_algorithm {
                SHA256 => Signed::Sha256(digests.sha256),
                SHA384 => Signed::Sha384(digests.sha384),
                _ => Signed::Sha512(digests.sha512),
            },
        };
        match signer.scheme(own) {
            Ok(Algorithm::Ed25519) if signer.signed_attributes.is_none() => report.facts.detail(
                "signature not usable",
                format!("{key_id} signs with Ed25519 and without signed attributes"),
            ),
            Ok(algorithm) => report.signatures.push(Signature {
                algorithm,
                signed,
                bytes: signer.signature.clone(),
                key_id: Some(key_id),
                certificates: self.certificates_from(own),
            }),
            Err(scheme) => {
                report.facts.detail("signature not usable", format!("{key_id} signs with {scheme}"))
            }
        }
        // Without signed attributes nothing but the signature itself tells whether the content is the right
        // one.
        signer.signed_attributes.as_ref().map(|_| format!("{name}:{}", hex::encode(digest)))
    }

    /// Whether the signed attributes are those of this content.
    fn attributes_fit(&self, report: &mut Report, attributes: &[u8], digest: &[u8], what: &str) -> bool {
        let found = match Attributes::read(attributes) {
            Ok(found) => found,
            Err(error) => {
                report.fault(
                    FaultKind::Malformed,
                    format!("the attributes that the signer of {what} signs are broken ({error})"),
                );
                return false;
            }
        };
        if let Some(time) = &found.signing_time {
            report.facts.detail("signed at", time);
        }
        if found.content_type != Some(self.content_type) {
            report.fault(
                FaultKind::Malformed,
                format!("the signer of {what} signs another content type than that of the CMS structure"),
            );
            return false;
        }
        let Some(stated) = found.message_digest else {
            report.fault(FaultKind::Malformed, format!("the signer of {what} does not state its digest"));
            return false;
        };
        if stated != digest {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "the signature is over {what} with the digest {}, but it has {}: it was changed after \
                     it was signed, or damaged; sign it again, or upload it again",
                    hex::encode(&stated),
                    hex::encode(digest),
                ),
            );
            return false;
        }
        true
    }

    /// All certificates, the signer's first.
    fn certificates_from(&self, own: Option<&Known<'_>>) -> Vec<Vec<u8>> {
        let own = own.map(|known| known.der);
        let others = self.certificates.iter().map(Vec::as_slice).filter(|der| Some(*der) != own);
        own.into_iter().chain(others).map(<[u8]>::to_vec).collect()
    }
}

impl SignerId {
    fn is_of(&self, known: &Known<'_>) -> bool {
        let of_certificate = known.certificate.tbs_certificate();
        match self {
            Self::Issued(issuer, serial) => {
                of_certificate.serial_number().as_bytes() == serial
                    && of_certificate.issuer().to_der().is_ok_and(|der| der == *issuer)
            }
            Self::KeyIdentifier(id) => known.key_identifier.as_deref() == Some(id),
        }
    }
}

impl Signer {
    /// States who signed; gives the most telling of the names.
    fn state_key(&self, report: &mut Report, own: Option<&Known<'_>>) -> String {
        let mut key_ids = Vec::new();
        if let Some(known) = own {
            let certificate = known.certificate.tbs_certificate();
            key_ids.push(certificate.subject().to_string());
            key_ids.push(format!("serial:{}", hex::encode(certificate.serial_number().as_bytes())));
            key_ids.extend(known.key_identifier.as_deref().map(hex::encode));
            let validity = certificate.validity();
            report.facts.detail("signer valid", format!("{} to {}", validity.not_before, validity.not_after));
            if let Ok(key) = certificate.subject_public_key_info().to_der() {
                report.facts.detail("signer key sha256", hex::encode(Sha256::digest(key)));
            }
        } else {
            match &self.id {
                SignerId::Issued(issuer, serial) => {
                    report.facts.detail("signer issued by", name_text(issuer).unwrap_or_default());
                    key_ids.push(format!("serial:{}", hex::encode(serial)));
                }
                SignerId::KeyIdentifier(id) => key_ids.push(hex::encode(id)),
            }
            report.facts.detail("signer certificate", "not among those in the CMS structure");
        }
        key_ids.retain(|id| !id.is_empty());
        let key_ids: Vec<_> = key_ids.iter().map(|id| super::facts::text_of(id.as_bytes())).collect();
        let first = key_ids.first().cloned().unwrap_or_default();
        report.facts.key_ids.extend(key_ids);
        first
    }

    /// The scheme of the signature, or what it is if it is not one of [`Algorithm`].
    fn scheme(&self, own: Option<&Known<'_>>) -> Result<Algorithm, String> {
        let Ok(identifier) = AlgorithmIdentifierRef::from_der(&self.algorithm) else {
            return Err("a scheme that is not readable".into());
        };
        let curve = own.and_then(|known| {
            let key = known.certificate.tbs_certificate().subject_public_key_info();
            key.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()
        });
        match (identifier.oid, self.digest_algorithm) {
            (RSA | RSA_SHA256, SHA256) => Ok(Algorithm::RsaPkcs1Sha256),
            (RSA | RSA_SHA384, SHA384) => Ok(Algorithm::RsaPkcs1Sha384),
            (RSA | RSA_SHA512, SHA512) => Ok(Algorithm::RsaPkcs1Sha512),
            (RSA_PSS, SHA256) => match identifier.parameters.and_then(|parameters| pss_salt(parameters).ok())
            {
                Some(32) => Ok(Algorithm::RsaPssSha256),
                Some(salt) => Err(format!(
                    "RSASSA-PSS and a salt of {salt} bytes: sign with `-keyopt rsa_pss_saltlen:32` to have \
                     it verified"
                )),
                None => Err("RSASSA-PSS with parameters that are not read here".into()),
            },
            (ECDSA_SHA256, SHA256) if curve.is_none_or(|curve| curve == P256) => {
                Ok(Algorithm::EcdsaP256Sha256)
            }
            (ECDSA_SHA384, SHA384) if curve.is_none_or(|curve| curve == P384) => {
                Ok(Algorithm::EcdsaP384Sha384)
            }
            (ED25519, _) => Ok(Algorithm::Ed25519),
            (scheme, digest) => {
                let curve = curve.map(|curve| format!(" on the curve {curve}")).unwrap_or_default();
                Err(format!(
                    "the scheme {scheme} with the digest {digest}{curve}, which is not verified here"
                ))
            }
        }
    }
}

/// The salt length of RSASSA-PSS parameters (RFC 8017, A.2.3) where both hashes are SHA-256.
fn pss_salt(parameters: AnyRef<'_>) -> Asn1<u16> {
    parameters.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(parameters.value())?;
    let hash = ContextSpecific::<AlgorithmIdentifierRef<'_>>::decode_explicit(&mut reader, TagNumber(0))?;
    let mask = ContextSpecific::<AlgorithmIdentifierRef<'_>>::decode_explicit(&mut reader, TagNumber(1))?;
    let salt = ContextSpecific::<u16>::decode_explicit(&mut reader, TagNumber(2))?;
    let mask_hash = match mask.and_then(|mask| mask.value.parameters) {
        Some(any) => Some(any.decode_as::<AlgorithmIdentifierRef<'_>>()?.oid),
        None => None,
    };
    // Absent ones stand for SHA-1.
    if hash.map(|hash| hash.value.oid) != Some(SHA256) || mask_hash != Some(SHA256) {
        return Err(Tag::Sequence.value_error().into());
    }
    Ok(salt.map_or(20, |salt| salt.value))
}

/// A certificate that can be read.
struct Known<'a> {
    der: &'a [u8],
    certificate: CertificateInner<Raw>,
    key_identifier: Option<Vec<u8>>,
}

impl<'a> Known<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        // Not the profile of RFC 5280: homemade certificates have serial numbers that it does not allow.
        let certificate = CertificateInner::<Raw>::from_der(der).ok()?;
        let key_identifier = match certificate.tbs_certificate().get_extension::<SubjectKeyIdentifier>() {
            Ok(Some((_, identifier))) => Some(identifier.0.as_bytes().to_vec()),
            _ => None,
        };
        Some(Self { der, certificate, key_identifier })
    }
}

/// What a signer signs of the content.
#[derive(Default)]
struct Attributes {
    content_type: Option<ObjectIdentifier>,
    message_digest: Option<Vec<u8>>,
    signing_time: Option<String>,
}

impl Attributes {
    fn read(set: &[u8]) -> Asn1<Self> {
        let mut found = Self::default();
        let set = AnyRef::from_der(set)?;
        let mut reader = SliceReader::new(set.value())?;
        while !reader.is_finished() {
            let attribute = AnyRef::decode(&mut reader)?;
            let mut inner = SliceReader::new(attribute.value())?;
            let kind = ObjectIdentifier::decode(&mut inner)?;
            let values = AnyRef::decode(&mut inner)?;
            let mut values = SliceReader::new(values.value())?;
            match kind {
                CONTENT_TYPE => found.content_type = Some(ObjectIdentifier::decode(&mut values)?),
                MESSAGE_DIGEST => {
                    found.message_digest = Some(<&OctetStringRef>::decode(&mut values)?.as_bytes().to_vec());
                }
                SIGNING_TIME => {
                    let time = x509_cert::time::Time::decode(&mut values)?;
                    found.signing_time = Some(time.to_string());
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The length of the header of a value, and of what it holds; `None` for an indefinite length.
fn header_of(bytes: &[u8]) -> Option<(usize, Option<usize>)> {
    // Tag numbers above 30 occur nowhere in CMS.
    if bytes.first()? & 0x1f == 0x1f {
        return None;
    }
    match *bytes.get(1)? {
        short @ ..0x80 => Some((2, Some(usize::from(short)))),
        0x80 => Some((2, None)),
        long => {
            let digits = bytes.get(2..2 + usize::from(long & 0x7f))?;
            if digits.len() > 4 {
                return None;
            }
            let length = digits.iter().fold(0_u32, |length, digit| length << 8 | u32::from(*digit));
            Some((2 + digits.len(), Some(usize::try_from(length).ok()?)))
        }
    }
}

/// Brings BER to DER as far as lengths and strings go: indefinite and overlong lengths become minimal, an
/// octet string in pieces becomes one.
fn to_der(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = bytes;
    let mut der = Vec::with_capacity(bytes.len());
    one_to_der(&mut rest, &mut der, DEEPEST)?;
    if !rest.is_empty() {
        return Err(format!("goes on for {} bytes behind its CMS structure", rest.len()));
    }
    Ok(der)
}

fn one_to_der(rest: &mut &[u8], der: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    let tag = *rest.first().ok_or("ends in the middle of its CMS structure")?;
    let (header, length) = header_of(rest).ok_or("is no CMS structure (a tag or length is not readable)")?;
    let constructed = tag & 0x20 != 0;
    let ends = "ends in the middle of its CMS structure";
    let mut inside = match length {
        Some(length) => {
            let (inside, behind) =
                rest.get(header..).and_then(|value| value.split_at_checked(length)).ok_or(ends)?;
            *rest = behind;
            inside
        }
        None if constructed => &rest[header..],
        None => return Err("is no CMS structure (a value without a length)".into()),
    };
    if !constructed {
        put(der, tag, inside);
        return Ok(());
    }
    let depth = depth.checked_sub(1).ok_or_else(|| format!("is nested more than {DEEPEST} levels deep"))?;
    let mut value = Vec::new();
    loop {
        match (length, inside) {
            (Some(_), []) => break,
            (None, [0, 0, behind @ ..]) => {
                *rest = behind;
                break;
            }
            (None, []) => return Err(ends.into()),
            _ => one_to_der(&mut inside, &mut value, depth)?,
        }
    }
    // An octet string in pieces: only what the pieces hold counts.
    if tag == 0x24 {
        let mut pieces = value.as_slice();
        let mut joined = Vec::with_capacity(value.len());
        while !pieces.is_empty() {
            let Some((header, Some(length))) = header_of(pieces) else { return Err(ends.into()) };
            let end = header.checked_add(length).ok_or(ends)?;
            joined.extend_from_slice(pieces.get(header..end).ok_or(ends)?);
            pieces = &pieces[end..];
        }
        put(der, 0x04, &joined);
    } else {
        put(der, tag, &value);
    }
    Ok(())
}

fn put(der: &mut Vec<u8>, tag: u8, value: &[u8]) {
    der.push(tag);
    let length = value.len().to_be_bytes();
    match value.len() {
        short @ 0..0x80 => der.push(short as u8),
        _ => {
            let digits = &length[length.iter().take_while(|digit| **digit == 0).count()..];
            der.push(0x80 | digits.len() as u8);
            der.extend_from_slice(digits);
        }
    }
    der.extend_from_slice(value);
}
