//! The init packet: what a bootloader of Nordic's judges before it takes a firmware.
//!
//! Two flavours. Legacy (nRF5 SDK up to 11, Adafruit's bootloaders): little-endian device type, device
//! revision, application version, list of SoftDevices, then by its length CRC16, or an extension id with
//! CRC16, with size and SHA-256, or with those and a signature over all before it (`init_packet.py` of
//! adafruit-nrfutil). Secure (SDK 12 and later): a protobuf `Packet` (`dfu-cc.proto` of pc-nrfutil), whose
//! signature is over the `InitCommand` as it stands.
//!
//! Numbers that are all ones mean "any" and are not stated. Hash and signature of the secure flavour are
//! stored with their bytes reversed.

use crate::version_check::inspect::{Algorithm, Signature, Signed, ecdsa::to_der};

/// What an init packet says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InitPacket {
    pub secure: bool,
    /// Only in the secure flavour.
    pub kind: Option<Kind>,
    pub version: Option<u32>,
    /// Hardware version; in the legacy flavour the device type.
    pub hardware: Option<u32>,
    pub revision: Option<u16>,
    /// Firmware ids of SoftDevices, one of which the device must have.
    pub softdevices: Vec<u32>,
    /// Of SoftDevice, bootloader and application together.
    pub size: Option<u64>,
    pub crc16: Option<u16>,
    pub sha256: Option<[u8; 32]>,
    /// A digest of a kind that bootloaders do not use.
    pub other_digest: Option<String>,
    pub debug: bool,
    pub boot_validation: Vec<u64>,
    pub signature: Option<Signature>,
}

/// What a firmware is, by the secure flavour's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Application,
    SoftDevice,
    Bootloader,
    SoftDeviceBootloader,
    ExternalApplication,
}

const ANY_16: u16 = u16::MAX;
const ANY_32: u32 = u32::MAX;
/// The most SoftDevices that are kept; there are some fifty in all.
const MOST_SOFTDEVICES: usize = 64;
/// SoftDevices, validations: what nrfutil allows is less.
const MOST_VALIDATIONS: usize = 8;

/// Reads the legacy flavour.
pub(super) fn legacy(bytes: &[u8]) -> Result<InitPacket, String> {
    let short = || format!("it has {} bytes, which is too short", bytes.len());
    let (head, rest) = bytes.split_at_checked(10).ok_or_else(short)?;
    let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let version = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let count = usize::from(u16_at(8));
    let (list, rest) = rest.split_at_checked(count * 2).ok_or_else(short)?;
    if count > MOST_SOFTDEVICES {
        return Err(format!("it lists {count} SoftDevices"));
    }
    let mut packet = InitPacket {
        hardware: Some(u16_at(0)).filter(|kind| *kind != ANY_16).map(u32::from),
        revision: Some(u16_at(2)).filter(|revision| *revision != ANY_16),
        version: Some(version).filter(|version| *version != ANY_32),
        softdevices: list.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]).into()).collect(),
        ..InitPacket::default()
    };
    match *rest {
        [low, high] | [0, 0, 0, 0, low, high] => packet.crc16 = Some(u16::from_le_bytes([low, high])),
        [id @ (1 | 2), 0, 0, 0, a, b, c, d, ref rest @ ..] if rest.len() == if id == 1 { 32 } else { 96 } => {
            packet.size = Some(u32::from_le_bytes([a, b, c, d]).into());
            packet.sha256 = rest[..32].try_into().ok();
            if id == 2 {
                let signed = Signed::Message(bytes[..bytes.len() - 64].to_vec());
                let signature = to_der(&rest[32..64], &rest[64..]);
                packet.signature = Some(Signature::new(Algorithm::EcdsaP256Sha256, signed, signature));
            }
        }
        _ => return Err(format!("its last {} bytes are neither CRC16 nor hash nor signature", rest.len())),
    }
    Ok(packet)
}

