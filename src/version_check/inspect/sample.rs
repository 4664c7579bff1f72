//! A format that only tests know: lines of `key=value` behind the word `sample`, an empty line, and then anything.
//! What matters of a real one is here: facts before the end, a size that can be wrong, a name, a counter.

use super::{Facts, FaultKind, Inspector, NameKind, Report};

struct Sample {
    head: Vec<u8>,
    known: bool,
    length: u64,
    stated: Option<u64>,
    report: Report,
}

/// Knows it by its first word.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    head.starts_with(b"sample\n").then(|| {
        let report = Report { facts: Facts::of("sample"), ..Report::default() };
        Box::new(Sample { head: Vec::new(), known: false, length: 0, stated: None, report })
            as Box<dyn Inspector>
    })
}

impl Sample {
    fn line(&mut self, line: &str) {
        let facts = &mut self.report.facts;
        match line.split_once('=') {
            Some(("version", text)) => facts.set_version(text),
            Some(("product", name)) => facts.name(NameKind::Product, name),
            Some(("board", name)) => facts.name(NameKind::Compatible, name),
            Some(("counter", number)) => facts.security_counter = number.parse().ok(),
            Some(("size", number)) => self.stated = number.parse().ok(),
            Some(("takes", number)) => facts.installed_size = number.parse().ok(),
            _ => {}
        }
    }
}

impl Inspector for Sample {
    fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.known {
            return;
        }
        self.head.extend_from_slice(bytes);
        if let Some(end) = self.head.windows(2).position(|pair| pair == b"\n\n") {
            self.known = true;
            let text = String::from_utf8_lossy(&self.head[..end]).into_owned();
            text.lines().for_each(|line| self.line(line));
        }
    }

    fn so_far(&self) -> Option<&Facts> {
        self.known.then_some(&self.report.facts)
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { mut report, length, stated, .. } = *self;
        match stated {
            Some(stated) if stated > length => {
                report
                    .fault(FaultKind::Truncated, format!("the image has {length} bytes and states {stated}"));
            }
            Some(stated) if stated < length => {
                report.fault(FaultKind::Padded, format!("the image has {length} bytes and states {stated}"));
            }
            _ => {}
        }
        report
    }
}
