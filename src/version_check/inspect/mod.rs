//! Image inspection: what the bytes of an image say of themselves, and whether they are whole.
//!
//! Pure code on a stream. [`Inspection`] is fed the bytes as they pass, keeps the first [`HEAD`] of them, asks each
//! registered format (`FORMATS`) whether it knows them, and hands everything to the first that does. At the end it
//! gives a [`Report`]: [`Facts`], and [`Fault`]s where the image contradicts itself. The rules that compare facts with
//! what a publisher declares and a product expects are not here: see the parent module.
//!
//! A DFU suffix (`dfu.rs`) may stand behind any format: the last bytes are held back until the end, and if they are
//! one, it is taken off, checked and stated, and the format inside never sees it.
//!
//! # Invariants that every format keeps
//! - Time is linear in the bytes, memory is bounded by a constant whatever the size: what has to be kept (headers,
//!   manifests, tables) has a limit of its own, and going over it is a [`Fault`], never an allocation. Lengths that the
//!   image states are compared with what may be kept before anything is reserved for them.
//! - No input panics: offsets are computed with checked arithmetic, slices are taken with `get`.
//! - A digest, checksum or CRC that the format carries is computed again and compared; a wrong one is a [`Fault`].
//! - How the stream is cut into pieces changes nothing.
//! - Facts are stated as the image states them, also when there are faults: all that is wrong is told at once.
//!
//! # What it does not do
//! Trust: a signature is stated with what it signs ([`Signature`]); whether its key is one that the product lists is
//! a rule. Decompress payloads that a device unpacks. Judge the payload inside a container by its own format.
//!
//! To add a format: one file here, one line in `FORMATS`.

mod cms;
mod compressed;
mod dfu;
mod ecdsa;
mod elf;
mod esp;
mod facts;
mod fit;
mod fwupd;
mod inflate;
mod intel_hex;
mod mcuboot;
mod mender;
mod nordic_dfu;
mod ranges;
mod rauc;
mod raw;
mod records;
#[cfg(test)]
mod sample;
mod srecord;
mod swupdate;
#[cfg(test)]
mod trial;
mod uf2;
mod uimage;
#[cfg(test)]
mod verified;
mod zigbee;

pub use facts::{Algorithm, Covers, Facts, Fault, FaultKind, NameKind, Payload, Report, Signature, Signed};

/// How many of the first bytes decide which format it is (fewer if the image is shorter). A tar header, the largest
/// of the things to recognise, fits twice.
pub const HEAD: usize = 1024;

/// Reads one image of one format. See the module's head for what it must keep.
pub trait Inspector: Send {
    /// Takes the next bytes, in order, from the very first one of the image.
    fn update(&mut self, bytes: &[u8]);

    /// What is known before the end, as soon as the parts that state it have passed; `None` = nothing yet, or the
    /// format states itself at its end. Lets a contradiction be told before the rest is sent.
    fn so_far(&self) -> Option<&Facts> {
        None
    }

    /// The image is at its end.
    fn finish(self: Box<Self>) -> Report;
}

/// Knows a format by its first bytes ([`HEAD`] of them, fewer only if the image is shorter): the inspector for it, or
/// `None` if it is another format. Two formats must not claim the same bytes; where they could, the more specific one
/// comes first in [`FORMATS`].
type Probe = fn(head: &[u8]) -> Option<Box<dyn Inspector>>;

/// The formats, in the order in which they are asked.
const FORMATS: &[Probe] = &[
    #[cfg(test)]
    sample::probe,
    mcuboot::probe,
    esp::probe,
    uf2::probe,
    fit::probe,
    uimage::probe,
    rauc::probe,
    swupdate::probe,
    mender::probe,
    nordic_dfu::probe,
    zigbee::probe,
    fwupd::probe,
    intel_hex::probe,
    srecord::probe,
    elf::probe,
    compressed::probe,
    rauc::encrypted_probe,
    raw::probe,
];

/// An image on its way through.
pub struct Inspection {
    suffix: dfu::Suffix,
    stage: Stage,
}

enum Stage {
    /// The first bytes, while they do not decide the format.
    Head(Vec<u8>),
    /// The format is known.
    Known(Box<dyn Inspector>),
}

impl Default for Inspection {
    fn default() -> Self {
        Self { suffix: dfu::Suffix::default(), stage: Stage::Head(Vec::new()) }
    }
}

impl Inspection {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let Self { suffix, stage } = self;
        suffix.update(bytes, &mut |bytes| stage.update(bytes));
    }

    /// What is known before the end, see [`Inspector::so_far`].
    pub fn so_far(&self) -> Option<&Facts> {
        match &self.stage {
            Stage::Head(_) => None,
            Stage::Known(inspector) => inspector.so_far(),
        }
    }

    /// What the image says of itself, and what is wrong with it.
    pub fn finish(self) -> Report {
        let Self { suffix, mut stage } = self;
        let suffix = suffix.finish(&mut |bytes| stage.update(bytes));
        let mut report = match stage {
            Stage::Known(inspector) => inspector.finish(),
            Stage::Head(head) => {
                let mut inspector = recognise(&head);
                inspector.update(&head);
                inspector.finish()
            }
        };
        if let Some(suffix) = suffix {
            suffix.state(&mut report);
        }
        report
    }
}

impl Stage {
    fn update(&mut self, mut bytes: &[u8]) {
        if let Self::Head(head) = self {
            let taken = bytes.len().min(HEAD - head.len());
            head.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if head.len() < HEAD {
                return;
            }
            let mut inspector = recognise(head);
            inspector.update(head);
            *self = Self::Known(inspector);
        }
        if let Self::Known(inspector) = self
            && !bytes.is_empty()
        {
            inspector.update(bytes);
        }
    }
}

fn recognise(head: &[u8]) -> Box<dyn Inspector> {
    FORMATS.iter().find_map(|probe| probe(head)).unwrap_or_else(raw::inspector)
}
