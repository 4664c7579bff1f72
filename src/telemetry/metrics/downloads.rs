//! Downloads as the CDN's logs tell, since this process started to count. The catalogue has the sums by day.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    product: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FromLabel {
    product: String,
    from: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// Downloads as the CDN's logs tell.
#[derive(Debug, Default)]
pub struct CdnDownloads {
    responses: Family<OutcomeLabel, Counter>,
    bytes: Family<FromLabel, Counter>,
    lines: Family<KindLabel, Counter>,
}

impl CdnDownloads {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "cdn_downloads",
            "Responses that delivered an image's last byte (completed) or not (partial), by the CDN's logs; not for billing",
            self.responses.clone(),
        );
        registry.register(
            "cdn_download_bytes",
            "Bytes of images that the CDN delivered, from its cache (edge) or not (origin), by its logs; not for billing",
            self.bytes.clone(),
        );
        registry.register("cdn_log_lines", "Lines of the CDN's logs by what they were", self.lines.clone());
    }

    /// Counts what was delivered of a product: responses, completed and partial; bytes, from the edge and from the origin.
    pub fn delivered(&self, product: &str, responses: [u64; 2], bytes: [u64; 2]) {
        for (outcome, number) in ["completed", "partial"].into_iter().zip(responses) {
            let label = OutcomeLabel { product: product.to_owned(), outcome };
            self.responses.get_or_create(&label).inc_by(number);
        }
        for (from, number) in ["edge", "origin"].into_iter().zip(bytes) {
            self.bytes.get_or_create(&FromLabel { product: product.to_owned(), from }).inc_by(number);
        }
    }

    /// Counts lines of one kind.
    pub fn lines(&self, kind: &'static str, number: u64) {
        self.lines.get_or_create(&KindLabel { kind }).inc_by(number);
    }
}
