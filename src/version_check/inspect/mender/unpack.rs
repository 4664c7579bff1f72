//! Decompression on a stream: gzip (RFC 1952, with several members), xz (The .xz File Format 1.2.1, with
//! several streams), zstd (RFC 8878, with several frames), pushed as the bytes come.
//!
//! Crates: flate2 on miniz_oxide, xz4rust, ruzstd; pure Rust all three. lzma-rs reads `.lzma` only on a
//! stream.
//!
//! Limits: [`WINDOW`] for what xz and zstd look back, [`Budget`] for what may come out. xz filters other than
//! LZMA2 and zstd dictionaries are not read: nothing that writes artifacts uses them.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};
use xz4rust::{XzDecoder, XzError, XzNextBlockResult};

/// The furthest that xz and zstd may look back: what `xz -9` needs, which mender-artifact uses; no level of
/// zstd short of `--ultra` and `--long` needs more. Touched only as far as the data reaches.
const WINDOW: usize = 64 * 1024 * 1024;
/// What goes into a decoder at once, always, whatever came at once: how much a decoder gives before it finds
/// an error depends on it. Of gzip, each byte becomes at most 1032, so what comes out stays below 1 MiB.
const PIECE: usize = 1000;
/// What comes out of xz's decoder at once.
const XZ_PIECE: usize = 64 * 1024;
/// The most bytes of a block and its header in zstd.
const ZSTD_BLOCK: usize = 128 * 1024 + 3;
/// No frame header of zstd is longer.
const ZSTD_HEADER: usize = 18;

/// How the name of a file says that it is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    /// By what follows `.tar` in the name.
    pub fn of(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "" => Self::None,
            ".gz" => Self::Gzip,
            ".xz" => Self::Xz,
            ".zst" => Self::Zstd,
            _ => return None,
        })
    }

    /// As a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }
}

/// How much may come out: a decompression bomb is a file that is small on the wire and endless inside, and
/// hashing it would take the time of its inside. The floor lets a nearly empty file system through; beyond
/// it, real ones shrink far less.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    left: u64,
}

impl Budget {
    /// What may come out of next to nothing.
    const FLOOR: u64 = 256 * 1024 * 1024;
    /// How many bytes each byte that goes in may become beyond that.
    const RATIO: u64 = 200;

    fn taken_in(&mut self, bytes: usize) {
        self.left = self.left.saturating_add((bytes as u64).saturating_mul(Self::RATIO));
    }

    fn given_out(&mut self, bytes: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(bytes as u64).ok_or_else(|| {
            format!(
                "it becomes more than {} times as large as it is when it is unpacked, which is taken for a \
                 decompression bomb",
                Self::RATIO
            )
        })?;
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: Self::FLOOR }
    }
}

/// Unpacks what is pushed into it.
pub(super) struct Unpacker {
    decoder: Decoder,
    /// The beginning of the next piece.
    piece: Vec<u8>,
}

enum Decoder {
    None,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Xz(Xz),
    Zstd(Box<Zstd>),
}

impl Unpacker {
    pub fn new(compression: Compression) -> Self {
        let decoder = match compression {
            Compression::None => Decoder::None,
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Compression::Xz => Decoder::Xz(Xz::default()),
            Compression::Zstd => Decoder::Zstd(Box::default()),
        };
        Self { decoder, piece: Vec::new() }
    }

