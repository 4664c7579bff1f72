//! The model: a fleet and prices to dollars a month.

use serde::Serialize;

use super::{amount::gigabytes, prices::Prices};

/// Days in an average month.
const MONTH: f64 = 365.25 / 12.0;

/// The ways of delivery, in the order in which they are shown.
pub const COLUMNS: [&str; 5] =
    ["EC2 + EFS", "S3 direct", "S3 + CloudFront", "Linode direct", "Linode + Akamai"];

/// A fleet and its habits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fleet {
    /// Devices.
    pub devices: f64,
    /// A full image, in bytes.
    pub image_bytes: f64,
    /// Updates of each device a month.
    pub updates_per_month: f64,
    /// A delta image, in bytes; `None` = there are none.
    pub delta_bytes: Option<f64>,
    /// The share of updates that a delta serves, 0 to 1.
    pub delta_share: f64,
    /// Bytes sent for each byte needed, at least 1: downloads that broke off and began anew.
    pub retry: f64,
    /// The share of bytes that the edge serves without the origin, 0 to 1.
    pub offload: f64,
    /// What is stored, in bytes.
    pub stored_bytes: f64,
    /// The transfer pool that the account's machines bring, in bytes a month.
    pub pool_bytes: f64,
    /// Checks of each device a day.
    pub checks_per_day: f64,
    /// What one check that finds nothing sends in both directions, in bytes.
    pub check_bytes: f64,
    /// What one check with an offer sends in both directions, in bytes.
    pub offer_bytes: f64,
    /// What a check's connection adds, in bytes.
    pub connection_bytes: f64,
    /// What the edge costs, in US dollars a GB; `None` = unknown, so that column is, too.
    pub akamai_usd_per_gb: Option<f64>,
    /// Whether transfer from the bucket to the edge is free.
    pub origin_egress_waived: bool,
    /// Whether checks go through the CDN too, where a column has one.
    pub checks_through_cdn: bool,
}

/// One part of a column's sum.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// What it is for.
    pub name: &'static str,
    /// In US dollars a month.
    pub usd: f64,
}

/// One way of delivery.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its parts; empty when its price is not known.
    pub lines: Vec<Line>,
    /// Their sum in US dollars a month; `None` when a price is not known.
    pub usd: Option<f64>,
}

/// What it costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// GB that devices download a month.
    pub download_gb: f64,
    /// GB of their checks a month.
    pub check_gb: f64,
    /// Checks a second, on average.
    pub checks_per_second: f64,
    /// Gbit/s when one update reaches the whole fleet within a day, evenly.
    pub gbit_per_second_in_a_day: f64,
    /// The ways of delivery.
    pub columns: Vec<Column>,
}

/// The same with something changed, and what that would save.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scenario {
    /// What is changed.
    pub name: String,
    /// What it then costs.
    pub estimate: Estimate,
}

impl Fleet {
    /// Bytes of one update, on average, as they are sent.
    pub fn bytes_per_update(&self) -> f64 {
        let full = self.image_bytes;
        let mean = match self.delta_bytes {
            Some(delta) => self.delta_share * delta + (1.0 - self.delta_share) * full,
            None => full,
        };
        mean * self.retry
    }

    fn checks_per_month(&self) -> f64 {
        self.devices * self.checks_per_day * MONTH
    }

    /// Without what their connections add.
    fn check_bytes_per_month(&self) -> f64 {
        let checks = self.checks_per_month();
        // Each update is found by one check.
        let offers = (self.devices * self.updates_per_month).min(checks);
        (checks - offers) * self.check_bytes + offers * self.offer_bytes
    }
}

