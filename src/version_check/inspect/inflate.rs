//! Raw DEFLATE (RFC 1951) on a stream, with a bound on what it may unpack to. By `miniz_oxide`.

use miniz_oxide::inflate::stream::{InflateState, MinReset, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

/// The most that is unpacked of one image: a few seconds of work. DEFLATE packs up to 1032 times, so 4 MB can
/// reach it. A fixed number, and not a ratio, so that it does not matter how the stream is cut.
pub(super) const MOST_UNPACKED: u64 = 4 << 30;

/// 32 kB of window, 32 kB of output, and the tables: about 80 kB.
pub(super) struct Inflate {
    state: Box<InflateState>,
    output: Box<[u8]>,
    unpacked: u64,
    most: u64,
}

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All bytes were taken, the stream goes on.
    More,
    /// The stream is at its end.
    End,
    /// This is no DEFLATE stream.
    Bad,
    /// It unpacks to more than is looked at.
    TooMuch,
}

impl Inflate {
    /// Unpacks up to so many bytes, in all streams together.
    pub fn new(most: u64) -> Self {
        let state = InflateState::new_boxed(DataFormat::Raw);
        Self { state, output: vec![0; 32 << 10].into(), unpacked: 0, most }
    }

    /// Begins another stream.
    pub fn restart(&mut self) {
        self.state.reset_as(MinReset);
    }

    /// Takes bytes and gives how many of them belong to the stream.
    pub fn update(&mut self, mut bytes: &[u8], unpacked: &mut dyn FnMut(&[u8])) -> (usize, Step) {
        let mut taken = 0;
        loop {
            let result = inflate(&mut self.state, bytes, &mut self.output, MZFlush::None);
            taken += result.bytes_consumed;
            bytes = &bytes[result.bytes_consumed..];
            self.unpacked += result.bytes_written as u64;
            unpacked(&self.output[..result.bytes_written]);
            if self.unpacked > self.most {
                return (taken, Step::TooMuch);
            }
            let idle = result.bytes_consumed == 0 && result.bytes_written == 0;
            match result.status {
                Ok(MZStatus::StreamEnd) => return (taken, Step::End),
                Ok(MZStatus::Ok) if !idle => {}
                Ok(MZStatus::Ok) | Err(MZError::Buf) if bytes.is_empty() => return (taken, Step::More),
                _ => return (taken, Step::Bad),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(bytes: &[u8], piece: usize) -> (Vec<u8>, usize, Step) {
        let (mut inflate, mut all, mut taken, mut step) =
            (Inflate::new(MOST_UNPACKED), Vec::new(), 0, Step::More);
        for bytes in bytes.chunks(piece) {
            let (more, next) = inflate.update(bytes, &mut |bytes| all.extend_from_slice(bytes));
            (taken, step) = (taken + more, next);
            if step != Step::More {
                break;
            }
        }
        (all, taken, step)
    }

    #[test]
    fn it_ends_where_the_stream_ends_however_it_is_cut() {
        let plain: Vec<u8> = (0..100_000u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        let packed = miniz_oxide::deflate::compress_to_vec(&plain, 6);
        let length = packed.len();
        let with_more = [&packed[..], b"more"].concat();
        for piece in [1, 7, 4096, usize::MAX] {
            assert_eq!(unpack(&with_more, piece), (plain.clone(), length, Step::End), "{piece}");
            assert_eq!(unpack(&packed[..length - 1], piece).2, Step::More, "{piece}");
        }
        assert_eq!(unpack(&[0xff; 10], 1).2, Step::Bad);
    }

    #[test]
    fn a_bomb_is_given_up() {
        let packed = miniz_oxide::deflate::compress_to_vec(&vec![0; 20 << 20], 6);
        let mut inflate = Inflate::new(10 << 20);
        let mut unpacked = 0;
        let (_, step) = inflate.update(&packed, &mut |bytes| unpacked += bytes.len());
        assert_eq!(step, Step::TooMuch);
        assert!(unpacked < 11 << 20);
    }
}
