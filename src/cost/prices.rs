//! The price list: a TOML file, every figure with a source and a date. An unknown key is an error, as is a figure without
//! either.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// The price list that is part of the program.
pub const DEFAULT_PRICES: &str = include_str!("../../config/prices.toml");

/// All prices.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Amazon's.
    pub aws: Aws,
    /// Linode's.
    pub linode: Linode,
}

/// Amazon's prices.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// From EC2 and S3 to the internet.
    pub internet_out: Tiers,
    /// S3, a GB and month.
    pub s3_storage: Figure,
    /// EFS, a GB and month.
    pub efs_storage: Figure,
    /// EFS, a GB read.
    pub efs_read: Figure,
    /// From CloudFront to the internet.
    pub cloudfront_out: Tiers,
    /// 10,000 requests to CloudFront.
    pub cloudfront_requests: Requests,
}

/// Linode's prices.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Linode {
    /// A GB beyond the transfer pool.
    pub transfer_out: Figure,
    /// Object storage, a month.
    pub object_storage: ObjectStorage,
    /// A GB and month beyond what is included.
    pub object_storage_more: Figure,
}

/// One price.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// In US dollars.
    pub usd: f64,
    /// Where it is stated.
    pub source: String,
    /// When it was looked up there.
    pub date: NaiveDate,
}

/// A price for requests.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// In US dollars, for 10,000.
    pub usd: f64,
    /// So many a month are free.
    pub free: f64,
    /// Where it is stated.
    pub source: String,
    /// When it was looked up there.
    pub date: NaiveDate,
}

/// A price that includes something.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectStorage {
    /// In US dollars a month.
    pub usd: f64,
    /// So many GB stored are included.
    pub included_gb: f64,
    /// So many GB are added to the account's transfer pool.
    pub transfer_pool_gb: f64,
    /// Where it is stated.
    pub source: String,
    /// When it was looked up there.
    pub date: NaiveDate,
}

/// A price a GB that falls with the amount.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tiers {
    /// The first so many GB of the first tier are free.
    pub free_gb: f64,
    /// The tiers in their order.
    pub tiers: Vec<Tier>,
    /// Where it is stated.
    pub source: String,
    /// When it was looked up there.
    pub date: NaiveDate,
}

/// One tier.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Up to so many GB a month, counted from the first; absent in the last tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to_gb: Option<f64>,
    /// In US dollars a GB.
    pub usd: f64,
}

impl Prices {
    /// Reads a price list.
    ///
    /// # Errors
    /// With what is wrong in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let prices: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (name, tiers) in [
            ("aws.internet_out", &prices.aws.internet_out),
            ("aws.cloudfront_out", &prices.aws.cloudfront_out),
        ] {
            tiers.check().map_err(|why| format!("{name}: {why}"))?;
        }
        for (name, usd, source, _) in prices.figures() {
            if !(usd >= 0.0 && usd.is_finite()) {
                return Err(format!("{name}: {usd} is no price"));
            }
            if !source.starts_with("https://") {
                return Err(format!("{name}: name the source as a URL, https://…"));
            }
        }
        Ok(prices)
    }

    /// Every figure: its name, its (first) price, its source and its date.
    pub fn figures(&self) -> Vec<(&'static str, f64, &str, NaiveDate)> {
        let first = |tiers: &Tiers| tiers.tiers.first().map_or(0.0, |tier| tier.usd);
        let (aws, linode) = (&self.aws, &self.linode);
        let out = &aws.internet_out;
        let (edge, requests, storage) =
            (&aws.cloudfront_out, &aws.cloudfront_requests, &linode.object_storage);
        vec![
            ("aws.internet_out", first(out), out.source.as_str(), out.date),
            ("aws.s3_storage", aws.s3_storage.usd, &aws.s3_storage.source, aws.s3_storage.date),
            ("aws.efs_storage", aws.efs_storage.usd, &aws.efs_storage.source, aws.efs_storage.date),
            ("aws.efs_read", aws.efs_read.usd, &aws.efs_read.source, aws.efs_read.date),
            ("aws.cloudfront_out", first(edge), &edge.source, edge.date),
            ("aws.cloudfront_requests", requests.usd, &requests.source, requests.date),
            (
                "linode.transfer_out",
                linode.transfer_out.usd,
                &linode.transfer_out.source,
                linode.transfer_out.date,
            ),
            ("linode.object_storage", storage.usd, &storage.source, storage.date),
            (
                "linode.object_storage_more",
                linode.object_storage_more.usd,
                &linode.object_storage_more.source,
                linode.object_storage_more.date,
            ),
        ]
    }
}

impl Tiers {
    fn check(&self) -> Result<(), &'static str> {
        let Some((last, bounded)) = self.tiers.split_last() else { return Err("there is no tier") };
        if last.up_to_gb.is_some() {
            return Err("the last tier has an end: leave its up_to_gb out");
        }
        let mut from = 0.0;
        for tier in bounded {
            match tier.up_to_gb {
                Some(up_to) if up_to > from => from = up_to,
                _ => return Err("each tier but the last needs an up_to_gb above the one before"),
            }
        }
        if self.tiers.iter().any(|tier| !(tier.usd >= 0.0 && tier.usd.is_finite())) {
            return Err("a price is negative, or none");
        }
        let first_end = self.tiers[0].up_to_gb.unwrap_or(f64::INFINITY);
        if !(0.0..=first_end).contains(&self.free_gb) {
            return Err("free_gb does not fit into the first tier");
        }
        Ok(())
    }

    /// What so many GB cost, in US dollars.
    pub fn cost(&self, gigabytes: f64) -> f64 {
        let mut from = self.free_gb;
        let mut total = 0.0;
        for tier in &self.tiers {
            let until = tier.up_to_gb.unwrap_or(f64::INFINITY).min(gigabytes);
            if until > from {
                total += (until - from) * tier.usd;
                from = until;
            }
        }
        total
    }
}