/// What the fleet costs by these prices.
pub fn estimate(fleet: &Fleet, prices: &Prices) -> Estimate {
    let (aws, linode) = (&prices.aws, &prices.linode);
    let downloads = fleet.devices * fleet.updates_per_month;
    let download_gb = gigabytes(downloads * fleet.bytes_per_update());
    let checks = fleet.checks_per_month();
    let asked_gb = gigabytes(fleet.check_bytes_per_month());
    let check_gb = asked_gb + gigabytes(checks * fleet.connection_bytes);
    let stored_gb = gigabytes(fleet.stored_bytes);

    let out = |gb: f64| Line { name: "transfer out", usd: aws.internet_out.cost(gb) };
    let storage = |usd: f64| Line { name: "storage", usd };
    let s3 = || storage(stored_gb * aws.s3_storage.usd);
    // What a CDN carries of checks, and what its origin then does: the CDN keeps its connections to the origin open, and may
    // answer some from its cache, which is not counted. What CloudFront asks of an origin at Amazon's is not charged.
    let (cdn_checks, cdn_check_gb, from_listener, behind_cloudfront) = if fleet.checks_through_cdn {
        (checks, check_gb, asked_gb, 0.0)
    } else {
        (0.0, 0.0, check_gb, check_gb)
    };
    let requests = (downloads * fleet.retry + cdn_checks - aws.cloudfront_requests.free).max(0.0) / 1e4;

    let more = (stored_gb - linode.object_storage.included_gb).max(0.0);
    let linode_storage = || storage(linode.object_storage.usd + more * linode.object_storage_more.usd);
    let pool = gigabytes(fleet.pool_bytes) + linode.object_storage.transfer_pool_gb;
    let linode_out =
        |gb: f64| Line { name: "transfer out", usd: (gb - pool).max(0.0) * linode.transfer_out.usd };
    let from_bucket = if fleet.origin_egress_waived { 0.0 } else { download_gb * (1.0 - fleet.offload) };

    let [efs, direct, cloudfront, linode_direct, akamai] = COLUMNS;
    let columns = vec![
        Column::of(
            efs,
            vec![
                storage(stored_gb * aws.efs_storage.usd),
                Line { name: "reading the files", usd: download_gb * aws.efs_read.usd },
                out(download_gb + check_gb),
            ],
        ),
        Column::of(direct, vec![s3(), out(download_gb + check_gb)]),
        Column::of(
            cloudfront,
            vec![
                s3(),
                Line { name: "CDN", usd: aws.cloudfront_out.cost(download_gb + cdn_check_gb) },
                Line { name: "CDN requests", usd: requests * aws.cloudfront_requests.usd },
                out(behind_cloudfront),
            ],
        ),
        Column::of(linode_direct, vec![linode_storage(), linode_out(download_gb + check_gb)]),
        match fleet.akamai_usd_per_gb {
            None => Column { name: akamai, lines: Vec::new(), usd: None },
            Some(price) => Column::of(
                akamai,
                vec![
                    linode_storage(),
                    Line { name: "CDN", usd: (download_gb + cdn_check_gb) * price },
                    linode_out(from_bucket + from_listener),
                ],
            ),
        },
    ];
    let bits_of_one_update = fleet.devices * fleet.bytes_per_update() * 8.0;
    Estimate {
        download_gb,
        check_gb,
        checks_per_second: fleet.devices * fleet.checks_per_day / 86_400.0,
        gbit_per_second_in_a_day: bits_of_one_update / 86_400.0 / 1e9,
        columns,
    }
}

impl Column {
    fn of(name: &'static str, lines: Vec<Line>) -> Self {
        let usd = Some(lines.iter().map(|line| line.usd).sum());
        Self { name, lines, usd }
    }
}

/// What one could do about it: deltas (or, if there are some, what they save already), and fewer checks.
pub fn scenarios(fleet: &Fleet, prices: &Prices) -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut add =
        |name: String, fleet: &Fleet| all.push(Scenario { name, estimate: estimate(fleet, prices) });
    if fleet.delta_bytes.is_some() {
        add("without deltas".to_owned(), &Fleet { delta_bytes: None, ..fleet.clone() });
    } else {
        let with = Fleet { delta_bytes: Some(fleet.image_bytes / 10.0), delta_share: 0.9, ..fleet.clone() };
        add("with deltas of a tenth for 90 % of updates".to_owned(), &with);
    }
    if fleet.checks_per_day > 1.0 {
        let fewer = (fleet.checks_per_day / 4.0).max(1.0);
        let name = format!("with {fewer:.0} checks a day instead of {:.0}", fleet.checks_per_day);
        add(name, &Fleet { checks_per_day: fewer, ..fleet.clone() });
    }
    all
}