    /// Takes the next bytes and gives what they become.
    ///
    /// # Errors
    /// What is wrong with them, as the end of a sentence; nothing more may be pushed then.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        budget: &mut Budget,
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<(), String> {
        if let Decoder::None = self.decoder {
            out(bytes);
            return Ok(());
        }
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(taken);
            bytes = rest;
            if self.piece.len() == PIECE {
                self.decoder.push(&self.piece, budget, out)?;
                self.piece.clear();
            }
        }
        Ok(())
    }

    /// All bytes have come; gives what is left.
    ///
    /// # Errors
    /// What is missing, as the end of a sentence.
    pub fn finish(mut self, budget: &mut Budget, out: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        self.decoder.push(&self.piece, budget, out)?;
        match self.decoder {
            Decoder::None => Ok(()),
            Decoder::Gzip(mut gzip) => {
                let finished = gzip.try_finish();
                give(&mut gzip, budget, out)?;
                finished.map_err(|_| "its gzip ends early or does not have the CRC that it states".to_owned())
            }
            Decoder::Xz(xz) => xz.finish(),
            Decoder::Zstd(mut zstd) => {
                zstd.step_all(true, budget, out)?;
                zstd.finish()
            }
        }
    }
}

impl Decoder {
    fn push(&mut self, piece: &[u8], budget: &mut Budget, out: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        budget.taken_in(piece.len());
        match self {
            Self::None => Ok(()),
            Self::Gzip(gzip) => {
                let written = gzip.write_all(piece);
                give(gzip, budget, out)?;
                written.map_err(|error| format!("it is no right gzip: {error}"))
            }
            Self::Xz(xz) => xz.push(piece, budget, out),
            Self::Zstd(zstd) => zstd.push(piece, budget, out),
        }
    }
}

fn give(
    gzip: &mut MultiGzDecoder<Vec<u8>>,
    budget: &mut Budget,
    out: &mut dyn FnMut(&[u8]),
) -> Result<(), String> {
    let unpacked = gzip.get_mut();
    budget.given_out(unpacked.len())?;
    out(unpacked);
    unpacked.clear();
    Ok(())
}

struct Xz {
    decoder: Box<XzDecoder<'static>>,
    /// What the decoder could not take without what follows.
    waiting: Vec<u8>,
    output: Vec<u8>,
    place: Place,
}

/// Where in a file of several streams.
#[derive(PartialEq, Eq)]
enum Place {
    /// Nothing of the first stream has come.
    Start,
    Inside,
    /// Behind a stream: another one or padding may follow.
    Between,
}

impl Default for Xz {
    fn default() -> Self {
        Self {
            // All of it at once: it is zeroed memory, which costs nothing until it is touched.
            decoder: XzDecoder::in_heap_with_alloc_dict_size(WINDOW, WINDOW),
            waiting: Vec::new(),
            output: vec![0; XZ_PIECE],
            place: Place::Start,
        }
    }
}

impl Xz {
    fn push(&mut self, bytes: &[u8], budget: &mut Budget, out: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        self.waiting.extend_from_slice(bytes);
        let mut input = self.waiting.as_slice();
        loop {
            if self.place == Place::Between {
                let zeros = input.iter().position(|byte| *byte != 0).unwrap_or(input.len());
                input = &input[zeros..];
            }
            if input.is_empty() {
                break;
            }
            let (taken, given) = match self.decoder.decode(input, &mut self.output) {
                Ok(XzNextBlockResult::NeedMoreData(taken, given)) => {
                    self.place = Place::Inside;
                    (taken, given)
                }
                Ok(XzNextBlockResult::EndOfStream(taken, given)) => {
                    self.decoder.reset();
                    self.place = Place::Between;
                    (taken, given)
                }
                Err(XzError::NeedsLargerInputBuffer) => (0, 0),
                Err(error) => return Err(format!("it is no right xz: {error}")),
            };
            budget.given_out(given)?;
            out(self.output.get(..given).unwrap_or_default());
            input = input.get(taken..).unwrap_or_default();
            if taken == 0 && given == 0 {
                break;
            }
        }
        // The longest thing that xz has to see as a whole is a block header of 1 KiB.
        if input.len() > 64 * 1024 {
            return Err("it is no right xz: it makes no progress".to_owned());
        }
        let taken = self.waiting.len() - input.len();
        self.waiting.drain(..taken);
        Ok(())
    }

