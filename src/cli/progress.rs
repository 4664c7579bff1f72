//! Progress bars on stderr, for work on a file that may take long.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Terminal;

/// Work that is shorter than this shows no bar.
const WORTH_A_BAR: Duration = Duration::from_millis(400);

/// A bar that appears when the work takes long, and never where nobody sees it.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    pending: bool,
}

impl Progress {
    /// A bar for so many bytes of work.
    pub fn start(terminal: &Terminal, what: &'static str, bytes: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        let template = "{msg} [{wide_bar}] {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}";
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        bar.set_style(style.progress_chars("=> "));
        bar.set_message(what);
        Self { bar, started: Instant::now(), pending: terminal.shows_progress() }
    }

    /// So many bytes are done in all.
    pub fn at(&mut self, bytes: u64) {
        if self.pending && self.started.elapsed() > WORTH_A_BAR {
            self.pending = false;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(bytes);
    }

    /// Says what is done now.
    pub fn say(&self, what: &'static str) {
        self.bar.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
