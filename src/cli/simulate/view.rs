//! How a run looks: a screen that is drawn over itself on a terminal, a line now and then elsewhere, and the report.
//!
//! Screen and report are the same text; the screen adds what only matters while it runs.

use std::{collections::VecDeque, fmt::Write as _, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    cli::{
        output::{Terminal, paint},
        table::{plain, size},
    },
    simulate::{
        Ended, Summary,
        report::{Latency, Point},
    },
};

/// How often a line is printed where there is no terminal.
const LINES: Duration = Duration::from_secs(5);
/// When the first is printed: soon, so that a mistake is seen.
const FIRST_LINE: Duration = Duration::from_secs(1);
/// Over what time the current rate is taken, in seconds.
const NOW: f64 = 2.0;
/// How much of a row's value a screen shows: a terminal of 80 columns does not wrap it.
const ROW: usize = 68;
/// How many versions and faults are shown on a screen, which may be no higher than a terminal.
const ON_SCREEN: usize = 5;
/// How many versions and faults are shown in a report.
const IN_REPORT: usize = 20;
/// How wide bars and courses are.
const WIDTH: usize = 32;

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";

/// What the output can show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Colours.
    pub colour: bool,
    /// More than ASCII.
    pub blocks: bool,
}

impl Style {
    /// What the locale says of characters.
    pub fn of_locale() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self { colour: false, blocks: locale.contains("utf-8") || locale.contains("utf8") }
    }
}

/// Shows a run on stderr while it lasts.
#[derive(Debug)]
pub struct View<'a> {
    terminal: &'a Terminal,
    screen: Option<ProgressBar>,
    style: Style,
    recent: VecDeque<(f64, u64)>,
    next_line: f64,
}

impl<'a> View<'a> {
    /// A screen on a terminal, lines elsewhere.
    pub fn start(terminal: &'a Terminal) -> Self {
        let screen = terminal.shows_progress().then(|| {
            let target = ProgressDrawTarget::stderr();
            let style = ProgressStyle::with_template("{msg}").expect("the template is well-formed");
            ProgressBar::with_draw_target(None, target).with_style(style)
        });
        let style = Style { colour: terminal.colours_stderr(), ..Style::of_locale() };
        Self { terminal, screen, style, recent: VecDeque::new(), next_line: FIRST_LINE.as_secs_f64() }
    }

    /// The run is here now.
    pub fn show(&mut self, summary: &Summary) {
        self.recent.push_back((summary.seconds, summary.checks.sent));
        while self.recent.len() > 2 && self.recent[1].0 < summary.seconds - NOW {
            self.recent.pop_front();
        }
        let (since, before) = self.recent[0];
        let passed = (summary.seconds - since).max(0.001);
        let now = (summary.checks.sent - before) as f64 / passed;
        match &self.screen {
            Some(screen) => screen.set_message(text(summary, Some(now), self.style)),
            None if summary.seconds >= self.next_line => {
                self.next_line = summary.seconds + LINES.as_secs_f64();
                self.terminal.note(&line(summary, now));
            }
            None => {}
        }
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        if let Some(screen) = &self.screen {
            screen.finish_and_clear();
        }
    }
}

/// The run in one line, for logs.
fn line(summary: &Summary, now: f64) -> String {
    let Summary { checks, live, .. } = summary;
    let mut line = format!(
        "{:.0} s  {} checks, {now:.1}/s: {} update, {} nothing newer, {} too busy, {} failed; p50 {} p99 {}",
        summary.seconds,
        checks.sent,
        checks.update,
        checks.up_to_date,
        checks.busy,
        checks.failed,
        millis(live.latency.p50),
        millis(live.latency.p99),
    );
    if let Some(adoption) = summary.adoption {
        line.push_str(&format!("; adoption {}", percent(adoption.share)));
    }
    line
}

/// The run as a screen (with the checks per second now) or as a report.
pub fn text(summary: &Summary, now: Option<f64>, style: Style) -> String {
    let mut rows = Rows { text: String::new(), style };
    let live = now.is_some();
    let cut = |text: String| if live { text.chars().take(ROW).collect() } else { text };
    rows.row("fleet", &cut(format!("{} devices at {}", summary.devices, plain(&summary.server))));
    rows.row("time", &time(summary));
    let checks = &summary.checks;
    let average = format!("{:.1} on average, {} at most", summary.checks_per_second, summary.rate);
    let now = now.map(|now| format!("{now:.1} now, ")).unwrap_or_default();
    rows.row("checks", &format!("{} sent; per second: {now}{average}", checks.sent));
    let mut answers =
        format!("{} update, {} nothing newer, {} too busy, ", checks.update, checks.up_to_date, checks.busy);
    let failed = format!("{} failed", checks.failed);
    answers.push_str(&if checks.failed > 0 { rows.paint(RED, &failed) } else { failed });
    rows.row("answers", &answers);
    if checks.failed > 0 {
        let (refused, error, none) = (checks.refused, checks.server_error, checks.no_answer);
        rows.row("", &format!("failed: {refused} refused, {error} server error, {none} no answer"));
    }
    rows.row("latency", &latency(if live { &summary.live.latency } else { &summary.latency_ms }));
    // A tenth of a second is the grain of timers and queues, and no news.
    if summary.latest_by_ms >= 100.0 {
        let late = millis(summary.latest_by_ms);
        rows.row("", &format!("held back by --rate or --connections, at worst by {late}"));
    }
    rows.row("downloads", &cut(downloads(summary, live)));
    match &summary.adoption {
        Some(adoption) => {
            let share = rows.paint(GREEN, &percent(adoption.share));
            let course = course(&summary.timeline, style.blocks);
            rows.row("adoption", &format!("{share} of {} devices  {course}", adoption.of));
        }
        None => rows.row("adoption", "nothing newer was offered so far"),
    }
    let most = if live { ON_SCREEN } else { IN_REPORT };
    versions(&mut rows, summary, most);
    for (index, fault) in summary.faults.iter().take(most).enumerate() {
        let label = if index == 0 { "faults" } else { "" };
        rows.row(label, &cut(format!("{} x {}", fault.count, plain(&fault.what))));
    }
    rows.text.truncate(rows.text.trim_end().len());
    rows.text
}

