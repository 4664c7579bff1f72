//! The structures of a CMS (RFC 5652) and the certificates in it, from DER.

use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::{
        AnyRef, Decode, Reader, SliceReader, Tag, TagNumber, Tagged,
        asn1::{ContextSpecific, ObjectIdentifier, OctetStringRef},
    },
    ext::pkix::SubjectKeyIdentifier,
    name::Name,
    spki::AlgorithmIdentifierRef,
};

use super::{Cms, SignedData, Signer, SignerId};

const MOST_CERTIFICATES: usize = 32;
/// Names and extensions of a certificate are sets that are sorted when they are read: this bounds that work.
const LARGEST_CERTIFICATE: usize = 16 * 1024;
const MOST_SIGNERS: usize = 8;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
const AUTH_ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.23");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");

/// Whether the bytes begin as a CMS of signed or enveloped content does.
pub fn begins(bytes: &[u8]) -> bool {
    let Some((header, _)) = super::ber::header_of(bytes) else { return false };
    let Some([0x06, size, oid @ ..]) = bytes.get(header..) else { return false };
    let oid = oid.get(..usize::from(*size)).map(ObjectIdentifier::from_bytes);
    bytes[0] == 0x30
        && matches!(oid, Some(Ok(oid)) if [SIGNED_DATA, ENVELOPED_DATA, AUTH_ENVELOPED_DATA].contains(&oid))
}

/// What reading ASN.1 gives.
pub(super) type Asn1<T> = Result<T, x509_cert::der::Error>;

fn sequence(der: &[u8]) -> Asn1<&[u8]> {
    let any = AnyRef::from_der(der)?;
    any.tag().assert_eq(Tag::Sequence)?;
    Ok(any.value())
}

/// The outermost structure.
pub(super) fn content_info(der: &[u8]) -> Result<Cms, String> {
    let content_info = sequence(der).map_err(|_| "is no CMS structure".to_owned())?;
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

/// A name in the form of RFC 4514.
pub(super) fn name_text(der: &[u8]) -> Option<String> {
    if der.len() > LARGEST_CERTIFICATE {
        return None;
    }
    Some(Name::from_der(der).ok()?.to_string())
}

/// A certificate that can be read.
pub(super) struct Known<'a> {
    pub der: &'a [u8],
    pub certificate: CertificateInner<Raw>,
    /// Its extension of that name.
    pub key_identifier: Option<Vec<u8>>,
}

impl<'a> Known<'a> {
    /// Reads one; `None` if it is none.
    pub fn read(der: &'a [u8]) -> Option<Self> {
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
pub(super) struct Attributes {
    pub content_type: Option<ObjectIdentifier>,
    pub message_digest: Option<Vec<u8>>,
    pub signing_time: Option<String>,
}

impl Attributes {
    /// Reads them from a `SET OF`.
    pub fn read(set: &[u8]) -> Asn1<Self> {
        let mut found = Self::default();
        let set = AnyRef::from_der(set)?;
        let mut reader = SliceReader::new(set.value())?;
        while !reader.is_finished() {
            let attribute = AnyRef::decode(&mut reader)?;
            let mut inner = SliceReader::new(attribute.value())?;
            let kind = ObjectIdentifier::decode(&mut inner)?;
            let values = AnyRef::decode(&mut inner)?;
            let mut values = SliceReader::new(values.value())?;
            // RFC 5652, 11.1 and 11.2: there is one of each.
            let again = match kind {
                CONTENT_TYPE => found.content_type.is_some(),
                MESSAGE_DIGEST => found.message_digest.is_some(),
                _ => false,
            };
            if again {
                return Err(Tag::Set.length_error().into());
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version_check::inspect::cms::read;

    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let value = parts.concat();
        [&[tag, 0x83], &(value.len() as u32).to_be_bytes()[1..], &value].concat()
    }

    fn oid(oid: ObjectIdentifier) -> Vec<u8> {
        [&[6, oid.as_bytes().len() as u8], oid.as_bytes()].concat()
    }

    fn signed(certificates: &[u8], signers: &[u8]) -> Vec<u8> {
        let encapsulated = tlv(0x30, &[&oid(ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1"))]);
        let certificates = tlv(0xa0, &[certificates]);
        let parts = [&[2, 1, 1][..], &[0x31, 0], &encapsulated, &certificates, &tlv(0x31, &[signers])];
        tlv(0x30, &[&oid(SIGNED_DATA), &tlv(0xa0, &[&tlv(0x30, &parts)])])
    }

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).err().expect("refused")
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let certificate = tlv(0x30, &[]);
        assert!(read(&signed(&certificate.repeat(MOST_CERTIFICATES), &[])).is_ok());
        assert!(refusal(&signed(&certificate.repeat(MOST_CERTIFICATES + 1), &[])).contains("certificates"));
        assert!(
            refusal(&signed(&tlv(0x30, &[&[0; LARGEST_CERTIFICATE]]), &[])).contains("certificate of more")
        );
        let algorithm = tlv(0x30, &[&oid(SIGNED_DATA)]);
        let signer = tlv(0x30, &[&[2, 1, 3], &[0x80, 1, 7], &algorithm, &algorithm, &[4, 1, 0]]);
        assert!(read(&signed(&[], &signer.repeat(MOST_SIGNERS))).is_ok());
        assert!(refusal(&signed(&[], &signer.repeat(MOST_SIGNERS + 1))).contains("signers"));
    }

    #[test]
    fn what_is_something_else_is_refused() {
        assert!(refusal(&[5, 0]).contains("no CMS"));
        assert!(refusal(&tlv(0x30, &[])).contains("broken"));
        assert!(refusal(&tlv(0x30, &[&oid(SIGNED_DATA)])).contains("without content"));
        let data = tlv(0x30, &[&oid(MESSAGE_DIGEST), &tlv(0xa0, &[&tlv(0x30, &[])])]);
        assert!(refusal(&data).contains("not signed data"));
        assert!(refusal(&signed(&[], &tlv(0x30, &[]))).contains("broken"));
        let mut unexpected = signed(&[], &[]);
        let last = unexpected.len() - 5;
        assert_eq!(unexpected[last], 0x31);
        unexpected[last] = 0x30;
        assert!(refusal(&unexpected).contains("unexpected"));
    }
}
