//! `firmament cost`: what delivering firmware to a fleet costs a month, side by side; needs no server. See [`crate::cost`].

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde_json::json;

use super::{
    output::{Failure, Report, Terminal},
    table::{Table, size},
};
use crate::cost::{
    Column, DEFAULT_PRICES, Estimate, Fleet, GIB, LEFT_OUT, Prices, Scenario, estimate, scenarios, usd,
};

const DAY: f64 = 86_400.0;

/// The arguments of `cost`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example: a million devices, an image of 64 MiB, one update a month, an hour between polls, and your price at the CDN:
  firmament cost --devices 1000000 --image-size 64MiB --updates-per-month 1 --poll-interval 1h --akamai-usd-per-gb 0.02

Prices are list prices of the dates that are printed; --prices FILE replaces them (copy config/prices.toml). There is no \
price for Akamai's CDN in it, as it has no price list: yours is in your contract.")]
pub struct CostArguments {
    /// How many devices
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000_000))]
    devices: u64,
    /// The size of a full image: 64MiB, 12MB, 1048576
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse)]
    image_size: u64,
    /// How often a month each device is updated: 1, 0.5
    #[arg(long, value_name = "U", value_parser = amount)]
    updates_per_month: f64,
    /// The size of a delta image [default: there are none]
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse)]
    delta_size: Option<u64>,
    /// The share of updates that a delta serves
    #[arg(long, value_name = "0..1", value_parser = share, default_value = "0.9", requires = "delta_size")]
    delta_share: f64,
    /// Bytes sent for each byte that is needed: downloads that break off and begin anew
    #[arg(long, value_name = "FACTOR", value_parser = factor, default_value = "1.05")]
    retry: f64,
    /// The share of bytes that the CDN serves without asking the bucket
    #[arg(long, value_name = "0..1", value_parser = share, default_value = "0.99")]
    offload: f64,
    /// What the bucket holds, all versions
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse, default_value = "200GiB")]
    stored: u64,
    /// The transfer a month that your Linode machines bring; object storage adds its own
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse, default_value = "0")]
    transfer_pool: u64,
    /// How long a device waits between checks; the default is the server's own
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "5m")]
    poll_interval: Duration,
    /// Checks of each device a day, instead of --poll-interval
    #[arg(long, value_name = "N", value_parser = amount, conflicts_with = "poll_interval")]
    checks_per_day: Option<f64>,
    /// Bytes of HTTP of a check that finds nothing, both ways (the documented smallest)
    #[arg(long, value_name = "BYTES", default_value = "218")]
    check_bytes: u32,
    /// Bytes of HTTP of a check with an offer, both ways (the documented smallest)
    #[arg(long, value_name = "BYTES", default_value = "627")]
    offer_bytes: u32,
    /// Bytes that a check's own connection adds, both ways: about 4000 for TLS 1.3 with an ECDSA certificate chain, 500 for
    /// plain HTTP, 80 on a connection that is kept. An estimate: measure yours
    #[arg(long, value_name = "BYTES", default_value = "4000")]
    connection_bytes: u32,
    /// What your CDN contract charges for a GB, in US dollars [no default: it has no price list]
    #[arg(long, value_name = "USD", value_parser = amount)]
    akamai_usd_per_gb: Option<f64>,
    /// Transfer from the bucket to Akamai is free in your contract
    #[arg(long)]
    aos_egress_waived: bool,
    /// Checks go through the CDN too, as behind the rules of docs/akamai.md, and are charged there
    #[arg(long)]
    checks_through_cdn: bool,
    /// Another price list than the built-in one
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