    fn finish(self) -> Result<(), String> {
        match self.place {
            Place::Between if self.waiting.is_empty() => Ok(()),
            _ => Err("its xz ends early".to_owned()),
        }
    }
}

struct Zstd {
    decoder: FrameDecoder,
    waiting: Vec<u8>,
    place: Place,
    /// Whether the frame states a checksum behind its last block.
    checksum: bool,
    /// How much of a skippable frame is still to come.
    skip: u64,
    output: Vec<u8>,
}

impl Default for Zstd {
    fn default() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW as u64);
        Self {
            decoder,
            waiting: Vec::new(),
            place: Place::Start,
            checksum: false,
            skip: 0,
            output: vec![0; ZSTD_BLOCK],
        }
    }
}

impl Zstd {
    fn push(&mut self, bytes: &[u8], budget: &mut Budget, out: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        self.waiting.extend_from_slice(bytes);
        self.step_all(false, budget, out)
    }

    /// Decodes what is there as a whole; at the end, also what may be shorter than the longest that it could
    /// be.
    fn step_all(&mut self, end: bool, budget: &mut Budget, out: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut input = waiting.as_slice();
        loop {
            let taken = if self.skip > 0 {
                let taken = usize::try_from(self.skip).unwrap_or(usize::MAX).min(input.len());
                self.skip -= taken as u64;
                taken
            } else if self.place == Place::Inside {
                self.block(input, budget, out)?
            } else if input.len() >= ZSTD_HEADER || (end && !input.is_empty()) {
                self.header(input)?
            } else {
                0
            };
            if taken == 0 {
                break;
            }
            input = input.get(taken..).unwrap_or_default();
        }
        let taken = waiting.len() - input.len();
        waiting.drain(..taken);
        self.waiting = waiting;
        Ok(())
    }

    fn header(&mut self, input: &[u8]) -> Result<usize, String> {
        let mut rest = input;
        match self.decoder.reset(&mut rest) {
            Ok(()) => {
                self.place = Place::Inside;
                // RFC 8878, 3.1.1.1.1: the byte behind the magic describes the frame.
                self.checksum = input.get(4).is_some_and(|descriptor| descriptor & 0x04 != 0);
                Ok(input.len() - rest.len())
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                self.skip = u64::from(length);
                self.place = Place::Between;
                Ok(8.min(input.len()))
            }
            Err(error) => Err(format!("it is no right zstd: {error}")),
        }
    }

    fn block(
        &mut self,
        input: &[u8],
        budget: &mut Budget,
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, String> {
        let Some(&[first, second, third]) = input.get(..3) else {
            return Ok(0);
        };
        // RFC 8878, 3.1.1.2: one bit for the last block, two for the type, the rest for the size.
        let header = u32::from_le_bytes([first, second, third, 0]);
        let (last, kind, size) = (header & 1 == 1, header >> 1 & 3, (header >> 3) as usize);
        let size = if kind == 1 { 1 } else { size };
        if size + 3 > ZSTD_BLOCK {
            return Err("it is no right zstd: a block is too large".to_owned());
        }
        let checksum = if last && self.checksum { 4 } else { 0 };
        if input.len() < 3 + size + checksum {
            return Ok(0);
        }
        let mut rest = input;
        if let Err(error) = self.decoder.decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1)) {
            return Err(format!("it is no right zstd: {error}"));
        }
        loop {
            let given =
                io::Read::read(&mut self.decoder, &mut self.output).map_err(|error| error.to_string())?;
            if given == 0 {
                break;
            }
            budget.given_out(given)?;
            out(self.output.get(..given).unwrap_or_default());
        }
        if self.decoder.is_finished() {
            self.place = Place::Between;
        }
        Ok(input.len() - rest.len())
    }

    fn finish(self) -> Result<(), String> {
        match self.place {
            Place::Between if self.waiting.is_empty() && self.skip == 0 => Ok(()),
            _ => Err("its zstd ends early".to_owned()),
        }
    }
}
