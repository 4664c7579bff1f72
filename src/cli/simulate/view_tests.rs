use super::*;
use crate::simulate::report::{Adoption, Checks, Downloads, Fault, Live, Running};

fn summary() -> Summary {
    let running = |version: &str, devices| Running { product: "p".into(), version: version.into(), devices };
    let point = |seconds: f64, adopted: f64| Point { seconds, checks: 0, adopted };
    Summary {
        server: "http://127.0.0.1:8080".into(),
        devices: 1000,
        speed: 60.0,
        rate: 500,
        download_rate: 10 << 20,
        seconds: 12.3,
        seconds_allowed: 60.0,
        ended: Some(Ended::Time),
        checks: Checks {
            sent: 5748,
            update: 1204,
            up_to_date: 4540,
            refused: 1,
            no_answer: 3,
            failed: 4,
            busy: 0,
            server_error: 0,
        },
        checks_per_second: 467.3,
        latest_by_ms: 1520.0,
        latency_ms: Latency { mean: 0.5, p50: 0.42, p90: 0.9, p99: 2.13, p999: 140.0, max: 12_340.0 },
        downloads: Downloads { verified: 7, partial: 2, bytes: 1024, ..Downloads::default() },
        versions: vec![running("1.10.0", 1), running("1.9.0", 999)],
        adoption: Some(Adoption { devices: 999, of: 1000, share: 0.999_96 }),
        timeline: vec![point(0.0, 0.0), point(1.0, 0.5), point(2.0, 1.0)],
        faults: vec![Fault { what: "evil\x1b[2J".into(), count: 3 }],
        live: Live::default(),
    }
}

#[test]
fn the_report_says_it_all() {
    let shown = text(&summary(), None, Style::default());
    let expected = "\
fleet      1000 devices at http://127.0.0.1:8080
time       12.3 s; devices live 60 times as fast
checks     5748 sent; per second: 467.3 on average, 500 at most
answers    1204 update, 4540 nothing newer, 0 too busy, 4 failed
           failed: 1 refused, 0 server error, 3 no answer
latency    p50 0.42 ms  p90 0.90 ms  p99 2.1 ms  p99.9 140 ms  longest 12.3 s
           held back by --rate or --connections, at worst by 1.5 s
downloads  7 verified, 2 in part, 1.0 KiB
adoption   99.9 % of 1000 devices  _=#
versions   p 1.10.0  #...............................  1
           p 1.9.0   ################################  999
faults     3 x evil\u{fffd}[2J";
    assert_eq!(shown, expected);
}

#[test]
fn the_screen_has_blocks_and_colours_where_they_are_seen() {
    let style = Style { colour: true, blocks: true };
    let shown = text(&Summary { ended: None, ..summary() }, Some(498.25), style);
    for part in ["per second: 498.2 now, ", "12 s of 60 s", "▁▅█", "▏  ", "\x1b[31m4 failed\x1b[0m"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(line(&summary(), 3.0).starts_with("12 s  5748 checks, 3.0/s: 1204 update"));
}

#[test]
fn bars_are_as_wide_as_each_other() {
    for blocks in [false, true] {
        for share in [0.0, 0.0001, 0.03, 0.5, 0.999, 1.0, 7.0] {
            assert_eq!(bar(share, blocks).chars().count(), WIDTH, "{share} {blocks}");
        }
    }
}

#[test]
fn many_versions_are_cut() {
    let mut summary = summary();
    summary.versions =
        (0..30).map(|n| Running { product: "p".into(), version: format!("1.{n}.0"), devices: 1 }).collect();
    assert!(text(&summary, None, Style::default()).contains("and 10 more"));
    assert!(text(&summary, Some(1.0), Style::default()).contains("and 25 more"));
}