struct Rows {
    text: String,
    style: Style,
}

impl Rows {
    fn row(&mut self, label: &str, value: &str) {
        let padding = " ".repeat(11_usize.saturating_sub(label.len()));
        let label = if label.is_empty() { String::new() } else { self.paint(BOLD, label) };
        let _ = writeln!(self.text, "{label}{padding}{value}");
    }

    fn paint(&self, code: &str, text: &str) -> String {
        paint(self.style.colour, code, text)
    }
}

fn time(summary: &Summary) -> String {
    let (seconds, allowed) = (summary.seconds, summary.seconds_allowed);
    let mut text = match summary.ended {
        None => format!("{seconds:.0} s of {allowed:.0} s"),
        Some(Ended::Time) => format!("{seconds:.1} s"),
        Some(Ended::Until) => format!("{seconds:.1} s, until all devices ran that version"),
        Some(Ended::Interrupted) => format!("{seconds:.1} s of {allowed:.0} s, interrupted"),
    };
    if summary.speed != 1.0 {
        text.push_str(&format!("; devices live {} times as fast", summary.speed));
    }
    if summary.ended.is_none() {
        text.push_str("; Ctrl-C ends it");
    }
    text
}

fn latency(latency: &Latency) -> String {
    if latency.max == 0.0 {
        return "nothing was answered lately".to_owned();
    }
    let parts = [
        ("p50", latency.p50),
        ("p90", latency.p90),
        ("p99", latency.p99),
        ("p99.9", latency.p999),
        ("longest", latency.max),
    ];
    parts.map(|(name, value)| format!("{name} {}", millis(value))).join("  ")
}

fn downloads(summary: &Summary, live: bool) -> String {
    let done = &summary.downloads;
    let mut text = format!("{} verified", done.verified);
    let rest = [
        (done.partial, "in part"),
        (done.skipped, "skipped"),
        (done.busy, "too busy"),
        (done.failed, "failed"),
    ];
    for (count, what) in rest.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {what}"));
    }
    text.push_str(&format!(", {}", size(done.bytes)));
    if live && summary.live.fetching > 0 {
        text.push_str(&format!("; {} under way, {} wait", summary.live.fetching, summary.live.queued));
    }
    text
}

fn versions(rows: &mut Rows, summary: &Summary, most: usize) {
    let running = &summary.versions[..summary.versions.len().min(most)];
    let name = |index: usize| format!("{} {}", running[index].product, running[index].version);
    let widest = (0..running.len()).map(|index| name(index).len()).max().unwrap_or(0);
    for (index, version) in running.iter().enumerate() {
        let share = f64::from(version.devices) / summary.devices.max(1) as f64;
        let bar = bar(share, rows.style.blocks);
        let (label, name) = (if index == 0 { "versions" } else { "" }, name(index));
        rows.row(label, &format!("{name:<widest$}  {bar}  {}", version.devices));
    }
    if summary.versions.len() > most {
        rows.row("", &format!("and {} more", summary.versions.len() - most));
    }
}

/// A share as a bar; it is never empty for something, nor full for less than all.
fn bar(share: f64, blocks: bool) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (WIDTH * 8) as f64).floor() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    if !blocks {
        let full = eighths.div_ceil(8);
        return format!("{}{}", "#".repeat(full), ".".repeat(WIDTH - full));
    }
    let part = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8];
    let text = format!("{}{part}", "█".repeat(eighths / 8));
    let text: String = text.chars().take(WIDTH).collect();
    format!("{}{}", text.trim_end(), " ".repeat(WIDTH - text.trim_end().chars().count()))
}

/// The adoption over time, from the start to now.
fn course(timeline: &[Point], blocks: bool) -> String {
    let steps: &[char] = if blocks {
        &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
    } else {
        &['_', '.', ':', '-', '=', '+', '*', '#']
    };
    let Some(last) = timeline.last() else { return String::new() };
    let columns = WIDTH.min(timeline.len());
    let column = |column: usize| {
        let until = last.seconds * (column + 1) as f64 / columns as f64;
        let at = timeline.iter().rev().find(|point| point.seconds <= until + 1e-9);
        let share = at.map_or(0.0, |point| point.adopted);
        steps[((share * steps.len() as f64) as usize).min(steps.len() - 1)]
    };
    (0..columns).map(column).collect()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", (share * 1000.0).floor() / 10.0)
}

fn millis(millis: f64) -> String {
    match millis {
        _ if millis >= 1000.0 => format!("{:.1} s", millis / 1000.0),
        _ if millis >= 100.0 => format!("{millis:.0} ms"),
        _ if millis >= 1.0 => format!("{millis:.1} ms"),
        _ => format!("{millis:.2} ms"),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
