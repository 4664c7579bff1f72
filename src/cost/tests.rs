use proptest::prelude::*;

use super::{
    model::{COLUMNS, Estimate, Fleet, estimate, scenarios},
    *,
};

fn prices() -> Prices {
    Prices::parse(DEFAULT_PRICES).expect("the embedded list is valid")
}

/// 200 GB stored, a pool of 6 TB, no checks, nothing fetched twice.
fn fleet(devices: f64, mebibytes: f64, updates: f64) -> Fleet {
    Fleet {
        devices,
        image_bytes: mebibytes * 1_048_576.0,
        updates_per_month: updates,
        delta_bytes: None,
        delta_share: 0.0,
        retry: 1.0,
        offload: 0.99,
        stored_bytes: 200.0 * GIB,
        pool_bytes: 6144.0 * GIB,
        checks_per_day: 0.0,
        check_bytes: 218.0,
        offer_bytes: 627.0,
        connection_bytes: 4000.0,
        akamai_usd_per_gb: Some(0.0),
        origin_egress_waived: false,
        checks_through_cdn: false,
    }
}

fn totals(estimate: &Estimate) -> Vec<f64> {
    estimate.columns.iter().map(|column| column.usd.expect("every price is given")).collect()
}

/// Worked out by hand, column by column, from the list prices: devices, MiB, updates a month, TB; EC2 + EFS, S3 direct,
/// S3 + CloudFront, Linode direct, and Linode + Akamai at 0, 0.01, 0.02 and 0.04 dollars a GB.
const KNOWN: [(f64, f64, f64, f64, [f64; 8]); 5] = [
    (1e5, 32.0, 1.0, 3.1, [426.0, 277.0, 183.0, 5.0, 5.0, 36.0, 68.0, 130.0]),
    (1e6, 32.0, 1.0, 30.5, [3696.0, 2703.0, 2469.0, 125.0, 5.0, 318.0, 630.0, 1255.0]),
    (1e6, 64.0, 1.0, 61.0, [7120.0, 5190.0, 4743.0, 282.0, 5.0, 630.0, 1255.0, 2505.0]),
    (5e6, 64.0, 1.0, 305.0, [28_942.0, 19_512.0, 16_565.0, 1532.0, 5.0, 3130.0, 6255.0, 12_505.0]),
    (1e7, 128.0, 0.5, 610.0, [53_942.0, 35_137.0, 27_935.0, 3094.0, 5.0, 6255.0, 12_505.0, 25_005.0]),
];

#[test]
fn known_cases_come_out() {
    let prices = prices();
    for (devices, mebibytes, updates, terabytes, known) in KNOWN {
        let mut found = Vec::new();
        for price in [0.0, 0.01, 0.02, 0.04] {
            let fleet = Fleet { akamai_usd_per_gb: Some(price), ..fleet(devices, mebibytes, updates) };
            let estimate = estimate(&fleet, &prices);
            assert!((estimate.download_gb / 1024.0 - terabytes).abs() < 0.4, "{}", estimate.download_gb);
            let totals = totals(&estimate);
            if found.is_empty() {
                found.extend_from_slice(&totals[..4]);
            }
            found.push(totals[4]);
        }
        for (found, known) in found.iter().zip(known) {
            assert!((found - known).abs() <= 0.5, "{devices} x {mebibytes} MiB: {found} is not {known}");
        }
    }
}

#[test]
fn a_tier_begins_where_the_one_before_ends() {
    let prices = prices();
    let out = &prices.aws.internet_out;
    for (gigabytes, known) in [
        (0.0, 0.0),
        (100.0, 0.0),
        (101.0, 0.09),
        (10_240.0, 10_140.0 * 0.09),
        (10_241.0, 10_140.0 * 0.09 + 0.085),
        (51_200.0, 10_140.0 * 0.09 + 40_960.0 * 0.085),
        (153_601.0, 10_140.0 * 0.09 + 40_960.0 * 0.085 + 102_400.0 * 0.07 + 0.05),
    ] {
        assert!(
            (out.cost(gigabytes) - known).abs() < 1e-6,
            "{gigabytes}: {} is not {known}",
            out.cost(gigabytes)
        );
    }
    let edge = &prices.aws.cloudfront_out;
    assert!(edge.cost(1024.0).abs() < 1e-9);
    assert!((edge.cost(1025.0) - 0.085).abs() < 1e-9);
    let top = edge.cost(5_242_881.0) - edge.cost(5_242_880.0);
    assert!((top - 0.020).abs() < 1e-6, "{top}");
}

#[test]
fn without_a_price_the_column_says_nothing() {
    let estimate = estimate(&Fleet { akamai_usd_per_gb: None, ..fleet(1e6, 64.0, 1.0) }, &prices());
    let last = estimate.columns.last().expect("five columns");
    assert_eq!((last.name, last.usd, last.lines.len()), (COLUMNS[4], None, 0));
    assert!(estimate.columns[..4].iter().all(|column| column.usd.is_some()));
}