fn amount(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(amount) if (0.0..=1e9).contains(&amount) => Ok(amount),
        _ => Err("use a number such as 1 or 0.5".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    amount(text).ok().filter(|share| *share <= 1.0).ok_or_else(|| "use a share from 0 to 1".to_owned())
}

fn factor(text: &str) -> Result<f64, String> {
    amount(text).ok().filter(|factor| *factor >= 1.0).ok_or_else(|| "use a factor of at least 1".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= Duration::from_secs(1) => Ok(interval),
        _ => Err("use a duration of at least 1s, such as 5m or 6h".to_owned()),
    }
}

impl CostArguments {
    fn fleet(&self) -> Fleet {
        Fleet {
            devices: self.devices as f64,
            image_bytes: self.image_size as f64,
            updates_per_month: self.updates_per_month,
            delta_bytes: self.delta_size.map(|size| size as f64),
            delta_share: self.delta_share,
            retry: self.retry,
            offload: self.offload,
            stored_bytes: self.stored as f64,
            pool_bytes: self.transfer_pool as f64,
            checks_per_day: self.checks_per_day.unwrap_or(DAY / self.poll_interval.as_secs_f64()),
            check_bytes: self.check_bytes.into(),
            offer_bytes: self.offer_bytes.into(),
            connection_bytes: self.connection_bytes.into(),
            akamai_usd_per_gb: self.akamai_usd_per_gb,
            origin_egress_waived: self.aos_egress_waived,
            checks_through_cdn: self.checks_through_cdn,
        }
    }
}

/// Estimates.
///
/// # Errors
/// When the price list cannot be read.
pub fn run(arguments: &CostArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let prices = match &arguments.prices {
        None => Prices::parse(DEFAULT_PRICES).map_err(Failure::ours)?,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::yours(format!("cannot read {}: {error}", path.display())))?;
            Prices::parse(&text).map_err(|why| Failure::yours(format!("{}: {why}", path.display())))?
        }
    };
    let fleet = arguments.fleet();
    if fleet.delta_bytes.is_some_and(|delta| delta > fleet.image_bytes) {
        return Err(Failure::yours("--delta-size is larger than --image-size"));
    }
    let now = estimate(&fleet, &prices);
    let scenarios = scenarios(&fleet, &prices);
    let figures: Vec<_> = prices
        .figures()
        .into_iter()
        .map(|(name, usd, source, date)| json!({ "name": name, "usd": usd, "source": source, "date": date }))
        .collect();
    let document = json!({
        "fleet": fleet,
        "estimate": now,
        "scenarios": scenarios,
        "prices": figures,
        "leaves_out": LEFT_OUT,
    });
    Ok(Report::done(text(&fleet, &now, &scenarios, &prices, terminal), document))
}

fn text(
    fleet: &Fleet,
    now: &Estimate,
    scenarios: &[Scenario],
    prices: &Prices,
    terminal: &Terminal,
) -> String {
    let mut text = format!(
        "{} devices, {} an update, {} {} a month: {} of downloads and {} of checks a month\n\
         checks: {:.1} a second on average; an update that reaches all within a day: {:.1} Gbit/s{}\n\n",
        grouped(fleet.devices),
        size(fleet.bytes_per_update() as u64),
        fleet.updates_per_month,
        if fleet.updates_per_month == 1.0 { "update" } else { "updates" },
        size((now.download_gb * GIB) as u64),
        size((now.check_gb * GIB) as u64),
        now.checks_per_second,
        now.gbit_per_second_in_a_day,
        if now.gbit_per_second_in_a_day > 10.0 { ", more than one Linode endpoint gives (10)" } else { "" },
    );
    text.push_str(&table(now, scenarios).render(0));
    if fleet.akamai_usd_per_gb.is_none() {
        text.push_str("\n\n*  needs the price of a GB in your contract: --akamai-usd-per-gb USD");
    }
    text.push_str(&format!("\n\n{}\n", terminal.strong("What this leaves out, and where it errs")));
    for left_out in LEFT_OUT {
        text.push_str(&format!("- {left_out}\n"));
    }
    text.push_str(&format!("\n{}\n", terminal.strong("Prices")));
    let mut sources = Table::new(&["PRICE", "USD", "DATE", "SOURCE"]);
    for (name, usd, source, date) in prices.figures() {
        sources.row(vec![name.to_owned(), usd.to_string(), date.to_string(), source.to_owned()]);
    }
    text.push_str(&sources.render(0));
    text
}