/// Reads the secure flavour.
pub(super) fn secure(bytes: &[u8]) -> Result<InitPacket, String> {
    let (mut command, mut signed) = (None, None);
    each_field(bytes, &mut |number, value| match number {
        1 => once(&mut command, value.bytes()?),
        2 => once(&mut signed, value.bytes()?),
        _ => Ok(()),
    })?;
    let (command, signature) = match (command, signed) {
        (Some(command), None) => (command, None),
        (None, Some(signed)) => {
            let (mut command, mut algorithm, mut signature) = (None, None, None);
            each_field(signed, &mut |number, value| match number {
                1 => once(&mut command, value.bytes()?),
                2 => once(&mut algorithm, value.number()?),
                3 => once(&mut signature, value.bytes()?),
                _ => Ok(()),
            })?;
            let (Some(command), Some(algorithm), Some(signature)) = (command, algorithm, signature) else {
                return Err("its signed command lacks the command, the signature or its type".into());
            };
            (command, Some((algorithm, signature)))
        }
        (None, None) => return Err("it has no command".into()),
        (Some(_), Some(_)) => return Err("it has both a signed and an unsigned command".into()),
    };
    let (mut operation, mut init) = (None, None);
    each_field(command, &mut |number, value| match number {
        1 => once(&mut operation, value.number()?),
        2 => once(&mut init, value.bytes()?),
        _ => Ok(()),
    })?;
    let Some(init) = init.filter(|_| operation == Some(1)) else {
        return Err("its command is not the one that begins an update (INIT)".into());
    };
    let mut packet = init_command(init)?;
    packet.signature = signature.map(|signature| signature_of(init, signature)).transpose()?;
    Ok(packet)
}

fn signature_of(init: &[u8], (algorithm, bytes): (u64, &[u8])) -> Result<Signature, String> {
    if bytes.len() != 64 {
        return Err(format!("its signature has {} bytes instead of 64", bytes.len()));
    }
    let (algorithm, bytes) = match algorithm {
        0 => {
            let reversed = |half: &[u8]| half.iter().rev().copied().collect::<Vec<u8>>();
            (Algorithm::EcdsaP256Sha256, to_der(&reversed(&bytes[..32]), &reversed(&bytes[32..])))
        }
        1 => (Algorithm::Ed25519, bytes.to_vec()),
        other => return Err(format!("its signature is of the unknown type {other}")),
    };
    Ok(Signature::new(algorithm, Signed::Message(init.to_vec()), bytes))
}

fn init_command(bytes: &[u8]) -> Result<InitPacket, String> {
    let mut packet = InitPacket { secure: true, ..InitPacket::default() };
    let mut sizes = [0u32; 3];
    let (mut kind, mut hash) = (0, None);
    each_field(bytes, &mut |number, value| {
        match number {
            1 => packet.version = Some(value.number_32()?).filter(|version| *version != ANY_32),
            2 => packet.hardware = Some(value.number_32()?).filter(|hardware| *hardware != ANY_32),
            3 => softdevices(value, &mut packet.softdevices)?,
            4 => kind = value.number()?,
            5..=7 => sizes[number as usize - 5] = value.number_32()?,
            8 => once(&mut hash, value.bytes()?)?,
            9 => packet.debug = value.number()? != 0,
            10 if packet.boot_validation.len() < MOST_VALIDATIONS => {
                let mut kind = 0;
                each_field(value.bytes()?, &mut |number, value| {
                    if number == 1 {
                        kind = value.number()?;
                    }
                    Ok(())
                })?;
                packet.boot_validation.push(kind);
            }
            10 => return Err("it lists too many kinds of boot validation".into()),
            _ => {}
        }
        Ok(())
    })?;
    packet.kind = Some(match kind {
        0 => Kind::Application,
        1 => Kind::SoftDevice,
        2 => Kind::Bootloader,
        3 => Kind::SoftDeviceBootloader,
        4 => Kind::ExternalApplication,
        other => return Err(format!("its firmware is of the unknown type {other}")),
    });
    packet.size = Some(sizes.iter().map(|size| u64::from(*size)).sum());
    let wanted = match packet.kind {
        Some(Kind::SoftDevice) => [true, false, false],
        Some(Kind::Bootloader) => [false, true, false],
        Some(Kind::SoftDeviceBootloader) => [true, true, false],
        _ => [false, false, true],
    };
    if sizes.map(|size| size > 0) != wanted {
        return Err(format!(
            "it says that SoftDevice, bootloader and application have {}, {} and {} bytes, which does not \
             fit its type {kind}",
            sizes[0], sizes[1], sizes[2]
        ));
    }
    if let Some(hash) = hash {
        let (mut algorithm, mut digest) = (0, &[][..]);
        each_field(hash, &mut |number, value| {
            match number {
                1 => algorithm = value.number()?,
                2 => digest = value.bytes()?,
                _ => {}
            }
            Ok(())
        })?;
        match (algorithm, <[u8; 32]>::try_from(digest)) {
            (3, Ok(mut digest)) => {
                digest.reverse();
                packet.sha256 = Some(digest);
            }
            (3, Err(_)) => return Err(format!("its SHA-256 has {} bytes", digest.len())),
            (0, _) => {}
            _ => packet.other_digest = Some(format!("type {algorithm}, {}", hex::encode(digest))),
        }
    }
    Ok(packet)
}