#[test]
fn the_pool_and_what_is_included_are_used_up_first() {
    let prices = prices();
    // 7 TB exactly: 6 of machines, 1 of the storage.
    let full = fleet(7.0 * 1024.0, 1024.0, 1.0);
    assert!((totals(&estimate(&full, &prices))[3] - 5.0).abs() < 1e-6);
    let over = Fleet { devices: full.devices + 1000.0, ..full.clone() };
    assert!((totals(&estimate(&over, &prices))[3] - 10.0).abs() < 1e-6);
    let stored = Fleet { stored_bytes: 350.0 * GIB, ..full };
    assert!((totals(&estimate(&stored, &prices))[3] - 7.0).abs() < 1e-6);
}

#[test]
fn checks_are_counted_and_fewer_are_offered() {
    let prices = prices();
    let asking = Fleet { checks_per_day: 24.0, ..fleet(1e6, 64.0, 1.0) };
    let now = estimate(&asking, &prices);
    assert!((now.checks_per_second - 277.8).abs() < 0.1, "{}", now.checks_per_second);
    // 1e6 x 24 x 30.4375 checks of 4218 bytes, and 1e6 offers that are 409 bytes larger.
    let gigabytes = (1e6 * 24.0 * 30.4375 * 4218.0 + 1e6 * 409.0) / GIB;
    assert!((now.check_gb - gigabytes).abs() < 0.001, "{} is not {gigabytes}", now.check_gb);
    let names: Vec<String> = scenarios(&asking, &prices).into_iter().map(|scenario| scenario.name).collect();
    assert_eq!(names, ["with deltas of a tenth for 90 % of updates", "with 6 checks a day instead of 24"]);
    let with_deltas = Fleet { delta_bytes: Some(6e6), delta_share: 0.9, ..asking };
    assert_eq!(scenarios(&with_deltas, &prices)[0].name, "without deltas");
}

#[test]
fn checks_through_the_cdn_are_charged_there() {
    let prices = prices();
    // Every 5 minutes: 34 TB of checks a month, which are no part of the CDN's bytes unless it carries them.
    let direct = Fleet { checks_per_day: 288.0, akamai_usd_per_gb: Some(0.02), ..fleet(1e6, 64.0, 1.0) };
    let through = Fleet { checks_through_cdn: true, ..direct.clone() };
    let (before, after) = (estimate(&direct, &prices), estimate(&through, &prices));
    let line = |estimate: &Estimate, column: usize, name: &str| {
        let lines = &estimate.columns[column].lines;
        lines.iter().find(|line| line.name == name).map_or(0.0, |line| line.usd)
    };
    let checks = 1e6 * 288.0 * 30.4375;
    assert!((before.check_gb / 1024.0 - 33.6).abs() < 0.1, "{}", before.check_gb);
    assert!((after.check_gb - before.check_gb).abs() < 1e-6);
    let near = |found: f64, known: f64| assert!((found - known).abs() < 0.01, "{found} is not {known}");
    near(line(&after, 4, "CDN") - line(&before, 4, "CDN"), before.check_gb * 0.02);
    // The origin still answers them, on connections that are kept: 218 of 4218 bytes, and 409 more for each offer.
    let asked = (checks * 218.0 + 1e6 * 409.0) / GIB;
    let pool = 7.0 * 1024.0;
    let transfer = (before.download_gb * 0.01 + asked - pool).max(0.0) * 0.005;
    near(line(&after, 4, "transfer out"), transfer);
    near(line(&before, 4, "transfer out"), (before.download_gb * 0.01 + before.check_gb - pool) * 0.005);
    // CloudFront charges requests, and its origin's transfer is free.
    near(line(&after, 2, "transfer out"), 0.0);
    let price = prices.aws.cloudfront_requests.usd;
    let free = prices.aws.cloudfront_requests.free;
    near(line(&after, 2, "CDN requests"), (1e6 + checks - free) / 1e4 * price);
    // What has no CDN stays as it is.
    for column in [0, 1, 3] {
        assert_eq!(before.columns[column], after.columns[column]);
    }
}

#[test]
fn every_figure_has_its_source_and_no_price_is_invented_for_akamai() {
    let prices = prices();
    assert!(prices.figures().iter().all(|(_, _, source, _)| source.starts_with("https://")));
    assert!(!DEFAULT_PRICES.contains("[akamai"), "Akamai has no list price");
    let without_date = DEFAULT_PRICES.replacen("date = \"2026-06-05\"\n", "", 1);
    let refused = Prices::parse(&without_date).expect_err("a figure lacks its date");
    assert!(refused.contains("date"), "{refused}");
    for (from, to, word) in [
        ("usd = 0.023", "usd = -1.0", "no price"),
        ("up_to_gb = 51200", "up_to_gb = 5", "above the one before"),
        ("free_gb = 100", "free_gb = 100000", "first tier"),
        ("{ usd = 0.05 },", "{ up_to_gb = 1e9, usd = 0.05 },", "has an end"),
        ("https://aws.amazon.com/s3/pricing/", "hearsay", "source"),
        ("[aws.s3_storage]", "[aws.glacier]", "glacier"),
    ] {
        let refused = Prices::parse(&DEFAULT_PRICES.replacen(from, to, 1)).expect_err(from);
        assert!(refused.contains(word), "{from}: {refused}");
    }
}