/// A row for each part, the sums, and the sums of what would be changed.
fn table(now: &Estimate, scenarios: &[Scenario]) -> Table {
    let mut titles = vec!["USD A MONTH"];
    titles.extend(now.columns.iter().map(|column| column.name));
    let mut table = Table::new(&titles);
    let sums = |estimate: &Estimate| {
        let sum = |column: &Column| column.usd.map_or_else(|| "*".to_owned(), usd);
        estimate.columns.iter().map(sum).collect::<Vec<_>>()
    };
    for part in ["transfer out", "CDN", "CDN requests", "reading the files", "storage"] {
        let cell = |column: &Column| match column.lines.iter().find(|line| line.name == part) {
            Some(line) => usd(line.usd),
            None if column.usd.is_none() => "*".to_owned(),
            None => "-".to_owned(),
        };
        table.row(std::iter::once(part.to_owned()).chain(now.columns.iter().map(cell)).collect());
    }
    table.row(std::iter::once("TOTAL".to_owned()).chain(sums(now)).collect());
    for scenario in scenarios {
        let total = format!("total {}", scenario.name);
        table.row(std::iter::once(total).chain(sums(&scenario.estimate)).collect());
    }
    table
}

fn grouped(number: f64) -> String {
    if number < 100.0 { format!("{number:.0}") } else { usd(number) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        cost: CostArguments,
    }

    fn ran(more: &[&str]) -> Result<Report, Failure> {
        let mut line =
            vec!["cost", "--devices", "1000000", "--image-size", "64MiB", "--updates-per-month", "1"];
        line.extend(more);
        let line = Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}"));
        run(&line.cost, &Terminal::default())
    }

    #[test]
    fn the_table_is_side_by_side_and_says_what_it_leaves_out() {
        let text =
            ran(&["--checks-per-day", "0", "--retry", "1", "--transfer-pool", "6TiB"]).expect("done").text;
        let row = |start: &str| {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{text}"));
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(row("TOTAL"), ["TOTAL", "7,120", "5,190", "4,743", "282", "*"]);
        assert_eq!(row("CDN  ")[3..], ["4,738", "-", "*"]);
        assert!(text.contains("--akamai-usd-per-gb USD") && text.contains("61.0 TiB of downloads"), "{text}");
        for left_out in LEFT_OUT {
            assert!(text.contains(left_out));
        }
        assert!(text.contains("aws.efs_read") && text.contains("2026-06-30"), "{text}");
    }

    #[test]
    fn the_document_has_everything_and_the_price_is_the_callers() {
        let report = ran(&["--akamai-usd-per-gb", "0.02", "--delta-size", "6MiB"]).expect("done");
        let columns = report.document["estimate"]["columns"].as_array().expect("a list");
        assert_eq!(columns.len(), 5);
        assert!(columns.iter().all(|column| column["usd"].is_number()));
        assert_eq!(report.document["scenarios"][0]["name"], "without deltas");
        assert_eq!(report.document["fleet"]["checks_per_day"], 288.0);
        assert_eq!(report.document["leaves_out"].as_array().map(Vec::len), Some(LEFT_OUT.len()));
        assert!(report.document["prices"][0]["source"].is_string());
        let through = ran(&["--akamai-usd-per-gb", "0.02", "--delta-size", "6MiB", "--checks-through-cdn"]);
        let usd = |report: &Report| report.document["estimate"]["columns"][4]["usd"].as_f64().expect("a sum");
        assert!(
            usd(&through.expect("done")) > usd(&report) + 100.0,
            "a million devices' checks cost something"
        );
    }

    #[test]
    fn a_price_list_of_ones_own_is_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("prices.toml");
        let dearer = DEFAULT_PRICES.replacen("usd = 0.30", "usd = 3.00", 1);
        std::fs::write(&path, dearer).expect("written");
        let path = path.display().to_string();
        let usd = |report: &Report| report.document["estimate"]["columns"][0]["usd"].as_f64().expect("a sum");
        let (theirs, ours) = (ran(&["--prices", &path]).expect("done"), ran(&[]).expect("done"));
        assert!((usd(&theirs) - usd(&ours) - 200.0 * 2.7).abs() < 1e-6);
        std::fs::write(&path, "[aws]").expect("written");
        assert!(ran(&["--prices", &path]).expect_err("incomplete").message.contains("prices.toml"));
        assert!(ran(&["--prices", "/nowhere"]).is_err());
        assert!(ran(&["--delta-size", "65MiB"]).is_err());
    }
}