fn softdevices(value: Value<'_>, list: &mut Vec<u32>) -> Result<(), String> {
    let mut add = |number: u64| {
        if list.len() == MOST_SOFTDEVICES {
            return Err(format!("it lists more than {MOST_SOFTDEVICES} SoftDevices"));
        }
        list.push(u32::try_from(number).map_err(|_| "a SoftDevice's id has more than 32 bits")?);
        Ok(())
    };
    match value {
        Value::Number(number) => add(number),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                add(varint(&mut packed)?)?;
            }
            Ok(())
        }
        Value::Fixed => Err(WRONG_TYPE.into()),
    }
}

/// A protobuf field's value; those of fixed width do not occur here and are passed over.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

const WRONG_TYPE: &str = "a field of it has another type than the format says";

impl<'a> Value<'a> {
    fn number(self) -> Result<u64, String> {
        if let Value::Number(number) = self { Ok(number) } else { Err(WRONG_TYPE.into()) }
    }

    fn number_32(self) -> Result<u32, String> {
        u32::try_from(self.number()?).map_err(|_| "a number of it has more than 32 bits".into())
    }

    fn bytes(self) -> Result<&'a [u8], String> {
        if let Value::Bytes(bytes) = self { Ok(bytes) } else { Err(WRONG_TYPE.into()) }
    }
}

/// Protobuf would join what comes twice, bootloaders do not: such a packet means two things.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("a part of it comes twice".into()),
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("it ends in the middle of a number")?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number of it does not end".into())
}

fn each_field<'a>(
    mut bytes: &'a [u8],
    take: &mut dyn FnMut(u64, Value<'a>) -> Result<(), String>,
) -> Result<(), String> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            kind @ (1 | 2 | 5) => {
                let length = match kind {
                    1 => 8,
                    5 => 4,
                    _ => varint(&mut bytes)?,
                };
                let length = usize::try_from(length).ok();
                let (field, rest) = length
                    .and_then(|length| bytes.split_at_checked(length))
                    .ok_or("a field of it is longer than what is there")?;
                bytes = rest;
                if kind == 2 { Value::Bytes(field) } else { Value::Fixed }
            }
            other => return Err(format!("a field of it has the unknown type {other}")),
        };
        take(key >> 3, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_legacy_extension_is_read() {
        let head = [0x52, 0, 1, 0, 0, 3, 1, 0, 1, 0, 0xfe, 0xff];
        let packet = |rest: &[u8]| legacy(&[&head, rest].concat());
        let read = packet(&[0xa1, 0x2e]).expect("DFU version 0.5");
        assert_eq!((read.hardware, read.revision, read.version), (Some(0x52), Some(1), Some(66304)));
        assert_eq!((read.softdevices, read.crc16), (vec![0xfffe], Some(0x2ea1)));
        assert_eq!(packet(&[0, 0, 0, 0, 0xa1, 0x2e]).expect("0.6").crc16, Some(0x2ea1));
        let hashed = [&[1, 0, 0, 0, 4, 0, 0, 0][..], &[7; 32]].concat();
        let read = packet(&hashed).expect("0.7");
        assert_eq!((read.size, read.sha256, read.signature), (Some(4), Some([7; 32]), None));
        let signed = [&[2, 0, 0, 0, 4, 0, 0, 0][..], &[7; 32], &[0x80; 32], &[0; 31], &[5]].concat();
        let signature = packet(&signed).expect("0.8").signature.expect("signed");
        assert_eq!(signature.signed, Signed::Message([&head[..], &signed[..40]].concat()));
        assert_eq!(signature.bytes, [&[0x30, 38, 2, 33, 0][..], &[0x80; 32], &[2, 1, 5]].concat());
        for bad in [&[][..], &[1], &[1, 2, 3], &hashed[..39], &signed[..103], &[3, 0, 0, 0, 0, 0]] {
            assert!(packet(bad).is_err(), "{bad:?}");
        }
        assert!(legacy(&[0xff; 10]).is_err(), "65535 SoftDevices");
        assert_eq!(legacy(&[&[0xff; 8][..], &[0, 0, 1, 2]].concat()).expect("any").version, None);
    }

    #[test]
    fn hostile_protobuf_is_refused() {
        for bad in [
            &[][..],
            &[0x0a],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0xff; 20],
            &[0x0a, 0],
            &[0x0a, 0, 0x0a, 0],
            &[0x0b],
            &[0x12, 0],
            &[0x08, 1],
        ] {
            assert!(secure(bad).is_err(), "{bad:?}");
        }
        let many = [&[0x1a, 100][..], &[1; 100]].concat();
        assert!(init_command(&many).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            nested in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            drop((legacy(&bytes), secure(&bytes), init_command(&bytes)));
            let command = [&[0x08, 1, 0x12, nested.len() as u8][..], &nested].concat();
            drop(secure(&[&[0x0a, command.len() as u8][..], &command].concat()));
        }
    }
}