#[test]
fn dollars_read_as_people_write_them() {
    for (amount, text) in [
        (0.0, "0.00"),
        (99.99, "99.99"),
        (99.999, "100"),
        (1234.5, "1,234"),
        (1_234_567.0, "1,234,567"),
        (-1500.0, "-1,500"),
    ] {
        assert_eq!(usd(amount), text);
    }
}

fn any_fleet() -> impl Strategy<Value = Fleet> {
    let sizes = (1.0..1e7_f64, 0.1..2000.0_f64, 0.0..30.0_f64, 0.0..1.0_f64, 0.0..1.0_f64);
    let habits = (1.0..2.0_f64, 0.0..1.0_f64, 0.0..1e13_f64, 0.0..1e13_f64, 0.0..300.0_f64);
    (sizes, habits, 0.0..0.2_f64, any::<[bool; 2]>()).prop_map(
        |(
            (devices, image, updates, delta, share),
            (retry, offload, stored, pool, checks),
            price,
            [waived, through],
        )| {
            Fleet {
                delta_bytes: Some(image * 1_048_576.0 * delta),
                delta_share: share,
                retry,
                offload,
                stored_bytes: stored,
                pool_bytes: pool,
                checks_per_day: checks,
                akamai_usd_per_gb: Some(price),
                origin_egress_waived: waived,
                checks_through_cdn: through,
                ..fleet(devices, image, updates)
            }
        },
    )
}

/// No column of `less` costs more than the same of `more`.
fn never_dearer(less: &Fleet, more: &Fleet) -> Result<(), TestCaseError> {
    let prices = prices();
    let (less, more) = (totals(&estimate(less, &prices)), totals(&estimate(more, &prices)));
    for ((less, more), name) in less.iter().zip(&more).zip(COLUMNS) {
        prop_assert!(*less <= more + 1e-6 * more.abs(), "{name}: {less} > {more}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn more_never_costs_less(fleet in any_fleet(), factor in 1.0..10.0_f64) {
        never_dearer(&fleet, &Fleet { devices: fleet.devices * factor, ..fleet.clone() })?;
        never_dearer(&fleet, &Fleet { image_bytes: fleet.image_bytes * factor, ..fleet.clone() })?;
        never_dearer(&fleet, &Fleet { retry: fleet.retry * factor, ..fleet.clone() })?;
        never_dearer(&fleet, &Fleet { stored_bytes: fleet.stored_bytes * factor, ..fleet.clone() })?;
        never_dearer(&fleet, &Fleet { checks_per_day: fleet.checks_per_day * factor, ..fleet.clone() })?;
        never_dearer(&fleet, &Fleet { updates_per_month: fleet.updates_per_month * factor, ..fleet.clone() })?;
        let dearer = fleet.akamai_usd_per_gb.map(|price| price * factor);
        never_dearer(&fleet, &Fleet { akamai_usd_per_gb: dearer, ..fleet.clone() })?;
    }

    #[test]
    fn what_should_save_never_costs_more(fleet in any_fleet(), share in 0.0..1.0_f64) {
        never_dearer(&fleet, &Fleet { delta_bytes: None, ..fleet.clone() })?;
        never_dearer(&Fleet { pool_bytes: fleet.pool_bytes * 2.0, ..fleet.clone() }, &fleet)?;
        never_dearer(&Fleet { origin_egress_waived: true, ..fleet.clone() }, &fleet)?;
        let more = Fleet { offload: fleet.offload + (1.0 - fleet.offload) * share, ..fleet.clone() };
        never_dearer(&more, &fleet)?;
    }

    #[test]
    fn lines_add_up_and_a_tier_never_makes_more_cheaper(fleet in any_fleet(), gigabytes in 0.0..1e7_f64) {
        let prices = prices();
        for column in estimate(&fleet, &prices).columns {
            let sum: f64 = column.lines.iter().map(|line| line.usd).sum();
            prop_assert!((sum - column.usd.unwrap_or(-1.0)).abs() < 1e-6);
            prop_assert!(column.lines.iter().all(|line| line.usd >= 0.0 && line.usd.is_finite()));
        }
        for tiers in [&prices.aws.internet_out, &prices.aws.cloudfront_out] {
            prop_assert!(tiers.cost(gigabytes) <= tiers.cost(gigabytes + 1.0));
            // Continuous: one GB more costs at most the highest price.
            prop_assert!(tiers.cost(gigabytes + 1.0) - tiers.cost(gigabytes) <= 0.09 + 1e-6);
        }
    }
}
